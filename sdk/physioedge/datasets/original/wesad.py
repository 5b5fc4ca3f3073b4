"""WESAD in its original form: one pickle a person, ``S2/S2.pkl`` to ``S17/S17.pkl``.

Source: Schmidt, Reiss, Duerichen, Marberger and Van Laerhoven, Introducing WESAD, a multimodal dataset for wearable
stress and affect detection, ICMI 2018, doi 10.1145/3242969.3242985; https://archive.ics.uci.edu/dataset/465/wesad.
Rates, units and label codes are those of its readme.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import DatasetInfo, Labels, require
from physioedge.datasets.location import find
from physioedge.datasets.original.reading import as_dataset_errors, first_of
from physioedge.signals.recording import Recording, Session
from physioedge.signals.safe_pickle import read_pickle
from physioedge_runtime.errors import DatasetError

LABELS = {
    0: "not defined or between conditions",
    1: "baseline",
    2: "stress (Trier social stress test)",
    3: "amusement",
    4: "meditation",
    5: "to be ignored",
    6: "to be ignored",
    7: "to be ignored",
}
STRESS_OR_NOT = {1: 0, 2: 1, 3: 0}
"""The authors' two classes: stress against baseline and amusement; everything else is left out."""

INFO = DatasetInfo(
    name="wesad",
    title="WESAD: 15 people, about 100 min each, Empatica E4 on the wrist (PPG 64 Hz, acceleration 32 Hz, EDA and "
    "temperature 4 Hz) and a RespiBAN on the chest (ECG, EMG, EDA, respiration at 700 Hz), stress and amusement",
    licence="CC-BY-4.0",
    licence_note="the authors' own page allows non-commercial scientific use only: ask before shipping weights",
    citation="Schmidt et al., Introducing WESAD, ICMI 2018, doi 10.1145/3242969.3242985",
    source="https://archive.ics.uci.edu/dataset/465/wesad",
    get="unpack WESAD.zip into data/wesad/, so that data/wesad/S2/S2.pkl or data/wesad/WESAD/S2/S2.pkl is there",
    modalities=("ppg", "acc", "eda", "temp", "ecg", "emg", "resp"),
    tasks=("stress",),
    records=15,
    subjects=15,
    hours=25.0,
    evaluation_only=True,
    weights_shippable=False,
    excerpts_shippable=False,
    traps=(
        "The files are pickles: they are read without running them.",
        "S1 and S12 do not exist.",
        "The order of stress and amusement differs between people; the meditations follow each.",
        "Labels are given at the rate of the chest device.",
    ),
)
NAME = INFO.name
RECORDS = tuple(f"S{number}" for number in range(2, 18) if number != 12)
LABEL_FS_HZ = 700.0
_SPREAD_S = 2.0  # sensors of one file may end this far apart

# sensor: device, key, rate in Hz, unit, channels, what the file's number is divided by
_SENSORS: dict[str, tuple[str, str, float, str, tuple[str, ...], float]] = {
    "ppg": ("wrist", "BVP", 64.0, "a.u.", ("BVP",), 1.0),
    "acc": ("wrist", "ACC", 32.0, "g", ("x", "y", "z"), 64.0),
    "eda": ("wrist", "EDA", 4.0, "uS", ("EDA",), 1.0),
    "temp": ("wrist", "TEMP", 4.0, "degC", ("TEMP",), 1.0),
    "ecg": ("chest", "ECG", 700.0, "mV", ("ECG",), 1.0),
    "emg": ("chest", "EMG", 700.0, "mV", ("EMG",), 1.0),
    "resp": ("chest", "Resp", 700.0, "%", ("Resp",), 1.0),
    "acc_chest": ("chest", "ACC", 700.0, "g", ("x", "y", "z"), 1.0),
    "eda_chest": ("chest", "EDA", 700.0, "uS", ("EDA",), 1.0),
    "temp_chest": ("chest", "Temp", 700.0, "degC", ("Temp",), 1.0),
}


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
    """Person of a record: ``wesad:S2``.

    Raises
    ------
    DatasetError
        No record of that name.
    """
    if record not in RECORDS:
        raise DatasetError(f"record {record!r}", "one of S2 to S17, without S12", "Name a person of WESAD.")
    return f"{NAME}:{record}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People whose file is here, sorted."""
    return tuple(sorted(subject_of(record) for record in records(root)))


def load(record: str, root: Path | None = None, sensors: tuple[str, ...] = tuple(_SENSORS)) -> Session:
    """Sensors of one person, each at its own rate; times are seconds since the start of the file.

    Wrist: ``ppg`` (64 Hz, a.u.), ``acc`` (32 Hz, g), ``eda`` (4 Hz, uS), ``temp`` (4 Hz, degC). Chest, 700 Hz: ``ecg``
    and ``emg`` (mV), ``resp`` (%), ``acc_chest`` (g), ``eda_chest`` (uS), ``temp_chest`` (degC).

    Parameters
    ----------
    record : str
        ``"S2"`` to ``"S17"``.
    root : Path, optional
        Folder that holds ``wesad``; by default the places of `physioedge.datasets.location`.
    sensors : tuple of str
        Which of them; the chest's take about 70 MB each.

    Raises
    ------
    DatasetError
        No such record or sensor, its file is not here, or the file is not as distributed.
    """
    strange = sorted(set(sensors) - set(_SENSORS))
    if strange:
        raise DatasetError(f"sensors {', '.join(strange)}", f"some of {', '.join(_SENSORS)}", "Name other sensors.")
    path, content = _read(record, root)
    recordings = {}
    for kind in sensors:
        device, key, fs_hz, units, channels, scale = _SENSORS[kind]
        recordings[kind] = Recording(
            samples=_samples(path, content, device, key, len(channels)) / np.float32(scale),
            fs_hz=fs_hz,
            units=units,
            channels=channels,
            name=record,
            subject=subject_of(record),
            source=path,
        )
    lasts_s = [recording.duration_s for recording in recordings.values()] + [len(_codes(path, content)) / LABEL_FS_HZ]
    together = max(lasts_s) - min(lasts_s) <= _SPREAD_S
    require(together, path, f"sensors of {min(lasts_s):g} to {max(lasts_s):g} s", "one length at the known rates")
    return Session(subject=subject_of(record), recordings=recordings)


def labels(record: str, root: Path | None = None) -> Labels:
    """Stretches of one condition each, in seconds since the start of the file; codes are those of `LABELS`.

    Raises
    ------
    DatasetError
        As `load`.
    """
    path, content = _read(record, root)
    codes = _codes(path, content)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]])
    return Labels(
        start_s=edges[:-1] / LABEL_FS_HZ,
        end_s=edges[1:] / LABEL_FS_HZ,
        value=codes[edges[:-1]],
        units="class",
        columns=("label",),
        meaning=LABELS,
    )


def _tails(record: str) -> tuple[str, str]:
    return f"{record}/{record}.pkl", f"WESAD/{record}/{record}.pkl"


def _read(record: str, root: Path | None) -> tuple[Path, dict[str, Any]]:
    subject_of(record)
    path = first_of(NAME, root, _tails(record))
    with as_dataset_errors():
        content = read_pickle(path)
    require(isinstance(content, dict), path, f"a {type(content).__name__}", "a dictionary")
    require(content.get("subject") == record, path, f"the file of {content.get('subject')!r}", repr(record))
    return path, content


def _codes(path: Path, content: dict[str, Any]) -> NDArray[np.int64]:
    found = content.get("label")
    if not isinstance(found, np.ndarray) or found.ndim != 1 or found.size == 0 or found.dtype.kind not in "iu":
        raise DatasetError(f"{path} without whole numbers under 'label'", "a file of WESAD", "Download it again.")
    strange = sorted(set(np.unique(found).tolist()) - set(LABELS))
    require(not strange, path, f"labels {strange}", "0 to 7")
    return found.astype(np.int64)


def _samples(path: Path, content: dict[str, Any], device: str, key: str, count: int) -> NDArray[np.float32]:
    """Samples (channel, sample) of a sensor, which the file keeps as (sample, channel)."""
    signal = content.get("signal")
    part = signal.get(device) if isinstance(signal, dict) else None
    found = part.get(key) if isinstance(part, dict) else None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
        raise DatasetError(f"{path} without signal/{device}/{key}", "a file of WESAD", "Download it again.")
    shaped = found.ndim == 2 and found.shape[1] == count and len(found) > 0
    require(shaped, path, f"{device} {key} of shape {found.shape}", f"(sample, {count})")
    require(bool(np.isfinite(found).all()), path, f"{device} {key} that is not finite", "finite numbers")
    return np.ascontiguousarray(found.T, dtype=np.float32)
