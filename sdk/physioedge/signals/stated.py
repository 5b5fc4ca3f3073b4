"""What a file says about its samples against what the caller says: one of them must, and they must agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import ChannelMismatch, RecordError, SampleRateMismatch, UnitMismatch

_GAP_STEPS = 1.75  # of the sampling interval; room for times rounded to milliseconds
_DRIFT = 1e-3


@dataclass(frozen=True, kw_only=True)
class Stated:
    """Rate, unit and channel names as one side gives them; None where it is silent."""

    fs_hz: float | None = None
    units: str | None = None
    channels: tuple[str, ...] | None = None


def settle_rate(path: Path | str, said: float | None, found: float | None, how: str) -> float:
    """Rate of a file, in Hz; `how` tells where a file of this format can state it.

    Raises
    ------
    SampleRateMismatch
        Nobody states it, or both do and differ, or it is no positive number.
    """
    if said is None and found is None:
        raise SampleRateMismatch(f"{path}: no sampling rate", "fs_hz", f"State it with --fs-hz (fs_hz=...), or {how}.")
    if said is not None and found is not None and not math.isclose(said, found, rel_tol=1e-9):
        do = "Leave the rate out, or correct the source."
        raise SampleRateMismatch(f"{path}: {found:g} Hz {_itself(path)}", f"{said:g} Hz as stated", do)
    rate = found if found is not None else said
    if rate is None or not (math.isfinite(rate) and rate > 0):
        raise SampleRateMismatch(f"{path}: fs_hz={rate}", "a positive rate", "State the sensor's sampling rate.")
    return rate


def settle_units(path: Path | str, said: str | None, found: str | None, how: str) -> str:
    """Physical unit of a file's samples.

    Raises
    ------
    UnitMismatch
        Nobody states it, or both do and differ.
    """
    if not said and not found:
        raise UnitMismatch(
            f"{path}: no unit", "a unit such as mV, or a.u.", f"State it with --units (units=...), or {how}."
        )
    if said and found and said != found:
        do = "Leave the unit out, or correct the source."
        raise UnitMismatch(f"{path}: {found} {_itself(path)}", f"{said} as stated", do)
    return found or said or ""


def pick_channels(path: Path | str, available: Sequence[str], wanted: Sequence[str] | None) -> list[int]:
    """Rows of the wanted channels; all of them where nothing is wanted in particular.

    Raises
    ------
    ChannelMismatch
        A name is not there, or not unique.
    """
    for name in wanted or ():
        if list(available).count(name) != 1:
            came = f"{path}: channel {name!r}, of which there are {list(available).count(name)}"
            raise ChannelMismatch(came, f"one of {', '.join(available)}", "Name one of these channels.")
    return [list(available).index(name) for name in wanted] if wanted else list(range(len(available)))


def _itself(source: Path | str) -> str:
    return "in the file" if isinstance(source, Path) else "by itself"


def check_times(path: Path, time_s: NDArray[np.float64], fs_hz: float, where: Callable[[int], str]) -> None:
    """Refuse times that do not run at the stated rate: one missing sample shifts everything behind it.

    Parameters
    ----------
    path : Path
    time_s : float (sample,)
        Time of every sample.
    fs_hz : float
        As stated.
    where : callable
        Where in the file the sample with this index stands, for messages.

    Raises
    ------
    RecordError
        The times have gaps, repeat or run back.
    SampleRateMismatch
        They run at another rate.
    """
    step = np.diff(time_s)
    if not len(step):
        return
    if (step <= 0).any():
        at = int(np.argmax(step <= 0))
        what = "repeats" if step[at] == 0 else "runs back"
        came = f"{path}, {where(at + 1)}: the time {what} ({time_s[at]:g} s, then {time_s[at + 1]:g} s)"
        raise RecordError(came, "ascending times", "Remove the repeated rows, or split the file there.")
    lasted, due = float(time_s[-1] - time_s[0]), (len(time_s) - 1) / fs_hz
    gap = step > _GAP_STEPS / fs_hz
    # at a wrong rate every step looks like a gap: that is told apart by how many there are
    if gap.any() and gap.mean() < 0.5:
        at = int(np.argmax(gap))
        came = f"{path}, {where(at + 1)}: a gap of {step[at]:g} s after {time_s[at]:g} s"
        raise RecordError(came, f"a row every {1 / fs_hz:g} s", "Split the file at its gaps.")
    if abs(lasted - due) > max(1.0 / fs_hz, _DRIFT * due):
        came = f"{path}: times at {(len(time_s) - 1) / lasted:.6g} Hz"
        raise SampleRateMismatch(came, f"{fs_hz:g} Hz as stated", "State the rate the times show, or correct them.")


def read_bytes(path: Path, limit: int) -> bytes:
    """All bytes of a file.

    Raises
    ------
    RecordError
        It cannot be read, is empty, or is larger than `limit`.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise RecordError(f"{path}: {size} bytes", f"at most {limit}", "Cut the recording into parts.")
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}", "a readable file", "Check the path.") from error
    if not data:
        raise RecordError(f"{path}: an empty file", "a recording", "Record or download it again.")
    return data
