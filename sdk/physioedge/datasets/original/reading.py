"""What the loaders of original distributions share: errors of one kind, tables of numbers, units, rates of beats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import Labels
from physioedge.datasets.location import find
from physioedge.signals.recording import Recording
from physioedge_runtime.errors import DatasetError, SignalError

MAX_BYTES = 1 << 30
_GRAVITY = {"g": 1.0, "1/64 g": 64.0, "m/s2": 9.80665, "mg": 1000.0}
_SLACK = 0.25  # of gravity: what walking and a tilted sensor's offset leave of it in the median
_AGAIN = "Download it again, as docs/datasets.md says."


@contextmanager
def as_dataset_errors() -> Iterator[None]:
    """Errors of the file readers, passed on as `DatasetError`.

    Raises
    ------
    DatasetError
        In place of any `SignalError`.
    """
    try:
        yield
    except SignalError as error:
        raise DatasetError(error.came, error.expected, error.do) from error


def first_of(dataset: str, root: Path | None, tails: Sequence[str]) -> Path:
    """First of several possible files of a dataset that is here.

    Raises
    ------
    DatasetError
        None of them is.
    """
    folder = find(dataset, root)
    for tail in tails:
        if (folder / tail).exists():
            return folder / tail
    raise DatasetError(f"{folder} without {' or '.join(tails)}", "one of them", _AGAIN)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of a text file with a line of names.

    Attributes
    ----------
    path : Path
    values : mapping of str to float64 (row,)
    text : mapping of str to (str, str)
        First and last cell of the columns that hold no numbers.
    """

    path: Path
    values: Mapping[str, NDArray[np.float64]]
    text: Mapping[str, tuple[str, str]]

    def rows(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Named columns as float32 (column, row).

        Raises
        ------
        DatasetError
            A column is missing.
        """
        absent = [name for name in names if name not in self.values]
        if absent:
            raise DatasetError(f"{self.path} without {', '.join(absent)}", f"columns {', '.join(names)}", _AGAIN)
        return np.stack([self.values[name] for name in names]).astype(np.float32)


def read_table(path: Path, text: Sequence[str] = ()) -> Table:
    """Comma-separated numbers under a line of names; NaN stays NaN.

    Parameters
    ----------
    path : Path
    text : sequence of str
        Columns that hold text, of which only the first and last cell are kept.

    Raises
    ------
    DatasetError
        Unreadable, over 1 GiB, empty, ragged or not numbers.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path}: {path.stat().st_size} bytes", f"at most {MAX_BYTES}", _AGAIN)
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: {error}", "a readable text file", _AGAIN) from error
    if len(lines) < 2:
        raise DatasetError(f"{path}: {len(lines)} lines", "names and rows of numbers", _AGAIN)
    names = [name.strip() for name in lines[0].split(",")]
    counts = {line.count(",") for line in lines[1:]}
    if len(set(names)) != len(names) or counts != {len(names) - 1}:
        ragged = next((i for i, line in enumerate(lines[1:], 2) if line.count(",") != len(names) - 1), 1)
        raise DatasetError(f"{path}, line {ragged}: another number of columns", f"{len(names)} different ones", _AGAIN)
    numeric = [i for i, name in enumerate(names) if name not in text]
    try:
        values = np.loadtxt(lines[1:], delimiter=",", usecols=numeric, ndmin=2, comments=None)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}", "numbers", _AGAIN) from error
    cells = [[cell.strip() for cell in lines[i].split(",")] for i in (1, -1)]
    return Table(
        path=path,
        values={names[i]: values[:, column] for column, i in enumerate(numeric)},
        text={name: (cells[0][i], cells[1][i]) for i, name in enumerate(names) if name in text},
    )


def check_rate(path: Path, lasted_s: float, count: int, fs_hz: float) -> None:
    """Refuse a file whose times do not run at its rate, within 1 %.

    Raises
    ------
    DatasetError
        They do not.
    """
    found = (count - 1) / lasted_s if lasted_s > 0 else float("nan")
    if not abs(found / fs_hz - 1) < 0.01:
        raise DatasetError(f"{path}: times at {found:.6g} Hz", f"{fs_hz:g} Hz", _AGAIN)


def to_g(path: Path, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Acceleration in g, whichever unit the file has: gravity itself tells it.

    Parameters
    ----------
    path : Path
        Named in the error.
    samples : float32 (3, sample)
        In g, 1/64 g, mg or m/s².

    Raises
    ------
    DatasetError
        The median length of the vector is gravity in none of these units.
    """
    length = float(np.nanmedian(np.linalg.norm(samples.astype(np.float64), axis=0)))
    for gravity in _GRAVITY.values():
        if abs(length / gravity - 1) < _SLACK:
            return samples / np.float32(gravity)
    came = f"{path}: an accelerometer whose median length is {length:.4g}"
    raise DatasetError(came, f"gravity in {', '.join(_GRAVITY)}", "Check the columns and the unit of the file.")


def rate_of_beats(ecg: Recording, window_s: float, step_s: float) -> Labels:
    """Heart rate in bpm of sliding windows, from the annotated beats of an ECG.

    The rate is the number of intervals over the time from the first to the last beat inside; windows with fewer than
    three beats are left out.

    Raises
    ------
    DatasetError
        The recording has no annotations.
    """
    if ecg.annotations is None:
        raise DatasetError(f"{ecg.name} without annotated beats", "R peaks", _AGAIN)
    beat_s: NDArray[np.float64] = ecg.t0_s + np.sort(ecg.annotations.sample) / ecg.fs_hz
    count = int((ecg.duration_s - window_s) / step_s + 1e-9) + 1 if ecg.duration_s >= window_s else 0
    start_s: NDArray[np.float64] = ecg.t0_s + step_s * np.arange(count, dtype=np.float64)
    first = np.searchsorted(beat_s, start_s)
    beyond = np.searchsorted(beat_s, start_s + window_s)
    kept = beyond - first >= 3
    first, beyond, start_s = first[kept], beyond[kept], start_s[kept]
    rate = 60.0 * (beyond - 1 - first) / (beat_s[beyond - 1] - beat_s[first])
    return Labels(
        start_s=start_s,
        end_s=start_s + window_s,
        value=rate.astype(np.float32),
        units="bpm",
        columns=("heart_rate",),
    )
