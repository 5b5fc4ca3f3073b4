"""MIT-BIH Arrhythmia Database: recordings, AAMI classes and the inter-patient split.

Source: Moody and Mark, IEEE Eng Med Biol Mag 20(3):45-50, 2001; https://physionet.org/content/mitdb/1.0.0/, licence
ODC-By 1.0. Classes: ANSI/AAMI EC57. Split: de Chazal, O'Dwyer and Reilly, IEEE Trans Biomed Eng 51(7):1196-1206, 2004.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import DatasetInfo
from physioedge.datasets.location import find
from physioedge.signals.recording import Annotations, Recording
from physioedge_runtime.errors import DatasetError

INFO = DatasetInfo(
    name="mitbih",
    title="MIT-BIH Arrhythmia Database: 48 half-hour ECGs of 47 people, 2 leads at 360 Hz, beats and rhythms",
    licence="ODC-By-1.0",
    citation="Moody and Mark, IEEE Eng Med Biol 20(3):45-50, 2001; Goldberger et al., Circulation "
    "101(23):e215-e220, 2000",
    source="https://physionet.org/content/mitdb/1.0.0/",
    get="put 100.hea, 100.dat, 100.atr and so on into data/mitbih/",
    modalities=("ecg",),
    tasks=("arrhythmia",),
    records=48,
    subjects=47,
    hours=24.1,
    traps=(
        "Records 201 (DS1) and 202 (DS2) are one person: 201 is left out of everything that is fitted.",
        "In 114 the lead MLII is the second signal; 102 and 104 have none.",
    ),
)
NAME = INFO.name
FS_HZ = 360.0
LEAD = "MLII"
PACED = ("102", "104", "107", "217")
DS1 = tuple("101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230".split())  # noqa: SIM905
DS2 = tuple("100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234".split())  # noqa: SIM905
SHARED_PERSON = "201"
"""Record of DS1 whose person is also record 202 of DS2."""
FIT = tuple(record for record in DS1 if record != SHARED_PERSON)
"""Records anything may be fitted on: DS1 without the person of 202."""
ALL = RECORDS = tuple(sorted(DS1 + DS2 + PACED))

AAMI = {
    **dict.fromkeys("NLRej", "N"),
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VE", "V"),
    "F": "F",
    **dict.fromkeys("/fQ", "Q"),
}
"""Beat symbols to AAMI EC57 classes; every other symbol is no beat."""


def records(root: Path | None = None) -> tuple[str, ...]:
    """Records that are here, sorted.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    folder = find(NAME, root)
    return tuple(r for r in ALL if (folder / f"{r}.npz").exists() or (folder / f"{r}.hea").exists())


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a record: 201 and 202 are the same."""
    return "mitbih:201" if record == "202" else f"mitbih:{record}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People of the records that are here, sorted."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def load(record: str, root: Path | None = None) -> Recording:
    """One recording with both leads, in mV, at 360 Hz, with its annotations.

    Parameters
    ----------
    record : str
        Three digits, such as ``"100"``.
    root : Path, optional
        Folder that holds ``mitbih``; by default the places of `physioedge.datasets.location`.

    Raises
    ------
    DatasetError
        The record is not in the database, or its file is not here.
    """
    if record not in ALL:
        raise DatasetError(f"record {record!r}", "one of the 48 records", "See physioedge.datasets.mitbih.ALL.")
    folder = find(NAME, root)
    packed, original = folder / f"{record}.npz", folder / f"{record}.hea"
    if packed.exists():
        return _from_npz(packed, record)
    if original.exists():
        from physioedge.signals.wfdb import read_wfdb

        recording = read_wfdb(original.with_suffix(""))
        return Recording(**{**recording.__dict__, "name": record, "subject": subject_of(record)})
    raise DatasetError(f"no {record}.npz or {record}.hea in {folder}", "one of them", "Download the record.")


def _from_npz(path: Path, record: str) -> Recording:
    with np.load(path, allow_pickle=False) as file:
        values = {key: file[key] for key in file.files}
    gain = values["gain"].astype(np.float32)[:, None]
    baseline = values["baseline"].astype(np.float32)[:, None]
    return Recording(
        samples=(values["sig"].astype(np.float32) - baseline) / gain,
        fs_hz=float(values["fs"]),
        units="mV",
        channels=tuple(str(name) for name in values["ch_names"]),
        name=record,
        subject=subject_of(record),
        annotations=Annotations(
            sample=values["ann_sample"].astype(np.int64),
            symbol=tuple(str(s) for s in values["ann_symbol"]),
            note=tuple(str(s) for s in values["ann_aux"]),
        ),
        source=path,
    )


def beats(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Samples and AAMI classes of the annotated beats; non-beat annotations are left out.

    Returns
    -------
    sample : int64 (beat,), label : str (beat,)
        Labels are N, S, V, F or Q.
    """
    annotations = recording.annotations
    if annotations is None:
        raise DatasetError(f"{recording.name} without annotations", "beat annotations", "Read the .atr file too.")
    kept = [i for i, symbol in enumerate(annotations.symbol) if symbol in AAMI]
    labels = np.array([AAMI[annotations.symbol[i]] for i in kept], dtype="U1")
    return annotations.sample[kept], labels
