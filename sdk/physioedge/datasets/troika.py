"""TROIKA, the training set of the IEEE Signal Processing Cup 2015: wrist PPG on a treadmill with heart rate from ECG.

Source: Zhang, Pi and Liu, TROIKA, IEEE Trans Biomed Eng 62(2):522-531, 2015; https://zenodo.org/records/3902710.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import NUMBER, TEXT, DatasetInfo, Labels, packed_records, read_npz, require
from physioedge.datasets.location import find
from physioedge.signals.recording import Recording, Session
from physioedge_runtime.errors import DatasetError

INFO = DatasetInfo(
    name="troika",
    title="TROIKA / IEEE SP Cup 2015 training set: 12 treadmill runs of 11 people, two wrist PPG, wrist accelerometer "
    "and chest ECG at 125 Hz, heart rate from the ECG every 2 s",
    licence="CC-BY-4.0",
    licence_note="As stated on Zenodo; check it there before passing excerpts on.",
    citation="Zhang Z, Pi Z, Liu B. TROIKA: a general framework for heart rate monitoring using wrist-type "
    "photoplethysmographic signals during intensive physical exercise. IEEE Trans Biomed Eng 62(2):522-531, 2015.",
    source="https://zenodo.org/records/3902710",
    get="Download the training set and pack each record as docs/datasets.md says, into a folder named troika.",
    modalities=("ppg", "acc", "ecg"),
    tasks=("heart_rate",),
    records=12,
    subjects=11,
    hours=0.98,
    excerpts_shippable=False,
    traps=(
        "Two records are of subject 04: keep them together.",
        "Subject 09 is not in the source.",
        "Heart rate windows overlap by 6 s of 8 s.",
        "The ECG clips in up to 4 % of the samples; PPG and ECG are in ADC steps without a unit.",
        "The accelerometer clips near 4 g.",
    ),
)
NAME = INFO.name
FS_HZ = 125.0
RECORDS = (
    "01_TYPE01", "02_TYPE02", "03_TYPE02", "04_TYPE01", "04_TYPE02", "05_TYPE02",
    "06_TYPE02", "07_TYPE02", "08_TYPE02", "10_TYPE02", "11_TYPE02", "12_TYPE02",
)  # fmt: skip
"""Subject and protocol. Speeds in km/h: TYPE01 rest, 8, 15, 8, 15, rest; TYPE02 rest, 6, 12, 6, 12, rest."""
WINDOW_S, STEP_S = 8.0, 2.0
"""Length and step of the windows that a heart rate belongs to."""

_CHANNELS = ("ECG", "PPG1", "PPG2", "ACC_X", "ACC_Y", "ACC_Z")
_UNITS = ("raw", "raw", "raw", "g", "g", "g")
_SENSORS = {
    "ecg": (slice(0, 1), "a.u.", ("ECG",)),
    "ppg": (slice(1, 3), "a.u.", ("PPG1", "PPG2")),
    "acc": (slice(3, 6), "g", ("x", "y", "z")),
}


def records(root: Path | None = None) -> tuple[str, ...]:
    """Records that are here, sorted.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    return tuple(name for name in packed_records(find(NAME, root)) if name in RECORDS)


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a record: ``troika:04`` for both records of subject 04.

    Raises
    ------
    DatasetError
        No record of that name.
    """
    if record not in RECORDS:
        raise DatasetError(f"record {record!r}", f"one of {', '.join(RECORDS)}", "Name a record of TROIKA.")
    return f"{NAME}:{record[:2]}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People of the records that are here, sorted."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def load(record: str, root: Path | None = None) -> Session:
    """Three sensors of one record, all at 125 Hz.

    Parameters
    ----------
    record : str
        Such as ``"01_TYPE01"``.
    root : Path, optional
        Folder that holds ``troika``; by default the places of `physioedge.datasets.location`.

    Returns
    -------
    Session
        ``ppg`` (PPG1 and PPG2, a.u.), ``acc`` (x, y, z in g) and ``ecg`` (chest, a.u.). The ECG is where the labels
        come from: it is no input of a heart rate task.

    Raises
    ------
    DatasetError
        The record is not in the set, its file is not here, or the file is not as packed.
    """
    path, values = _read(record, root)
    subject = subject_of(record)
    samples = values["sig"].astype(np.float32)
    recordings = {
        sensor: Recording(
            samples=np.ascontiguousarray(samples[rows]),
            fs_hz=FS_HZ,
            units=units,
            channels=channels,
            name=record,
            subject=subject,
            source=path,
        )
        for sensor, (rows, units, channels) in _SENSORS.items()
    }
    return Session(subject=subject, recordings=recordings)


def labels(record: str, root: Path | None = None) -> Labels:
    """Heart rate from the ECG, in bpm, of each window of 8 s every 2 s.

    Raises
    ------
    DatasetError
        As `load`.
    """
    rate = _read(record, root)[1]["hr_bpm"].astype(np.float32)
    start_s = STEP_S * np.arange(len(rate), dtype=np.float64)
    return Labels(start_s=start_s, end_s=start_s + WINDOW_S, value=rate, units="bpm", columns=("heart_rate",))


def _read(record: str, root: Path | None) -> tuple[Path, dict[str, NDArray[Any]]]:
    subject_of(record)
    path = find(NAME, root) / f"{record}.npz"
    kinds = {"sig": NUMBER, "fs": NUMBER, "hr_bpm": NUMBER, "hr_win_s": NUMBER, "hr_step_s": NUMBER}
    values = read_npz(path, {**kinds, "ch_names": TEXT, "units": TEXT})
    signal, rate = values["sig"], values["hr_bpm"]
    require(float(values["fs"]) == FS_HZ, path, f"{values['fs']} Hz", f"{FS_HZ:g} Hz")
    named = tuple(values["ch_names"].tolist()), tuple(values["units"].tolist())
    require(named == (_CHANNELS, _UNITS), path, f"channels {named}", f"{_CHANNELS} in {_UNITS}")
    require(signal.ndim == 2 and len(signal) == len(_CHANNELS), path, f"samples {signal.shape}", "6 channels")
    require(bool(np.isfinite(signal).all()), path, "samples that are not finite", "finite samples")
    grid = float(values["hr_win_s"]), float(values["hr_step_s"])
    require(grid == (WINDOW_S, STEP_S), path, f"heart rate windows {grid} s", f"{WINDOW_S:g} s every {STEP_S:g} s")
    plausible = rate.ndim == 1 and bool(((rate > 20) & (rate < 250)).all())
    require(plausible, path, "heart rates outside 20 to 250 bpm", "bpm")
    needed_s = STEP_S * (len(rate) - 1) + WINDOW_S
    lasts_s = signal.shape[1] / FS_HZ
    require(len(rate) > 0 and needed_s <= lasts_s, path, f"{len(rate)} heart rates", f"windows within {lasts_s:g} s")
    return path, values
