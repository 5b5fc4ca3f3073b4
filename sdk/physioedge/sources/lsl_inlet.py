"""Streams of the Lab Streaming Layer as a source: ``lsl:NAME``, ``lsl:type=ECG`` or ``lsl:source_id=...``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from physioedge.signals.foreign import needed
from physioedge.signals.stated import pick_channels, settle_rate, settle_units
from physioedge.sources.arriving import Arrivals
from physioedge.sources.protocol import Chunk, SensorInfo, Told
from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.errors import ChannelMismatch, MissingExtra, SignalError, SourceError

FIND_S, PATIENCE_S = 5.0, 60.0
CHUNK_S = 0.1
_PROPERTIES = ("name", "type", "source_id", "hostname")
_UNITS = {"microvolts": "uV", "microvolt": "uV", "millivolts": "mV", "millivolt": "mV", "volts": "V", "volt": "V",
          "microsiemens": "uS", "degc": "degC", "\u00b5v": "uV", "uv": "uV", "mv": "mV", "us": "uS"}  # fmt: skip
"""Names of units in the metadata convention of LSL (github.com/sccn/xdf/wiki/Meta-Data), in lower case."""


def lsl_library() -> Any:
    """The package pylsl with its library.

    Raises
    ------
    MissingExtra
        pylsl is not installed, or liblsl does not load here.
    """
    try:
        return needed("pylsl", "lsl", "Lab Streaming Layer")
    except (RuntimeError, OSError) as error:
        what = " ".join(str(error).split())[:160]
        do = "Install it (https://github.com/sccn/liblsl/releases), or set PYLSL_LIB to its path."
        raise MissingExtra(f"pylsl without its library ({what})", "liblsl", do) from error


class LslSource:
    """One stream. Times are those of this machine's LSL clock, in seconds.

    Parameters
    ----------
    query : str
        Name of the stream, or ``property=value``.
    wanted : sequence of SensorSpec
        What it is to stand for; the first one names its sensor.
    told : Told
        Rate where the stream says it is irregular, unit where its metadata is silent, channels.
    find_s, patience_s : float
        How long to look for it, and how long it may be silent.

    Raises
    ------
    SourceError
        No such stream, or several.
    SampleRateMismatch, UnitMismatch, ChannelMismatch
        The stream says too little, something else than what was told, or holds texts.
    MissingExtra
        pylsl or liblsl is not here.
    """

    live = True

    def __init__(
        self,
        query: str,
        wanted: Sequence[SensorSpec],
        told: Told,
        *,
        find_s: float = FIND_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        lsl = lsl_library()
        self._origin, self._patience_s = f"lsl:{query}", patience_s
        self._inlet = lsl.StreamInlet(_found(lsl, query, find_s), processing_flags=lsl.proc_clocksync)
        try:
            info = self._inlet.info(timeout=find_s)
            self._rows, sensor = _described(
                lsl, info, self._origin, wanted[0].name, told.of(wanted[0].name, alone=True)
            )
        except SignalError:
            self._inlet.close_stream()
            raise
        except (lsl.util.TimeoutError, lsl.util.LostError) as error:
            self._inlet.close_stream()
            raise SourceError(
                f"{self._origin}, which does not answer", "a stream that does", "Start it anew."
            ) from error
        self.sensors: Mapping[str, SensorInfo] = {sensor.name: sensor}
        self._arrivals = Arrivals(sensor.name, self._origin, sensor.fs_hz)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inlet.close_stream()

    def chunks(self) -> Iterator[Chunk]:
        """Samples as they come; a stream that stops and comes back with the same source id goes on after a gap.

        Raises
        ------
        SourceError
            It was silent for too long, or is gone for good.
        SampleRateMismatch
            Its times show another rate than it says.
        """
        lsl, heard = lsl_library(), time.monotonic()
        while time.monotonic() - heard < self._patience_s:
            try:
                values, times = self._inlet.pull_chunk(timeout=CHUNK_S, max_samples=4096)
            except lsl.util.LostError:
                break
            if not times:
                continue
            heard = time.monotonic()
            samples = np.asarray(values, np.float32).T[self._rows]
            yield from self._arrivals.chunks(samples, np.asarray(times, np.float64))
        raise SourceError(
            f"{self._origin}, silent for {time.monotonic() - heard:.0f} s", "samples", "Start the stream again."
        )


def _found(lsl: Any, query: str, find_s: float) -> Any:
    key, _, value = query.partition("=")
    prop, value = (key, value) if key in _PROPERTIES and value else ("name", query)
    streams = lsl.resolve_byprop(prop, value, minimum=1, timeout=find_s)
    if len(streams) == 1:
        return streams[0]
    if streams:
        ids = ", ".join(f"source_id={one.source_id()} on {one.hostname()}" for one in streams)
        raise SourceError(f"{len(streams)} LSL streams with {prop} {value!r}", "one", f"Name one by its id: {ids}.")
    others = ", ".join(f"{one.name()!r} ({one.type()})" for one in lsl.resolve_streams(1.0)) or "none"
    raise SourceError(
        f"no LSL stream with {prop} {value!r} in {find_s:g} s",
        f"one; there are: {others}",
        "Start it, or name another.",
    )


def _described(lsl: Any, info: Any, origin: str, name: str, told: Told) -> tuple[list[int], SensorInfo]:
    if info.channel_format() == lsl.cf_string:
        raise ChannelMismatch(f"{origin}: channels of text", "numbers", "Name a stream of samples, not of markers.")
    nominal = info.nominal_srate()
    fs_hz = settle_rate(origin, told.fs_hz, nominal if nominal > 0 else None, "start the stream with its rate")
    labels = list(info.get_channel_labels() or [])
    if len(labels) != info.channel_count() or None in labels:
        labels = list(told.channels or ()) if len(told.channels or ()) == info.channel_count() else []
    if not labels:
        came = f"{origin}: {info.channel_count()} channels without labels"
        raise ChannelMismatch(came, "a name for each", "Name all of them, in order (--channel), or label the stream.")
    rows = pick_channels(origin, labels, told.channels)
    stated = list(info.get_channel_units() or [])
    held = {_UNITS.get(str(stated[i]).lower(), str(stated[i])) for i in rows if i < len(stated) and stated[i]}
    found = ", ".join(sorted(held)) or None
    units = settle_units(origin, told.units, found, "put the unit into the stream's metadata")
    channels = tuple(labels[i] for i in rows)
    return rows, SensorInfo(name=name, fs_hz=fs_hz, units=units, channels=channels, origin=origin)
