"""Daphnet freezing of gait: accelerometers at ankle, thigh and trunk of people with Parkinson's disease.

Source: Bächlin et al., Wearable assistant for Parkinson's disease patients with the freezing of gait symptom, IEEE
Trans Inf Technol Biomed 14(2):436-446, 2010; https://archive.ics.uci.edu/dataset/245.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import NUMBER, TEXT, DatasetInfo, Labels, packed_records, read_npz, require
from physioedge.datasets.location import find
from physioedge.signals.recording import Recording, Session
from physioedge_runtime.errors import DatasetError

INFO = DatasetInfo(
    name="daphnet_fog",
    title="Daphnet Freezing of Gait, 7 of its 17 recordings, of 5 people: accelerometers at ankle, thigh and trunk at "
    "64 Hz, freezing labelled from video",
    licence="CC-BY-4.0",
    citation="Bächlin M, Plotnik M, Roggen D, et al. Wearable assistant for Parkinson's disease patients with the "
    "freezing of gait symptom. IEEE Trans Inf Technol Biomed 14(2):436-446, 2010.",
    source="https://archive.ics.uci.edu/dataset/245/daphnet+freezing+of+gait",
    get="Download the set and pack the recordings as docs/datasets.md says, into a folder named daphnet_fog.",
    modalities=("acc",),
    tasks=("fog",),
    records=7,
    subjects=5,
    hours=1.81,
    traps=(
        "7 of 17 recordings: figures cannot be compared with published ones.",
        "Label 0 is no class: it is time outside the experiment, and half of the recordings.",
        "Subject 06 and record S03R03 hold no freeze.",
        "The sensors spike to 30 g in fewer than 1 of 10,000 values: clip at about 6 g.",
        "The thigh sensor is zero on all axes for 46 % of S03R03: it was not there.",
    ),
)
NAME = INFO.name
FS_HZ = 64.0
OUTSIDE, WALKING, FREEZE = 0, 1, 2
LABELS = {OUTSIDE: "not part of the experiment", WALKING: "experiment, no freeze", FREEZE: "freeze"}
SENSORS = ("ankle", "thigh", "trunk")
AXES = ("forward", "vertical", "lateral")

_RECORD = re.compile(r"S(0[1-9]|10)R0[1-3]")
_CHANNELS = tuple(f"{sensor}_{axis}" for sensor in SENSORS for axis in ("fwd", "vert", "lat"))
_MG_PER_G = 1000.0
_LONGEST_STEP_MS = 16


def records(root: Path | None = None) -> tuple[str, ...]:
    """Recordings that are here, sorted, such as ``S01R02``.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    return tuple(name for name in packed_records(find(NAME, root)) if _RECORD.fullmatch(name))


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a recording: ``daphnet_fog:02`` for S02R01 and S02R02.

    Raises
    ------
    DatasetError
        No name of a recording.
    """
    found = _RECORD.fullmatch(record)
    if found is None:
        do = "See physioedge.datasets.daphnet_fog.records."
        raise DatasetError(f"record {record!r}", "a recording such as S01R02", do)
    return f"{NAME}:{found[1]}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People of the recordings that are here, sorted."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def load(record: str, root: Path | None = None) -> Session:
    """Three accelerometers of one recording, in g at 64 Hz, as measured: spikes and dead stretches are left in.

    Parameters
    ----------
    record : str
        Such as ``"S01R02"``.
    root : Path, optional
        Folder that holds ``daphnet_fog``; by default the places of `physioedge.datasets.location`.

    Returns
    -------
    Session
        ``acc_ankle``, ``acc_thigh`` and ``acc_trunk``, each forward, vertical and lateral. ``t0_s`` is the source's
        first time.

    Raises
    ------
    DatasetError
        The recording is not in the set, its file is not here, or the file is not as packed.
    """
    path, values = _read(record, root)
    subject = subject_of(record)
    samples = values["sig"].astype(np.float32) / np.float32(_MG_PER_G)
    recordings = {
        f"acc_{sensor}": Recording(
            samples=np.ascontiguousarray(samples[3 * i : 3 * i + 3]),
            fs_hz=FS_HZ,
            units="g",
            channels=AXES,
            name=record,
            subject=subject,
            t0_s=_t0_s(values),
            source=path,
        )
        for i, sensor in enumerate(SENSORS)
    }
    return Session(subject=subject, recordings=recordings)


def labels(record: str, root: Path | None = None) -> Labels:
    """Stretches of one label each, end to end over the whole recording; classes are those of `LABELS`.

    Raises
    ------
    DatasetError
        As `load`.
    """
    values = _read(record, root)[1]
    code = values["label"].astype(np.int64)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(code)) + 1, [len(code)]])
    time_s = _t0_s(values) + edges / FS_HZ
    return Labels(
        start_s=time_s[:-1],
        end_s=time_s[1:],
        value=code[edges[:-1]],
        units="class",
        columns=("label",),
        meaning=LABELS,
    )


def sample_labels(record: str, root: Path | None = None) -> NDArray[np.int64]:
    """The label of every sample, (sample,), as the source has them.

    Raises
    ------
    DatasetError
        As `load`.
    """
    return _read(record, root)[1]["label"].astype(np.int64)


def _t0_s(values: dict[str, NDArray[Any]]) -> float:
    return float(values["time_ms"][0]) / 1000.0


def _read(record: str, root: Path | None) -> tuple[Path, dict[str, NDArray[Any]]]:
    subject_of(record)
    path = find(NAME, root) / f"{record}.npz"
    kinds = {"sig": NUMBER, "label": NUMBER, "time_ms": NUMBER, "fs": NUMBER, "ch_names": TEXT, "units": TEXT}
    values = read_npz(path, kinds)
    signal, code, time_ms = values["sig"], values["label"], values["time_ms"]
    require(float(values["fs"]) == FS_HZ, path, f"{values['fs']} Hz", f"{FS_HZ:g} Hz")
    require(set(values["units"].tolist()) == {"mg"}, path, f"units {values['units'].tolist()}", "mg")
    named = tuple(values["ch_names"].tolist())
    require(named == _CHANNELS, path, f"channels {', '.join(named)}", ", ".join(_CHANNELS))
    fits = signal.ndim == 2 and signal.shape == (9, len(code)) and len(code) == len(time_ms) > 0
    require(fits, path, f"samples {signal.shape}, labels {code.shape}, times {time_ms.shape}", "(9, n), n and n")
    strange = sorted(set(np.unique(code).tolist()) - set(LABELS))
    require(not strange, path, f"labels {strange}", f"{', '.join(str(k) for k in LABELS)}")
    step_ms = np.diff(time_ms.astype(np.int64))
    steady = bool(((step_ms > 0) & (step_ms <= _LONGEST_STEP_MS)).all())
    require(steady, path, "a gap or a repeat in the times", "a sample every 15 or 16 ms")
    return path, values
