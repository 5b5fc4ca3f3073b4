"""Fingertip PPG of six rhythms, in windows of 10 s. For evaluation only: nothing that is shipped is fitted on it.

Source: Liu et al., Multiclass arrhythmia detection and classification from photoplethysmography signals using a deep
convolutional neural network, J Am Heart Assoc 11(7):e023555, 2022; https://github.com/zdzdliu/PPGArrhythmiaDetection.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import NUMBER, TEXT, DatasetInfo, Labels, Windows, packed_records, read_npz, require
from physioedge.datasets.location import find
from physioedge_runtime.errors import DatasetError

INFO = DatasetInfo(
    name="ppg_arrhythmia",
    title="PPG multiclass arrhythmia, 40 of its 91 patients: 13,911 windows of 10 s of fingertip PPG at 100 Hz in six "
    "rhythms",
    licence="none stated",
    licence_note="The repository has no licence file and asks for citation. Research use: ship neither excerpts nor "
    "weights fitted on it.",
    citation="Liu Z, Zhou B, Jiang Z, et al. Multiclass arrhythmia detection and classification from "
    "photoplethysmography signals using a deep convolutional neural network. J Am Heart Assoc 11(7):e023555, 2022.",
    source="https://github.com/zdzdliu/PPGArrhythmiaDetection",
    get="Clone the repository and pack each patient's file as docs/datasets.md says, into a folder named "
    "ppg_arrhythmia.",
    modalities=("ppg",),
    tasks=("ppg_rhythm",),
    records=40,
    subjects=40,
    hours=38.6,
    evaluation_only=True,
    weights_shippable=False,
    excerpts_shippable=False,
    traps=(
        "40 of 91 patients: figures cannot be compared with the paper's.",
        "Some patients are almost of one class: report over patients too, not over windows alone.",
        "Every window was scaled to 0..1 by itself: amplitude tells nothing.",
        "A window has no past: filters start cold at its first sample.",
        "The paper's own parts (valid, test) name no training part here: split by patient.",
    ),
)
NAME = INFO.name
FS_HZ = 100.0
WINDOW_SAMPLES = 1000
LABELS = {
    0: "sinus rhythm",
    1: "premature ventricular contraction",
    2: "premature atrial contraction",
    3: "ventricular tachycardia",
    4: "supraventricular tachycardia",
    5: "atrial fibrillation",
}
SHORT = {0: "SR", 1: "PVC", 2: "PAC", 3: "VT", 4: "SVT", 5: "AF"}
"""Class codes to the names used in tables."""
PARTS = ("valid", "test")

_RECORD = re.compile(r"MPA_\d{12}")
_LARGEST = 65535


def records(root: Path | None = None) -> tuple[str, ...]:
    """Patients that are here, one file each, sorted, such as ``MPA_181220181216``.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    return tuple(name for name in packed_records(find(NAME, root)) if _RECORD.fullmatch(name))


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a file: one file, one patient.

    Raises
    ------
    DatasetError
        No name of a file of this set.
    """
    if not _RECORD.fullmatch(record):
        do = "See physioedge.datasets.ppg_arrhythmia.records."
        raise DatasetError(f"record {record!r}", "a file such as MPA_181220181216", do)
    return f"{NAME}:{record}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """Patients that are here, sorted."""
    return tuple(subject_of(record) for record in records(root))


def windows(record: str, root: Path | None = None) -> Windows:
    """Windows of 10 s of one patient in the order of the source; what lies between them is not known.

    Parameters
    ----------
    record : str
        Such as ``"MPA_181220181216"``.
    root : Path, optional
        Folder that holds ``ppg_arrhythmia``; by default the places of `physioedge.datasets.location`.

    Returns
    -------
    Windows
        Samples (window, 1, 1000) from 0 to 1 in a.u. at 100 Hz.

    Raises
    ------
    DatasetError
        The file is not of the set, not here, or not as packed.
    """
    path, values = _read(record, root)
    samples = values["sig"].astype(np.float32) * np.float32(values["scale"])
    return Windows(
        samples=np.ascontiguousarray(samples[:, None, :]),
        fs_hz=FS_HZ,
        units="a.u.",
        channels=("PPG",),
        name=record,
        subject=subject_of(record),
        source=path,
    )


def labels(record: str, root: Path | None = None) -> Labels:
    """One rhythm a window, in the order of `windows`; times are those within a window, 0 to 10 s.

    Raises
    ------
    DatasetError
        As `windows`.
    """
    code = _read(record, root)[1]["labels"].astype(np.int64)
    start_s = np.zeros(len(code))
    return Labels(
        start_s=start_s,
        end_s=start_s + WINDOW_SAMPLES / FS_HZ,
        value=code,
        units="class",
        columns=("label",),
        meaning=LABELS,
    )


def paper_part(record: str, root: Path | None = None) -> str:
    """Part the paper put this patient in, ``valid`` or ``test``.

    Raises
    ------
    DatasetError
        As `windows`.
    """
    return str(_read(record, root)[1]["paper_split"])


def _read(record: str, root: Path | None) -> tuple[Path, dict[str, NDArray[Any]]]:
    subject_of(record)
    path = find(NAME, root) / f"{record}.npz"
    kinds = {"sig": NUMBER, "scale": NUMBER, "fs": NUMBER, "labels": NUMBER, "paper_split": TEXT}
    values = read_npz(path, kinds)
    signal, code = values["sig"], values["labels"]
    shaped = signal.ndim == 2 and signal.shape[1] == WINDOW_SAMPLES and code.shape == (len(signal),)
    came = f"windows {signal.shape} with labels {code.shape}"
    require(shaped and len(code) > 0, path, came, f"(n, {WINDOW_SAMPLES}) and (n,)")
    require(signal.dtype == np.uint16, path, f"samples of type {signal.dtype}", "uint16")
    require(float(values["fs"]) == FS_HZ, path, f"{values['fs']} Hz", f"{FS_HZ:g} Hz")
    scaled = bool(np.isclose(float(values["scale"]) * _LARGEST, 1.0))
    require(scaled, path, f"scale {values['scale']}", f"1/{_LARGEST}, for values from 0 to 1")
    strange = sorted(set(np.unique(code).tolist()) - set(LABELS))
    require(not strange, path, f"labels {strange}", f"{', '.join(str(k) for k in LABELS)}")
    part = str(values["paper_split"])
    require(part in PARTS, path, f"part {part!r} of the paper", f"one of {', '.join(PARTS)}")
    return path, values
