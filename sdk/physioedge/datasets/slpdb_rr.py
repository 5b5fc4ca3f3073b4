"""MIT-BIH Polysomnographic Database: beat-to-beat intervals of 18 nights with 30-s sleep stages and apnoea marks.

Source: Ichimaru and Moody, Psychiatry Clin Neurosci 53:175-177, 1999; https://physionet.org/content/slpdb/1.0.0/,
licence ODC-By 1.0. Only the beats (``.ecg``) and the stages (``.st``) are used, no waveform.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import NUMBER, TEXT, DatasetInfo, Labels, packed_records, read_npz, require
from physioedge.datasets.location import find
from physioedge.signals.recording import Events, Session
from physioedge_runtime.errors import DatasetError

ANNOTATION_FS_HZ = 250.0
EPOCH_S = 30.0
RR = "rr"
LABELS = {0: "wake", 1: "stage 1", 2: "stage 2", 3: "stage 3", 4: "stage 4", 5: "REM", 6: "movement"}
CODES = {"W": 0, "1": 1, "2": 2, "3": 3, "4": 4, "R": 5, "MT": 6, "M": 6}
"""Codes of the stage file (Rechtschaffen and Kales); the source writes movement time as MT or M."""
FOUR_CLASSES = {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3}
"""Wake, light (1, 2), deep (3, 4), REM; movement is left out."""
TWO_CLASSES = {0: 0, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
"""Wake, sleep; movement is left out."""
BREATHING = {
    "H": "hypopnoea",
    "HA": "hypopnoea with arousal",
    "OA": "obstructive apnoea",
    "X": "obstructive apnoea with arousal",
    "CA": "central apnoea",
    "CAA": "central apnoea with arousal",
    "L": "leg movement",
    "LA": "leg movement with arousal",
    "A": "unspecified arousal",
}
"""Marks behind the stage, one or several an epoch; the source runs some together (``LL`` is two leg movements)."""
RECORDS = (
    *("slp01a", "slp01b", "slp02a", "slp02b", "slp03", "slp04", "slp14", "slp16", "slp32", "slp37", "slp41", "slp45"),
    *("slp48", "slp59", "slp60", "slp61", "slp66", "slp67x"),
)

INFO = DatasetInfo(
    name="slpdb_rr",
    title="MIT-BIH Polysomnographic Database: 18 nights of 16 people, RR intervals with 30-s sleep stages",
    licence="ODC-By-1.0",
    citation="Ichimaru and Moody, Psychiatry Clin Neurosci 53:175-177, 1999; Goldberger et al., Circulation "
    "101(23):e215-e220, 2000",
    source="https://physionet.org/content/slpdb/1.0.0/",
    get="put slp01a.hea, slp01a.ecg, slp01a.st and so on into data/slpdb_rr/",
    modalities=("rr",),
    tasks=("sleep_rr",),
    records=18,
    subjects=16,
    hours=85.6,
    traps=(
        "slp01a and slp01b are one person, so are slp02a and slp02b.",
        "All are men, most with sleep apnoea.",
        "Minutes without beats (514 s in slp03, 209 s in slp60) stand as one long interval; two beats marked twice "
        "(slp02b, slp45) give intervals of 4 and 28 ms.",
        "Some nights are not scored from the start: the first stage of slp16 is at 780 s.",
        "The first value of the source is the time of the first beat, no interval; it is left out.",
    ),
)
NAME = INFO.name
_KEYS = {
    **dict.fromkeys(("beat_t_s", "rr_s", "stage_sample", "fs_annot", "epoch_s"), NUMBER),
    **dict.fromkeys(("beat_symbol", "stage", "stage_aux", "record_id", "subject_id"), TEXT),
}
_BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")


@dataclass(frozen=True, kw_only=True)
class _Night:
    beat_s: NDArray[np.float64]
    beat_symbol: tuple[str, ...]
    stage_sample: NDArray[np.int64]
    stage_text: tuple[str, ...]


def records(root: Path | None = None) -> tuple[str, ...]:
    """Records that are here, sorted.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    folder = find(NAME, root)
    original = (record for record in RECORDS if (folder / f"{record}.st").exists())
    return packed_records(folder, "slp*.npz") or tuple(original)


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a record: the two halves of a night are one person's."""
    return f"{NAME}:{record.rstrip('ab')}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People of the records that are here."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def load(record: str, root: Path | None = None) -> Session:
    """Session with no sampled sensor and the events ``rr``: intervals in seconds, each at the beat that ends it.

    Gaps without beats are one long interval; nothing is filled in or left out.

    Raises
    ------
    DatasetError
        The record is not here, or its packed file is damaged.
    RecordError
        An original annotation file is absent or damaged.
    """
    return Session(subject=subject_of(record), recordings={}, events={RR: intervals(record, root)})


def intervals(record: str, root: Path | None = None) -> Events:
    """RR intervals in seconds.

    Raises
    ------
    DatasetError, RecordError
        As `load`.
    """
    night = _night(record, root)
    return Events(
        time_s=night.beat_s[1:],
        value=np.diff(night.beat_s).astype(np.float32),
        units="s",
        name=record,
        subject=subject_of(record),
    )


def normal(record: str, root: Path | None = None) -> NDArray[np.bool_]:
    """Which intervals lie between two normal beats, one value an interval of `intervals`.

    Raises
    ------
    DatasetError, RecordError
        As `load`.
    """
    plain = np.array(_night(record, root).beat_symbol) == "N"
    return np.asarray(plain[1:] & plain[:-1])


def labels(record: str, root: Path | None = None) -> Labels:
    """Sleep stage of every scored epoch, in seconds since the start of the record.

    Raises
    ------
    DatasetError, RecordError
        As `load`.
    """
    night = _night(record, root)
    # a stage at sample 1 means the start: the format has no sample 0 with a note
    sample = np.where(night.stage_sample == 1, 0, night.stage_sample)
    start = sample / ANNOTATION_FS_HZ
    value = np.array([CODES[text.split()[0]] for text in night.stage_text], np.int64)
    return Labels(start_s=start, end_s=start + EPOCH_S, value=value, units="class", columns=("label",), meaning=LABELS)


def breathing_marks(record: str, root: Path | None = None) -> tuple[tuple[str, ...], ...]:
    """Marks of every scored epoch, keys of `BREATHING`; empty for quiet epochs.

    Raises
    ------
    DatasetError, RecordError
        As `load`.
    """
    return tuple(
        tuple(m for word in text.split()[1:] for m in _marks(word)) for text in _night(record, root).stage_text
    )


def _marks(word: str) -> list[str]:
    return ["L"] * len(word) if set(word) == {"L"} else [word]


def _night(record: str, root: Path | None) -> _Night:
    folder = find(NAME, root)
    packed, header = folder / f"{record}.npz", folder / f"{record}.hea"
    if packed.exists():
        night, path = _from_npz(packed, record), packed
    elif header.exists():
        night, path = _from_wfdb(header), header
    else:
        raise DatasetError(f"no {record}.npz or {record}.hea in {folder}", "one of them", "Download the record.")
    require(len(night.beat_s) > 1 and bool((np.diff(night.beat_s) > 0).all()), path, "beats out of order", "ascending")
    require(len(night.stage_text) > 0, path, "no stages", "one every 30 s")
    step = np.diff(night.stage_sample) / ANNOTATION_FS_HZ
    require(bool((np.abs(step - EPOCH_S) < 0.1).all()), path, "stages that are not 30 s apart", "one every 30 s")
    strange = {(text.split() or [""])[0] for text in night.stage_text} - set(CODES)
    require(not strange, path, f"stages {sorted(strange)}", f"{', '.join(CODES)}")
    return night


def _from_npz(path: Path, record: str) -> _Night:
    values: dict[str, Any] = read_npz(path, _KEYS)
    person = f"{NAME}:{values['subject_id']}"
    require(str(values["record_id"]) == record, path, f"record {values['record_id']}", record)
    require(person == subject_of(record), path, f"subject {person}", subject_of(record))
    rate, epoch = float(values["fs_annot"]), float(values["epoch_s"])
    require((rate, epoch) == (ANNOTATION_FS_HZ, EPOCH_S), path, f"{rate:g} Hz, epochs of {epoch:g} s", "250 Hz, 30 s")
    beat_s, rr_s = values["beat_t_s"].astype(np.float64), values["rr_s"]
    fits = len(rr_s) == len(beat_s) and bool(np.allclose(np.diff(beat_s), rr_s[1:], rtol=1e-6, atol=1e-3))
    require(fits, path, "intervals that are not the differences of the beat times", "beat_t_s and rr_s that agree")
    return _Night(
        beat_s=beat_s,
        beat_symbol=tuple(values["beat_symbol"].tolist()),
        stage_sample=values["stage_sample"].astype(np.int64),
        stage_text=tuple(values["stage_aux"].tolist()),
    )


def _from_wfdb(header: Path) -> _Night:
    """Original files: beats of ``.ecg``, stages in the notes of ``.st``."""
    from physioedge.signals.wfdb.annotations import read_annotations

    # only the record line: most of these headers have negative gains, which the waveform reader refuses
    words = header.read_text(encoding="utf-8", errors="replace").split(maxsplit=3)
    said = words[2].partition("/")[0] if len(words) > 2 else "no rate"
    require(said == "250", header, f"a rate of {said}", "250 Hz")
    fs_hz = ANNOTATION_FS_HZ
    beats = read_annotations(header.with_suffix(".ecg"), fs_hz)
    stages = read_annotations(header.with_suffix(".st"), fs_hz)
    kept = [i for i, symbol in enumerate(beats.symbol) if symbol in _BEATS]
    noted = [i for i, note in enumerate(stages.note) if note.strip()]
    return _Night(
        beat_s=beats.sample[kept] / fs_hz,
        beat_symbol=tuple(beats.symbol[i] for i in kept),
        stage_sample=stages.sample[noted],
        stage_text=tuple(stages.note[i].strip() for i in noted),
    )
