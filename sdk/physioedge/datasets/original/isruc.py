"""ISRUC-Sleep in its original form: a night as EDF under the ending ``.rec``, stages of two scorers as text beside it.

Source: Khalighi, Sousa, Santos and Nunes, ISRUC-Sleep: a comprehensive public dataset for sleep researchers, Comput
Methods Programs Biomed 124:180-192, 2016; https://sleeptight.isr.uc.pt. Archives unpack to ``N/N.rec``, ``N/N_1.txt``
and ``N/N_2.txt``; here they lie below ``subgroupI`` or ``subgroupIII``. Reading them needs the extra `edf`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import DatasetInfo, Labels, require
from physioedge.datasets.location import find
from physioedge.datasets.original.reading import as_dataset_errors
from physioedge.signals.foreign import needed, reading
from physioedge.signals.recording import Recording, Session
from physioedge.signals.stated import read_bytes
from physioedge_runtime.errors import DatasetError

EPOCH_S = 30.0
LABELS = {0: "wake", 1: "N1", 2: "N2", 3: "N3", 5: "REM"}
FIVE_CLASSES = {0: 0, 1: 1, 2: 2, 3: 3, 5: 4}
"""W, N1, N2, N3, REM in order."""
SUBGROUPS = {"subgroupI": 100, "subgroupIII": 10}
"""People of each; the second subgroup, two nights of eight people, is left out."""
LAST_UNSCORED = 30
"""Epochs at the end of a night that scorers left: signals and stages there do not belong together."""

INFO = DatasetInfo(
    name="isruc",
    title="ISRUC-Sleep, subgroups I and III: 110 nights of 110 people, EEG, EOG, EMG and ECG at 200 Hz, stages of two "
    "scorers every 30 s",
    licence="free of charge for research; no licence is named",
    licence_note="no licence is named: ask before shipping weights",
    citation="Khalighi et al., Comput Methods Programs Biomed 124:180-192, 2016, doi 10.1016/j.cmpb.2015.10.013",
    source="https://sleeptight.isr.uc.pt",
    get="unpack the archives into data/isruc/subgroupI and data/isruc/subgroupIII, so that "
    "data/isruc/subgroupI/1/1.rec is there",
    modalities=("eeg", "ecg"),
    tasks=("sleep",),
    records=110,
    subjects=110,
    hours=880.0,  # about 8 h a night
    evaluation_only=True,
    weights_shippable=False,
    excerpts_shippable=False,
    traps=(
        "REM is coded 5; there is no 4.",
        "References are called A1 and A2 in some nights and M1 and M2 in others: A is taken for both here.",
        "ECG is the channel X2; X1 and X3 are the chin and the leg.",
        "The last 30 epochs are not to be used.",
        "Subgroup I are people with sleep disorders, subgroup III healthy ones.",
    ),
)
NAME = INFO.name
_EEG = re.compile(r"(?:EEG )?([FCO][34][12]?|[FCO][12])-([AM][12])")
_UNITS = {"uV": ("uV", 1.0), "\u00b5V": ("uV", 1.0), "mV": ("uV", 1000.0)}
_RECORD = re.compile(r"(subgroupI{1,3})/(\d{1,3})")


def records(root: Path | None = None) -> tuple[str, ...]:
    """Nights that are here, such as ``subgroupI/1``, in order.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    folder = find(NAME, root)
    names = [f"{group}/{k}" for group, count in SUBGROUPS.items() for k in range(1, count + 1)]
    return tuple(name for name in names if _rec(folder, name).exists())


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a night: ``isruc:I-1`` for ``subgroupI/1``.

    Raises
    ------
    DatasetError
        No name of a night.
    """
    found = _RECORD.fullmatch(record)
    if found is None or not 1 <= int(found[2]) <= SUBGROUPS.get(found[1], 0):
        raise DatasetError(f"record {record!r}", "a name such as subgroupI/1 or subgroupIII/10", "Name a night.")
    return f"{NAME}:{found[1].removeprefix('subgroup')}-{int(found[2])}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People whose nights are here, sorted."""
    return tuple(sorted(subject_of(record) for record in records(root)))


def load(record: str, root: Path | None = None) -> Session:
    """Sensors ``eeg`` (uV, channels such as ``C3-A2``) and ``ecg`` (mV), at the file's rate, from its start.

    Raises
    ------
    DatasetError
        The night is not here, or its file is damaged, or lacks EEG or ECG.
    MissingExtra
        The package edfio is not installed.
    """
    subject = subject_of(record)
    path = _rec(find(NAME, root), record)
    signals = _signals(path)
    eeg: dict[str, Any] = {}
    for label, signal in signals.items():
        if (found := _EEG.fullmatch(label)) is not None:
            eeg[f"{found[1]}-{found[2].replace('M', 'A')}"] = signal
    ecg: Any = signals.get("X2") or signals.get("ECG")
    require(bool(eeg) and ecg is not None, path, f"channels {', '.join(signals)}", "EEG such as C3-A2, and X2 or ECG")
    rates = {float(signal.sampling_frequency) for signal in eeg.values()}
    require(len(rates) == 1, path, f"EEG at {sorted(rates)} Hz", "one rate")
    common: dict[str, Any] = {"name": record, "subject": subject, "source": path}
    made = {
        "eeg": Recording(
            samples=np.stack([_microvolts(path, signal) for signal in eeg.values()]), fs_hz=rates.pop(), units="uV",
            channels=tuple(eeg), **common,
        ),
        "ecg": Recording(
            samples=_microvolts(path, ecg)[None] / np.float32(1000), fs_hz=float(ecg.sampling_frequency), units="mV",
            channels=("X2",), **common,
        ),
    }  # fmt: skip
    return Session(subject=subject, recordings=made)


def labels(record: str, root: Path | None = None, scorer: int = 1) -> Labels:
    """Stage of every 30-s epoch, without the last `LAST_UNSCORED`, by the first or second scorer.

    Raises
    ------
    DatasetError
        The stages are not here, damaged, or more than the signals last.
    MissingExtra
        The package edfio is not installed.
    """
    subject_of(record)
    rec = _rec(find(NAME, root), record)
    path = rec.with_name(f"{rec.stem}_{scorer}.txt")
    try:
        codes = [int(line) for line in path.read_text().split()]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path.name} ({error})", "a stage a line", "Unpack the archive again.") from error
    strange = sorted(set(codes) - set(LABELS))
    require(not strange, path, f"stages {strange}", ", ".join(map(str, LABELS)))
    kept = np.array(codes[: max(0, len(codes) - LAST_UNSCORED)], np.int64)
    require(len(kept) > 0, path, f"{len(codes)} epochs", f"more than {LAST_UNSCORED}")
    lasts_s = load(record, root).recordings["ecg"].duration_s
    require(len(kept) * EPOCH_S <= lasts_s, path, f"{len(kept)} epochs", f"at most {lasts_s / EPOCH_S:.0f}")
    start_s: NDArray[np.float64] = EPOCH_S * np.arange(len(kept), dtype=np.float64)
    return Labels(
        start_s=start_s, end_s=start_s + EPOCH_S, value=kept, units="class", columns=("label",), meaning=LABELS
    )


def _rec(folder: Path, record: str) -> Path:
    return folder / record / f"{record.rpartition('/')[2]}.rec"


def _signals(path: Path) -> dict[str, Any]:
    """Signals of a night by label."""
    edfio = needed("edfio", "edf", "A night of ISRUC-Sleep")
    with as_dataset_errors(), reading(path, "an EDF file"):
        file = edfio.read_edf(read_bytes(path, 1 << 31), lazy_load_data=False)
        return {str(signal.label).strip(): signal for signal in file.signals}


def _microvolts(path: Path, signal: Any) -> NDArray[np.float32]:
    said = str(signal.physical_dimension).strip()
    require(said in _UNITS, path, f"{signal.label} in {said!r}", " or ".join(_UNITS))
    data = np.asarray(signal.data, np.float32)
    require(len(data) > 0 and bool(np.isfinite(data).all()), path, f"{signal.label} damaged", "finite samples")
    return np.asarray(data * np.float32(_UNITS[said][1]), np.float32)
