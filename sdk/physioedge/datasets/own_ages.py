"""Recordings of your own people with their ages: any file this package reads, and a table of whose they are.

A folder ``own_ages`` with ``people.csv`` in it, one line a recording: ``file`` (a path within the folder), ``subject``
and ``age`` in years; where wanted ``sex`` (M or F), ``channel`` (else the file has one), and ``fs_hz`` and ``units`` of
files that do not state theirs.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from physioedge.datasets.facts import Facts
from physioedge.datasets.location import find
from physioedge.signals.read import read_recording
from physioedge.signals.recording import Recording
from physioedge_runtime.errors import DatasetError

NAME, TABLE = "own_ages", "people.csv"
NEEDED, OPTIONAL = ("file", "subject", "age"), ("sex", "channel", "fs_hz", "units")
_OLDEST = 120.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One recording of the table.

    Attributes
    ----------
    file : str
        Path within the folder; the name of the record.
    subject : str
        ``own_ages:<person>``.
    age_years : float
    sex : str or None
    channel, units : str or None
    fs_hz : float or None
    """

    file: str
    subject: str
    age_years: float
    sex: str | None
    channel: str | None
    fs_hz: float | None
    units: str | None


def lines(root: Path | None = None) -> dict[str, Line]:
    """Recordings by file, in the order of the table.

    Raises
    ------
    DatasetError
        There is no table, or a line of it does not say what it must.
    """
    path = find(NAME, root) / TABLE
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: {error}", f"a table of {', '.join(NEEDED)}", "Write one.") from error
    found: dict[str, Line] = {}
    for number, row in enumerate(rows, 2):
        line = _line(row, f"{path}, line {number}")
        if line.file in found:
            raise DatasetError(f"{path}, line {number}: {line.file} again", "each file once", "Take one line out.")
        found[line.file] = line
    if not found:
        raise DatasetError(f"{path}: no line", "a line for each recording", f"Name them: {', '.join(NEEDED)}.")
    _require_one_age(path, found)
    return found


def load(record: str, root: Path | None = None) -> Recording:
    """The one channel of a recording, by the file that its line names.

    Raises
    ------
    DatasetError
        No line names the file, or the recording has several channels and its line names none of them.
    RecordError, SampleRateMismatch, UnitMismatch, ChannelMismatch
        See `physioedge.signals.read.read_recording`.
    """
    known = lines(root)
    if record not in known:
        raise DatasetError(f"recording {record!r:.100}", f"one that {TABLE} names", "Add a line.")
    return read(known[record], root)


def read(line: Line, root: Path | None = None) -> Recording:
    """The one channel of a line's recording; as `load`, for who has read the table already."""
    channels = None if line.channel is None else (line.channel,)
    found = read_recording(find(NAME, root) / line.file, fs_hz=line.fs_hz, units=line.units, channels=channels)
    if len(found.samples) != 1:
        came = f"{line.file}: channels {', '.join(found.channels)}"
        raise DatasetError(came, "one", f"Name it in the column 'channel' of {TABLE}.")
    return found


def facts(record: str, root: Path | None = None) -> Facts:
    """Age and sex of a recording's person; as `lines`."""
    line = lines(root)[record]
    return Facts(age_years=line.age_years, sex=line.sex)


def _line(row: dict[str | None, str | None], where: str) -> Line:
    said = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
    lacking = [name for name in NEEDED if not said.get(name)]
    unknown = sorted(set(said) - {*NEEDED, *OPTIONAL})
    if lacking or unknown or None in row:
        came = f"{where}: without {', '.join(lacking)}" if lacking else f"{where}: {', '.join(unknown) or 'more cells'}"
        raise DatasetError(came, f"{', '.join(NEEDED)}; {', '.join(OPTIONAL)} where wanted", "Correct the line.")
    inside = PurePosixPath(said["file"].replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts:
        raise DatasetError(f"{where}: file {said['file']!r:.100}", "a path within the folder", "Put the file there.")
    age_years, fs_hz = _number(said, "age", where), _number(said, "fs_hz", where)
    sex = said.get("sex") or None
    if age_years is None or not 0 < age_years <= _OLDEST or sex not in (None, "M", "F"):
        came = f"{where}: age {said['age']!r:.20}, sex {sex!r:.20}"
        raise DatasetError(came, f"years up to {_OLDEST:g}; M, F or nothing", "Correct the line.")
    return Line(
        file=inside.as_posix(), subject=f"{NAME}:{said['subject']}", age_years=age_years, sex=sex,
        channel=said.get("channel") or None, fs_hz=fs_hz, units=said.get("units") or None,
    )  # fmt: skip


def _number(said: dict[str, str], name: str, where: str) -> float | None:
    if not said.get(name):
        return None
    try:
        value = float(said[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise DatasetError(f"{where}: {name} {said[name]!r:.20}", "a number above 0", "Correct the line.")
    return value


def _require_one_age(path: Path, found: dict[str, Line]) -> None:
    ages: dict[str, float] = {}
    for line in found.values():
        if ages.setdefault(line.subject, line.age_years) != line.age_years:
            came = f"{path}: {line.subject} is {ages[line.subject]:g} and {line.age_years:g} years old"
            raise DatasetError(came, "one age a person", "Correct it, or give recordings years apart two subjects.")
