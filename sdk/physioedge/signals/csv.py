"""Recordings from comma-separated text.

::

    # fs_hz: 360
    # units: mV
    time_s,MLII,V5
    0.00000,-0.145,-0.065
    0.00278,-0.145,-0.065

Comment lines state what the numbers mean (``fs_hz``, ``units``, ``channels``, ``name``, ``subject``); the caller may
state it instead. A column called ``time_s``, ``t_s`` or ``time_ms`` is checked against the rate. The delimiter is a
comma, semicolon or tab.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Recording
from physioedge.signals.stated import check_times, pick_channels, read_bytes, settle_rate, settle_units
from physioedge_runtime.errors import ChannelMismatch, RecordError

MAX_BYTES = 1 << 30
TIME_COLUMNS = {"time_s": 1.0, "t_s": 1.0, "time_ms": 1e-3}
_KEYS = ("fs_hz", "units", "channels", "name", "subject")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Numbers of a file, with where each row stood in it."""

    values: NDArray[np.float64]
    columns: tuple[str, ...] | None
    lines: list[int]
    said: dict[str, str]


def read_csv(
    path: Path, *, fs_hz: float | None = None, units: str | None = None, channels: Sequence[str] | None = None
) -> Recording:
    """Recording of a text file.

    Parameters
    ----------
    path : Path
    fs_hz : float, optional
        Rate, needed where the file does not state it; where both do they must agree.
    units : str, optional
        Likewise.
    channels : sequence of str, optional
        Which columns, in which order; in a file without column names, the names of all its columns.

    Raises
    ------
    RecordError
        Empty, not numbers, ragged, not finite, or the time column has gaps, repeats or runs back.
    SampleRateMismatch, UnitMismatch, ChannelMismatch
        Rate, unit or channels are not stated, or stated twice and differently.
    """
    table = _read_table(path)
    names = table.columns if table.columns is not None else _name_columns(path, table, channels)
    said = table.said
    how = "write a line such as '# fs_hz: 360' at the top"
    rate = settle_rate(path, fs_hz, _number(path, said, "fs_hz"), how)
    unit = settle_units(path, units, said.get("units"), "write a line such as '# units: mV' at the top")
    timed = [i for i, name in enumerate(names) if name in TIME_COLUMNS]
    t0_s = 0.0
    if timed:
        time_s = table.values[:, timed[0]] * TIME_COLUMNS[names[timed[0]]]
        check_times(path, time_s, rate, lambda at: f"line {table.lines[at]}")
        t0_s = float(time_s[0])
    signals = [i for i in range(len(names)) if i not in timed]
    available = [names[i] for i in signals]
    if not available:
        raise ChannelMismatch(f"{path}: no signal column", "at least one beside the time", "Export the signal too.")
    rows = pick_channels(path, available, channels)
    return Recording(
        samples=np.ascontiguousarray(table.values[:, [signals[i] for i in rows]].T, dtype=np.float32),
        fs_hz=rate,
        units=unit,
        channels=tuple(available[i] for i in rows),
        name=said.get("name", path.stem),
        subject=said.get("subject", path.stem),
        t0_s=t0_s,
        source=path,
    )


def _read_table(path: Path) -> _Table:
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: bytes that are no text", "comma-separated text", "Check the file.") from error
    said: dict[str, str] = {}
    rows: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("#"):
            key, _, value = stripped[1:].partition(":")
            if key.strip() in _KEYS and value.strip():
                said[key.strip()] = value.strip()
        elif stripped:
            rows.append(stripped)
            lines.append(number)
    if not rows:
        raise RecordError(f"{path}: no rows", "numbers under a line of column names", "Record or export it again.")
    delimiter = next((d for d in (",", ";", "\t") if d in rows[0]), ",")
    first = [cell.strip() for cell in rows[0].split(delimiter)]
    # one number makes it a row: a first row with a hole must not pass for names
    columns = None if any(_is_number(cell) for cell in first) else tuple(first)
    if columns is not None and "" in columns:
        raise RecordError(f"{path}, line {lines[0]}: a column without a name", "a name for each", "Name every column.")
    skip = 0 if columns is None else 1
    values = _to_numbers(path, rows[skip:], lines[skip:], delimiter, len(first))
    return _Table(values=values, columns=columns, lines=lines[skip:], said=said)


def _to_numbers(path: Path, rows: list[str], lines: list[int], delimiter: str, width: int) -> NDArray[np.float64]:
    """Rows as (row, column); the slow look for a faulty line is taken only when there is one."""
    if not rows:
        raise RecordError(f"{path}: column names and no rows", "numbers under them", "Record or export it again.")
    try:
        values = np.loadtxt(rows, delimiter=delimiter, ndmin=2, comments=None, dtype=np.float64)
    except ValueError as error:
        raise _first_fault(path, rows, lines, delimiter, width) from error
    if values.shape != (len(rows), width) or not (np.abs(values) <= _LARGEST).all():  # NaN is not <= either
        raise _first_fault(path, rows, lines, delimiter, width)
    return values


def _first_fault(path: Path, rows: list[str], lines: list[int], delimiter: str, width: int) -> RecordError:
    for number, row in zip(lines, rows, strict=True):
        cells = [cell.strip() for cell in row.split(delimiter)]
        if len(cells) != width:
            came = f"{path}, line {number}: {len(cells)} columns"
            return RecordError(came, f"{width} as in the first row", "The file may be cut off: export it again.")
        for cell in cells:
            if not _is_number(cell):
                return RecordError(f"{path}, line {number}: {cell!r}", "a number", "Correct or leave out the row.")
            if not abs(float(cell)) <= _LARGEST:
                do = "Split the file where samples are missing, or fill them knowingly."
                return RecordError(f"{path}, line {number}: {cell!r}", "a finite number", do)
    return RecordError(f"{path}: text that is no table", "rows of numbers", "Export it again as plain CSV.")


def _name_columns(path: Path, table: _Table, channels: Sequence[str] | None) -> tuple[str, ...]:
    listed = table.said.get("channels")
    names = tuple(name.strip() for name in listed.split(",")) if listed else tuple(channels or ())
    width = table.values.shape[1]
    if len(names) != width:
        came = f"{path}: {width} columns without a line of names and {len(names)} names stated"
        do = "Write column names above the numbers, or state them with --channel (channels=...)."
        raise ChannelMismatch(came, "a name for each column", do)
    return names


def _number(path: Path, said: dict[str, str], key: str) -> float | None:
    if key not in said:
        return None
    if not _is_number(said[key]):
        raise RecordError(f"{path}: {key} {said[key]!r}", "a number", "Correct the comment line.")
    return float(said[key])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
