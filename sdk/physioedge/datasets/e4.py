"""Empatica E4 exports: one folder of CSV files a session, each stream at its own rate.

Source: the export's own ``info.txt``: first row the start as Unix time in UTC, second row the rate in Hz, then samples;
ACC in 1/64 g, EDA in microsiemens, TEMP in degrees Celsius; IBI.csv holds seconds since the start and the interval.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import require
from physioedge.signals.recording import Events, Recording, Session
from physioedge_runtime.errors import DatasetError

ACC_PER_G = 64.0
IBI, HR = "ibi", "hr"
STREAMS = {
    "ppg": ("BVP", 64.0, "a.u.", ("BVP",)),
    "acc": ("ACC", 32.0, "g", ("x", "y", "z")),
    "eda": ("EDA", 4.0, "uS", ("EDA",)),
    "temp": ("TEMP", 4.0, "degC", ("TEMP",)),
}
"""Sensor to file name, rate, unit and channels."""
RAW_UNITS = {"acc": "1/64 g"}


def sensor(
    kind: str, values: NDArray[np.float64], fs_hz: float, t0_s: float, *, name: str, subject: str, source: Path
) -> Recording:
    """Recording of one stream in its physical unit.

    Parameters
    ----------
    kind : str
        One of `STREAMS`.
    values : (channel, sample), raw units of the device
    fs_hz, t0_s : float
        As the file says them; Unix time.

    Raises
    ------
    DatasetError
        Rate or channels are not those of an E4.
    """
    _, rate_hz, units, channels = STREAMS[kind]
    require(fs_hz == rate_hz, source, f"{kind} at {fs_hz:g} Hz", f"{rate_hz:g} Hz")
    require(len(values) == len(channels), source, f"{kind} with {len(values)} columns", f"{len(channels)}")
    require(values.shape[1] > 0, source, f"{kind} without samples", "at least one")
    scale = ACC_PER_G if kind == "acc" else 1.0
    return Recording(
        samples=(values / scale).astype(np.float32),
        fs_hz=rate_hz,
        units=units,
        channels=channels,
        name=name,
        subject=subject,
        t0_s=t0_s,
        source=source,
    )


def read_e4(folder: Path, *, name: str, subject: str) -> Session:
    """Session of an export: sensors ``ppg``, ``acc``, ``eda``, ``temp``; events ``ibi`` (s) and ``hr`` (bpm).

    Times are Unix seconds. Interval and rate are the device's own, from its PPG: no reference. An interval's time is
    that of the beat that ends it, as the device says it.

    Parameters
    ----------
    folder : Path
        Holds ``BVP.csv``, ``ACC.csv``, ``EDA.csv``, ``TEMP.csv``; ``IBI.csv`` and ``HR.csv`` may be absent.
    name, subject : str

    Raises
    ------
    DatasetError
        A stream is absent, is no E4 stream, or holds something else than numbers.
    """
    recordings: dict[str, Recording] = {}
    for kind, (file, _, _, _) in STREAMS.items():
        path = folder / f"{file}.csv"
        fs_hz, t0_s, values = _stream(path)
        recordings[kind] = sensor(kind, values, fs_hz, t0_s, name=name, subject=subject, source=path)
    events = {}
    if (folder / "IBI.csv").exists():
        t0_s, rows = _intervals(folder / "IBI.csv")
        events[IBI] = beat_intervals(t0_s + rows[:, 0], rows[:, 1], name, subject)
    if (folder / "HR.csv").exists():
        fs_hz, t0_s, values = _stream(folder / "HR.csv")
        events[HR] = device_rate(values[0], fs_hz, t0_s, name, subject)
    return Session(subject=subject, recordings=recordings, events=events)


def beat_intervals(time_s: NDArray[np.float64], interval_s: NDArray[np.float64], name: str, subject: str) -> Events:
    """Inter-beat intervals as events, in seconds."""
    return Events(time_s=time_s, value=interval_s.astype(np.float32), units="s", name=name, subject=subject)


def device_rate(bpm: NDArray[np.float64], fs_hz: float, t0_s: float, name: str, subject: str) -> Events:
    """The device's heart rate as events, in beats per minute."""
    time_s = t0_s + np.arange(len(bpm)) / fs_hz
    return Events(time_s=time_s, value=bpm.astype(np.float32), units="bpm", name=name, subject=subject)


def _stream(path: Path) -> tuple[float, float, NDArray[np.float64]]:
    """Rate, start and samples (channel, sample) of a stream."""
    rows = _numbers(path, 0)
    require(len(rows) > 2, path, f"{len(rows)} rows", "start, rate and samples")
    require(bool((rows[:2] == rows[:2, :1]).all()), path, "columns that start apart or differ in rate", "one of each")
    require(bool(rows[1, 0] > 0), path, f"a rate of {rows[1, 0]:g} Hz", "a positive rate")
    return float(rows[1, 0]), float(rows[0, 0]), rows[2:].T


def _intervals(path: Path) -> tuple[float, NDArray[np.float64]]:
    """Start, and rows of seconds since it and interval."""
    with path.open(encoding="utf-8") as file:
        head = file.readline().split(",")
    try:
        t0_s = float(head[0])
    except ValueError as error:
        raise DatasetError(f"{path}: {error}", "the start as Unix time", "Export the session again.") from error
    rows = _numbers(path, 1, columns=2)
    require(rows.shape[1] == 2, path, f"{rows.shape[1]} columns", "time and interval")
    return t0_s, rows


def _numbers(path: Path, skip: int, columns: int = 1) -> NDArray[np.float64]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[skip:]
        if not any(line.strip() for line in lines):
            return np.empty((0, columns))
        rows = np.loadtxt(lines, delimiter=",", ndmin=2, comments=None)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: {error}", "rows of numbers", "Export or download it again.") from error
    require(bool(np.isfinite(rows).all()), path, "values that are not finite", "numbers")
    return rows
