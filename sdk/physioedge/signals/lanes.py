"""Signals of a file that holds several, each at its own rate and in its own unit, and sensors made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Recording
from physioedge.signals.stated import pick_channels
from physioedge_runtime.errors import RecordError, SampleRateMismatch, UnitMismatch

Track = tuple[Recording, ...]
"""One sensor, in pieces in the order of time, with gaps between."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One signal.

    Attributes
    ----------
    name : str
    fs_hz : float
    units : str
        Empty where the file is silent.
    pieces : tuple of (float, float32 (sample,))
        Time of its first sample in s, and the samples, for each piece without a gap.
    """

    name: str
    fs_hz: float
    units: str
    pieces: tuple[tuple[float, NDArray[np.float32]], ...]


def sensor_of(
    path: Path,
    lanes: Sequence[Lane],
    wanted: Sequence[str] | None,
    *,
    name: str,
    subject: str,
    units: str | None = None,
) -> Track:
    """One sensor of some of a file's signals; of all of them where none is named.

    Parameters
    ----------
    path : Path
        For messages.
    lanes : sequence of Lane
    wanted : sequence of str or None
        Names, in the order of the sensor's channels.
    name, subject : str
        Of the recordings.
    units : str, optional
        Their unit, where the file is silent.

    Raises
    ------
    ChannelMismatch
        A name is not there, or not unique.
    SampleRateMismatch, UnitMismatch
        The signals have several rates or units, or no unit.
    RecordError
        There is no signal, or they do not begin and end together.
    """
    picked = [lanes[i] for i in pick_channels(path, [lane.name for lane in lanes], wanted)]
    if not picked:
        raise RecordError(f"{path}: no signals", "at least one", "Record or export it again.")
    do = f"Name channels that belong together (--channel, or --sensor NAME=CHANNEL,...). The file holds {told(lanes)}."
    rates = sorted({lane.fs_hz for lane in picked})
    if len(rates) > 1:
        came = f"{path}: signals at {', '.join(f'{fs_hz:g}' for fs_hz in rates)} Hz (mixed rates)"
        raise SampleRateMismatch(came, "one rate for all signals of a sensor", do)
    held = sorted({lane.units for lane in picked})
    if len(held) > 1:
        raise UnitMismatch(f"{path}: signals in {', '.join(u or 'no unit' for u in held)}", "one unit", do)
    if not held[0] and not units:
        raise UnitMismatch(f"{path}: no unit", "a unit such as mV, or a.u.", "State it with --units (units=...).")
    layouts = {tuple((t0_s, len(samples)) for t0_s, samples in lane.pieces) for lane in picked}
    if len(layouts) > 1:
        raise RecordError(f"{path}: signals that begin or end apart", "signals that were taken together", do)
    return tuple(
        Recording(
            samples=np.stack([lane.pieces[i][1] for lane in picked]),
            fs_hz=rates[0],
            units=held[0] or units or "",
            channels=tuple(lane.name for lane in picked),
            name=name,
            subject=subject,
            t0_s=t0_s,
            source=path,
        )
        for i, (t0_s, _) in enumerate(picked[0].pieces)
    )


def sensors_of(
    path: Path, lanes: Sequence[Lane], sensors: Mapping[str, Sequence[str]], *, name: str, subject: str
) -> dict[str, Track]:
    """Each sensor of the signals that were named for it; errors as `sensor_of`."""
    return {key: sensor_of(path, lanes, wanted, name=name, subject=subject) for key, wanted in sensors.items()}


def told(lanes: Sequence[Lane]) -> str:
    """What a file holds, on one line."""
    return ", ".join(f"{lane.name} [{lane.units or 'no unit'}, {lane.fs_hz:g} Hz]" for lane in lanes)
