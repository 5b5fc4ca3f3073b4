"""PPG-DaLiA in its original form: one pickle a person, ``S1/S1.pkl`` to ``S15/S15.pkl``.

Source: Reiss, Indlekofer, Schmidt and Van Laerhoven, Deep PPG: large-scale heart rate estimation with convolutional
neural networks, Sensors 19(14):3079, 2019; https://archive.ics.uci.edu/dataset/495/ppg+dalia.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import DatasetInfo, Labels, require
from physioedge.datasets.location import find
from physioedge.datasets.original.reading import as_dataset_errors, first_of, to_g
from physioedge.signals.recording import Annotations, Recording, Session
from physioedge.signals.safe_pickle import read_pickle
from physioedge_runtime.errors import DatasetError

INFO = DatasetInfo(
    name="ppg_dalia",
    title="PPG-DaLiA: 15 people, about 2.5 h each of daily life, Empatica E4 on the wrist (PPG 64 Hz, acceleration 32 "
    "Hz, EDA and temperature 4 Hz), ECG and respiration at 700 Hz on the chest, heart rate from the ECG",
    licence="CC-BY-4.0",
    citation="Reiss A, Indlekofer I, Schmidt P, Van Laerhoven K. Deep PPG: large-scale heart rate estimation with "
    "convolutional neural networks. Sensors 19(14):3079, 2019.",
    source="https://archive.ics.uci.edu/dataset/495/ppg+dalia",
    get="Download and unpack it, and put PPG_FieldStudy, or the folders S1 to S15, into a folder named ppg_dalia.",
    modalities=("ppg", "acc", "eda", "temp", "ecg", "resp"),
    tasks=("heart_rate",),
    records=15,
    subjects=15,
    hours=36.0,
    traps=(
        "The files are pickles: they are read without running them.",
        "Heart rate windows overlap by 6 s of 8 s.",
        "S6 is cut short by a hardware failure.",
        "EMG, EDA and temperature of the chest device are placeholders and are not read.",
        "Activity 0 is the time between activities, not an activity.",
    ),
)
NAME = INFO.name
RECORDS = tuple(f"S{i}" for i in range(1, 16))
WINDOW_S, STEP_S = 8.0, 2.0
ACTIVITY_FS_HZ = 4.0
ACTIVITIES = {
    0: "between activities",
    1: "sitting",
    2: "stairs",
    3: "table soccer",
    4: "cycling",
    5: "driving",
    6: "lunch break",
    7: "walking",
    8: "working",
}

# sensor: device, key, rate in Hz, unit, channels
_SENSORS: dict[str, tuple[str, str, float, str, tuple[str, ...]]] = {
    "ppg": ("wrist", "BVP", 64.0, "a.u.", ("BVP",)),
    "acc": ("wrist", "ACC", 32.0, "g", ("x", "y", "z")),
    "eda": ("wrist", "EDA", 4.0, "uS", ("EDA",)),
    "temp": ("wrist", "TEMP", 4.0, "degC", ("TEMP",)),
    "ecg": ("chest", "ECG", 700.0, "mV", ("ECG",)),
    "resp": ("chest", "Resp", 700.0, "a.u.", ("Resp",)),
    "acc_chest": ("chest", "ACC", 700.0, "g", ("x", "y", "z")),
}
_SPREAD_S = 2.0  # sensors of one file may end this far apart


def records(root: Path | None = None) -> tuple[str, ...]:
    """People whose file is here, in order.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    folder = find(NAME, root)
    return tuple(r for r in RECORDS if any((folder / tail).exists() for tail in _tails(r)))


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a record: ``ppg_dalia:S1``.

    Raises
    ------
    DatasetError
        No record of that name.
    """
    if record not in RECORDS:
        raise DatasetError(f"record {record!r}", "one of S1 to S15", "Name a person of PPG-DaLiA.")
    return f"{NAME}:{record}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People whose file is here, sorted."""
    return tuple(sorted(subject_of(record) for record in records(root)))


def load(record: str, root: Path | None = None) -> Session:
    """All real sensors of one person, each at its own rate.

    Parameters
    ----------
    record : str
        ``"S1"`` to ``"S15"``.
    root : Path, optional
        Folder that holds ``ppg_dalia``; by default the places of `physioedge.datasets.location`.

    Returns
    -------
    Session
        Wrist: ``ppg`` (64 Hz, a.u.), ``acc`` (32 Hz, g), ``eda`` (4 Hz, uS), ``temp`` (4 Hz, degC). Chest, 700 Hz:
        ``ecg`` (mV, with the R peaks of the source as annotations), ``resp`` (a.u.), ``acc_chest`` (g).

    Raises
    ------
    DatasetError
        No such record, its file is not here, or the file is not as distributed.
    """
    path, content = _read(record, root)
    subject = subject_of(record)
    peaks = _vector(path, content, "rpeaks").astype(np.int64)
    recordings = {}
    for sensor, (device, key, fs_hz, units, channels) in _SENSORS.items():
        samples = _samples(path, content, device, key, len(channels))
        beats = sensor == "ecg"
        if beats:
            inside = len(peaks) == 0 or (peaks.min() >= 0 and peaks.max() < samples.shape[1])
            require(bool(inside), path, "R peaks outside the ECG", f"samples below {samples.shape[1]}")
        recordings[sensor] = Recording(
            samples=to_g(path, samples) if units == "g" else samples,
            fs_hz=fs_hz,
            units=units,
            channels=channels,
            name=record,
            subject=subject,
            annotations=_beats(peaks) if beats else None,
            source=path,
        )
    lasts_s = [recording.duration_s for recording in recordings.values()]
    together = max(lasts_s) - min(lasts_s) <= _SPREAD_S
    require(together, path, f"sensors of {min(lasts_s):g} to {max(lasts_s):g} s", "one length at the known rates")
    return Session(subject=subject, recordings=recordings)


def labels(record: str, root: Path | None = None) -> Labels:
    """Heart rate from the ECG, in bpm, of each window of 8 s every 2 s that lies within the PPG.

    Raises
    ------
    DatasetError
        As `load`.
    """
    path, content = _read(record, root)
    rate = _vector(path, content, "label").astype(np.float32)
    ppg = _samples(path, content, "wrist", "BVP", 1)
    start_s = STEP_S * np.arange(len(rate), dtype=np.float64)
    fits = start_s + WINDOW_S <= ppg.shape[1] / _SENSORS["ppg"][2]
    # the last window may end with the ECG, a moment after the PPG
    require(int((~fits).sum()) <= 1, path, f"{len(rate)} heart rates", f"about {int(fits.sum())} for this PPG")
    plausible = bool(((rate > 20) & (rate < 250)).all())
    require(plausible, path, "heart rates outside 20 to 250 bpm", "bpm")
    start_s = start_s[fits]
    return Labels(
        start_s=start_s, end_s=start_s + WINDOW_S, value=rate[fits], units="bpm", columns=("heart_rate",)
    )  # fmt: skip


def activity(record: str, root: Path | None = None) -> Labels:
    """Stretches of one activity each; codes are those of `ACTIVITIES`.

    Raises
    ------
    DatasetError
        As `load`.
    """
    path, content = _read(record, root)
    found = _vector(path, content, "activity")
    code = np.rint(found).astype(np.int64)
    strange = sorted(set(code.tolist()) - set(ACTIVITIES))
    require(not strange and bool((found == code).all()), path, f"activities {strange}", "whole numbers from 0 to 8")
    edges = np.concatenate([[0], np.flatnonzero(np.diff(code)) + 1, [len(code)]])
    return Labels(
        start_s=edges[:-1] / ACTIVITY_FS_HZ,
        end_s=edges[1:] / ACTIVITY_FS_HZ,
        value=code[edges[:-1]],
        units="class",
        columns=("activity",),
        meaning=ACTIVITIES,
    )


def _tails(record: str) -> tuple[str, str]:
    return f"{record}/{record}.pkl", f"PPG_FieldStudy/{record}/{record}.pkl"


def _read(record: str, root: Path | None) -> tuple[Path, dict[str, Any]]:
    subject_of(record)
    path = first_of(NAME, root, _tails(record))
    with as_dataset_errors():
        content = read_pickle(path)
    require(isinstance(content, dict), path, f"a {type(content).__name__}", "a dictionary")
    named = content.get("subject", record)
    require(named == record, path, f"the file of {named!r}", repr(record))
    return path, content


def _vector(path: Path, content: dict[str, Any], key: str) -> NDArray[Any]:
    found = content.get(key)
    if not isinstance(found, np.ndarray) or found.size == 0 or found.dtype.kind not in "iuf":
        raise DatasetError(f"{path} without numbers under {key!r}", "a file of PPG-DaLiA", "Download it again.")
    require(found.size == max(found.shape), path, f"{key} of shape {found.shape}", "one column")
    require(bool(np.isfinite(found).all()), path, f"{key} that is not finite", "finite numbers")
    return found.ravel()


def _samples(path: Path, content: dict[str, Any], device: str, key: str, count: int) -> NDArray[np.float32]:
    """Samples (channel, sample) of a sensor, which the file keeps as (sample, channel)."""
    signal = content.get("signal")
    part = signal.get(device) if isinstance(signal, dict) else None
    found = part.get(key) if isinstance(part, dict) else None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
        raise DatasetError(f"{path} without signal/{device}/{key}", "a file of PPG-DaLiA", "Download it again.")
    columns = found[:, None] if found.ndim == 1 else found
    shaped = columns.ndim == 2 and columns.shape[1] == count and len(columns) > 0
    require(shaped, path, f"{device} {key} of shape {found.shape}", f"(sample, {count})")
    return np.ascontiguousarray(columns.T, dtype=np.float32)


def _beats(peaks: NDArray[np.int64]) -> Annotations:
    return Annotations(sample=np.sort(peaks), symbol=("N",) * len(peaks), note=("",) * len(peaks))
