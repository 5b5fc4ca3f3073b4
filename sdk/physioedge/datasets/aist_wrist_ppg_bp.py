"""AIST one-month wrist PPG with blood pressure: 11 people, 4 weeks, 2 sessions a week, supine at rest.

Source: One-Month Evaluation of Blood Pressure Estimation Using a Fine-Tuned Model With Wristband-Type PPG, IEEE Sensors
Journal 2024; https://github.com/aistairc/One_Month_Wrist_PPG_Dataset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import NUMBER, TEXT, DatasetInfo, Labels, Windows, packed_records, read_npz, require
from physioedge.datasets.location import find
from physioedge_runtime.errors import DatasetError

INFO = DatasetInfo(
    name="aist_wrist_ppg_bp",
    title="AIST One-Month Wrist PPG: 88 sessions of 11 people over 4 weeks, infrared wrist PPG at 31.25 Hz in windows "
    "of 8 s, one cuff blood pressure a session",
    licence="MIT",
    citation="One-Month Evaluation of Blood Pressure Estimation Using a Fine-Tuned Model With Wristband-Type PPG. "
    "IEEE Sensors Journal, 2024.",
    source="https://github.com/aistairc/One_Month_Wrist_PPG_Dataset",
    get="Clone the repository and pack each session's processed.csv as docs/datasets.md says, into a folder named "
    "aist_wrist_ppg_bp.",
    modalities=("ppg",),
    tasks=("blood_pressure",),
    records=88,
    subjects=11,
    hours=8.6,
    traps=(
        "One cuff reading a session: all windows of a session share it, so 88 readings, not 15,404, are independent.",
        "Windows overlap by 6 s of 8 s: never split within a session.",
        "No heart rate benchmark: the pulse rate of the signal runs about 5 % above the heart rate label.",
        "The rate is nominal; the true one may be nearer 30 Hz.",
        "All normotensive: systolic 89 to 133 mmHg. Always compare with the person's own first-week mean.",
        "Weeks are numbered visits, 1 to 21 days apart.",
        "The source band-passed the signal; one session holds spikes a thousand times the pulse.",
    ),
)
NAME = INFO.name
FS_HZ = 31.25
WINDOW_SAMPLES, STEP_SAMPLES = 250, 62
"""Length and step of the source's windows: 8 s every 1.984 s."""
FIRST_WEEK = 1
PRESSURES = ("sbp", "dbp")

_RECORD = re.compile(r"([A-C][1-4])_week([1-4])_session([12])")
_STAMP = "%Y_%m_%d_%H_%M_%S"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Cuff reading of one session.

    Attributes
    ----------
    record, subject : str
    week, session : int
        Counted from 1.
    taken : datetime
        Start of the session, local time in Japan.
    sbp_mmhg, dbp_mmhg : float
        Systolic and diastolic pressure.
    """

    record: str
    subject: str
    week: int
    session: int
    taken: datetime
    sbp_mmhg: float
    dbp_mmhg: float


def records(root: Path | None = None) -> tuple[str, ...]:
    """Sessions that are here, sorted, such as ``A1_week1_session1``.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    return tuple(name for name in packed_records(find(NAME, root)) if _RECORD.fullmatch(name))


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a session.

    Raises
    ------
    DatasetError
        No name of a session.
    """
    return f"{NAME}:{_parts(record)[0]}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People of the sessions that are here, sorted."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def weeks(subject: str, root: Path | None = None) -> dict[int, tuple[str, ...]]:
    """Sessions of one person by week, for fitting on the first and judging on the later ones.

    Raises
    ------
    DatasetError
        Nothing of that person is here.
    """
    found: dict[int, tuple[str, ...]] = {}
    for record in records(root):
        if subject_of(record) == subject:
            week = _parts(record)[1]
            found[week] = (*found.get(week, ()), record)
    if not found:
        raise DatasetError(f"no session of {subject!r}", f"one of {', '.join(subjects(root))}", "Name a person.")
    return found


def windows(record: str, root: Path | None = None) -> Windows:
    """Windows of 8 s of one session, cut by the source every 62 samples out of one band-passed recording.

    Parameters
    ----------
    record : str
        Such as ``"A1_week1_session1"``.
    root : Path, optional
        Folder that holds ``aist_wrist_ppg_bp``; by default the places of `physioedge.datasets.location`.

    Returns
    -------
    Windows
        Samples (window, 1, 250) in a.u. at 31.25 Hz, nominal; starts from the beginning of the session.

    Raises
    ------
    DatasetError
        The session is not in the set, its file is not here, or the file is not as packed.
    """
    path, values = _read(record, root)
    return Windows(
        samples=np.ascontiguousarray(values["sig"].astype(np.float32)[:, None, :]),
        fs_hz=FS_HZ,
        units="a.u.",
        channels=("PPG_IR",),
        name=record,
        subject=subject_of(record),
        start_s=_start_s(len(values["sig"])),
        source=path,
    )


def labels(record: str, root: Path | None = None) -> Labels:
    """Systolic and diastolic pressure in mmHg of each window, the same for all windows of a session.

    Raises
    ------
    DatasetError
        As `windows`.
    """
    values = _read(record, root)[1]
    start_s = _start_s(len(values["sig"]))
    return Labels(
        start_s=start_s,
        end_s=start_s + WINDOW_SAMPLES / FS_HZ,
        value=np.stack([values[name].astype(np.float32) for name in PRESSURES], axis=1),
        units="mmHg",
        columns=PRESSURES,
    )


def reading(record: str, root: Path | None = None) -> Reading:
    """The cuff reading of a session, with its week and time.

    Raises
    ------
    DatasetError
        As `windows`.
    """
    path, values = _read(record, root)
    subject, week, session = _parts(record)
    try:
        taken = datetime.strptime(str(values["timestamp"]), _STAMP)
    except ValueError as error:
        came = f"{path}: time {str(values['timestamp'])!r}"
        raise DatasetError(came, "year_month_day_hour_minute_second", "Pack the session again.") from error
    return Reading(
        record=record,
        subject=f"{NAME}:{subject}",
        week=week,
        session=session,
        taken=taken,
        sbp_mmhg=float(values["sbp"][0]),
        dbp_mmhg=float(values["dbp"][0]),
    )


def _parts(record: str) -> tuple[str, int, int]:
    found = _RECORD.fullmatch(record)
    if found is None:
        do = "See physioedge.datasets.aist_wrist_ppg_bp.records."
        raise DatasetError(f"record {record!r}", "a session such as A1_week1_session1", do)
    return found[1], int(found[2]), int(found[3])


def _start_s(count: int) -> NDArray[np.float64]:
    return np.arange(count, dtype=np.float64) * STEP_SAMPLES / FS_HZ


def _read(record: str, root: Path | None) -> tuple[Path, dict[str, NDArray[Any]]]:
    _parts(record)
    path = find(NAME, root) / f"{record}.npz"
    kinds = {"sig": NUMBER, "fs": NUMBER, "timestamp": TEXT, **dict.fromkeys(PRESSURES, NUMBER)}
    values = read_npz(path, kinds)
    signal = values["sig"]
    shaped = signal.ndim == 2 and signal.shape[0] > 0 and signal.shape[1] == WINDOW_SAMPLES
    require(shaped, path, f"windows of shape {signal.shape}", f"(window, {WINDOW_SAMPLES})")
    require(float(values["fs"]) == FS_HZ, path, f"{values['fs']} Hz", f"{FS_HZ:g} Hz")
    require(bool(np.isfinite(signal).all()), path, "samples that are not finite", "finite samples")
    for name in PRESSURES:
        one = values[name].shape == (len(signal),) and len(np.unique(values[name])) == 1
        require(one, path, f"{name} {values[name].shape} of several values", "one reading for every window")
    sbp, dbp = float(values["sbp"][0]), float(values["dbp"][0])
    # the source's page names the columns in another order than the files have them
    require(30 < dbp < sbp < 260, path, f"pressures {sbp:g}/{dbp:g} mmHg", "systolic above diastolic")
    return path, values
