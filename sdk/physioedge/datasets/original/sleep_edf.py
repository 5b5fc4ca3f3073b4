"""Sleep-EDF Expanded in its original form: nights as EDF, sleep stages as EDF+ annotations beside them.

Source: Kemp et al., IEEE Trans Biomed Eng 47(9):1185-1194, 2000; https://physionet.org/content/sleep-edfx/1.0.0/,
licence ODC-By 1.0. Files are named SC4ssN (study, person ss, night N) or ST7ssN. Reading them needs the extra `edf`.
"""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import DatasetInfo, Labels, require
from physioedge.datasets.location import find
from physioedge.signals.recording import Recording, Session
from physioedge_runtime.errors import DatasetError, MissingExtra

EPOCH_S = 30.0
LABELS = {
    0: "wake",
    1: "stage 1",
    2: "stage 2",
    3: "stage 3",
    4: "stage 4",
    5: "REM",
    6: "movement",
    7: "not scored",
}
CODES = {
    "Sleep stage W": 0,
    "Sleep stage 1": 1,
    "Sleep stage 2": 2,
    "Sleep stage 3": 3,
    "Sleep stage 4": 4,
    "Sleep stage R": 5,
    "Movement time": 6,
    "Sleep stage ?": 7,
}
"""Texts of the hypnogram files (Rechtschaffen and Kales)."""
FIVE_CLASSES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4}
"""W, N1, N2, N3, REM as AASM counts them; movement and what is not scored are left out."""

INFO = DatasetInfo(
    name="sleep_edf",
    title="Sleep-EDF Expanded: 197 nights of 100 people, EEG and EOG at 100 Hz, EMG at 100 or 1 Hz, stages every 30 s",
    licence="ODC-By-1.0",
    citation="Kemp et al., IEEE Trans Biomed Eng 47(9):1185-1194, 2000; Goldberger et al., Circulation "
    "101(23):e215-e220, 2000",
    source="https://physionet.org/content/sleep-edfx/1.0.0/",
    get="put the folders sleep-cassette and sleep-telemetry, or their files, into data/sleep_edf/",
    modalities=("eeg", "eog", "emg", "resp", "temp"),
    tasks=("sleep",),
    records=197,
    subjects=100,
    hours=3456.0,  # 153 nights of about 20 h, 44 of about 9 h, as the publisher says
    traps=(
        "Most people have two nights: split by person, characters 4 and 5 of the name.",
        "Cassette recordings last about 20 h: most of it is wake, and figures depend on how much of it is kept.",
        "EMG of the cassette study is an envelope at 1 Hz, of the telemetry study a signal at 100 Hz.",
        "The hypnogram may end after the signals: such epochs are left out.",
        "The letter behind the night in a hypnogram's name is the scorer's; it differs between files.",
    ),
)
NAME = INFO.name
_RECORD = re.compile(r"(SC4|ST7)(\d\d)(\d)")
# label in the file: sensor, unit of ours by unit of theirs
_SIGNALS: dict[str, tuple[str, dict[str, str]]] = {
    "EEG Fpz-Cz": ("eeg", {"uV": "uV"}),
    "EEG Pz-Oz": ("eeg", {"uV": "uV"}),
    "EOG horizontal": ("eog", {"uV": "uV"}),
    "EMG submental": ("emg", {"uV": "uV"}),
    "Resp oro-nasal": ("resp", {"": "a.u."}),
    "Temp rectal": ("temp", {"DegC": "degC"}),
}
_IGNORED = ("Event marker", "Marker", "EDF Annotations")


def records(root: Path | None = None) -> tuple[str, ...]:
    """Nights that are here with signals, such as ``SC4001``, sorted.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    names = (path.name[:6] for path in find(NAME, root).rglob("*-PSG.edf"))
    return tuple(sorted({name for name in names if _RECORD.fullmatch(name)}))


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a night: ``sleep_edf:SC400`` for SC4001 and SC4002.

    Raises
    ------
    DatasetError
        No name of a night.
    """
    if not _RECORD.fullmatch(record):
        raise DatasetError(f"record {record!r}", "a name such as SC4001 or ST7011", "Name a night of Sleep-EDF.")
    return f"{NAME}:{record[:5]}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People whose nights are here, sorted."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def load(record: str, root: Path | None = None) -> Session:
    """Sensors ``eeg``, ``eog``, ``emg`` (uV), ``resp`` (a.u.), ``temp`` (degC), as far as recorded, at their own rates.

    Times are seconds since the start of the file.

    Raises
    ------
    DatasetError
        The night is not here, or its file is damaged or holds signals of another kind.
    MissingExtra
        The package edfio is not installed.
    """
    subject = subject_of(record)
    path = _file(record, root, "*-PSG.edf")
    edf = _open(path)
    found: dict[tuple[str, float, str], list[Any]] = {}
    for signal in edf.signals:
        if signal.label in _IGNORED:
            continue
        kind, units = _SIGNALS.get(signal.label, ("", {}))
        require(bool(kind), path, f"a signal {signal.label!r}", f"{', '.join(_SIGNALS)}")
        said = signal.physical_dimension
        require(said in units, path, f"{signal.label} in {said!r}", " or ".join(map(repr, units)))
        found.setdefault((kind, float(signal.sampling_frequency), units[said]), []).append(signal)
    kinds = [kind for kind, _, _ in found]
    require("eeg" in kinds and len(set(kinds)) == len(kinds), path, f"{', '.join(kinds) or 'no signals'}",
            "EEG, and one rate a sensor")  # fmt: skip
    recordings = {
        kind: Recording(
            samples=np.stack([_data(signal, path) for signal in signals]),
            fs_hz=fs_hz,
            units=units,
            channels=tuple(signal.label for signal in signals),
            name=record,
            subject=subject,
            source=path,
        )
        for (kind, fs_hz, units), signals in found.items()
    }
    return Session(subject=subject, recordings=recordings)


def labels(record: str, root: Path | None = None) -> Labels:
    """Stage of every 30-s epoch that the signals cover, in seconds since their start.

    Raises
    ------
    DatasetError
        The night or its hypnogram is not here, or the hypnogram is damaged or belongs to another night.
    MissingExtra
        The package edfio is not installed.
    """
    path = _file(record, root, "*-Hypnogram.edf")
    hypnogram, night = _open(path), _open(_file(record, root, "*-PSG.edf"))
    starts = hypnogram.starttime, night.starttime
    require(starts[0] == starts[1], path, f"a start at {starts[0]}", f"{starts[1]}, as its signals")
    start: list[float] = []
    value: list[int] = []
    for note in sorted(hypnogram.annotations, key=lambda note: float(note.onset)):
        require(note.text in CODES, path, f"a note {note.text!r}", ", ".join(CODES))
        count = (note.duration or 0.0) / EPOCH_S
        require(count > 0 and count == round(count), path, f"a stage of {note.duration} s", "multiples of 30 s")
        require(not start or note.onset >= start[-1] + EPOCH_S, path, f"two stages at {note.onset} s", "one at a time")
        start += [note.onset + EPOCH_S * i for i in range(round(count))]
        value += [CODES[note.text]] * round(count)
    require(bool(start), path, "no stages", "a hypnogram")
    at = np.array(start, np.float64)
    inside = at + EPOCH_S <= night.duration
    require(bool(inside.any()), path, "no stage within the signals", "a hypnogram of this night")
    return Labels(
        start_s=at[inside],
        end_s=at[inside] + EPOCH_S,
        value=np.array(value, np.int64)[inside],
        units="class",
        columns=("label",),
        meaning=LABELS,
    )


def _file(record: str, root: Path | None, tail: str) -> Path:
    subject_of(record)
    folder = find(NAME, root)
    found = sorted(folder.rglob(f"{record}{tail}"))
    if len(found) != 1:
        raise DatasetError(f"{len(found)} files {record}{tail} in {folder}", "one", f"Download it: {INFO.source}")
    return found[0]


def _open(path: Path) -> Any:
    try:
        edfio = importlib.import_module("edfio")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "Sleep-EDF without the package 'edfio'", "the extra 'edf'", "Install it with: pip install 'physioedge[edf]'"
        ) from error
    try:
        with warnings.catch_warnings():
            # a truncated file is a warning to edfio
            warnings.filterwarnings("error", message="Incomplete data record|EDF header indicates")
            return edfio.read_edf(path, lazy_load_data=False)
    except (OSError, ValueError, IndexError, KeyError, UserWarning) as error:
        raise DatasetError(f"{path}: {error}", "an EDF file", "Download it again: it is damaged.") from error


def _data(signal: Any, path: Path) -> NDArray[np.float32]:
    data = np.asarray(signal.data, np.float32)
    require(data.ndim == 1 and len(data) > 0, path, f"{signal.label} without samples", "at least one")
    return data
