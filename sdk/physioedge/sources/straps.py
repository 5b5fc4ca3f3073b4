"""Chest straps as sources: intervals between beats of any heart-rate strap, ECG and motion of a Polar H10."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from physioedge.signals.stated import pick_channels, settle_rate, settle_units
from physioedge.signals.tachogram import LONGEST_RR_S, HeldIntervals
from physioedge.sources import gatt
from physioedge.sources.arriving import Arrivals
from physioedge.sources.ble_link import BleLink
from physioedge.sources.protocol import Chunk, SensorInfo, Told
from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.errors import RecordError, SampleRateMismatch, SourceError, UnknownSensor

RR, RR_CHANNELS, RR_UNITS = "rr", ("interval", "gap"), "s"
LATE_S = LONGEST_RR_S + 1.0
"""Where notifications are this much later than their intervals add up to, beats were lost on the air."""
_WITHOUT_RR = 10


class _Strap:
    """What both straps share: a link, opened and closed."""

    live = True
    sensors: Mapping[str, SensorInfo]
    _link: BleLink

    def __enter__(self) -> Self:
        self._link.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.stop()


class HeartRateSource(_Strap):
    """Intervals between beats (``ble:heart-rate/ADDRESS``), held as the series that the task ``sleep_rr`` takes.

    Intervals have no rate: the series is made at the rate wanted of it. Times are Unix seconds.

    Parameters
    ----------
    address : str
        Address or name of the strap; empty for the only one in reach.
    wanted : sequence of SensorSpec
        One sensor of the modality ``rr``.
    told : Told
        Nothing, or a rate and unit that agree.
    options
        Of `BleLink`.

    Raises
    ------
    UnknownSensor, SampleRateMismatch, UnitMismatch
        Something else is wanted of the strap than it gives.
    """

    def __init__(self, address: str, wanted: Sequence[SensorSpec], told: Told, **options: Any) -> None:
        origin = f"heart-rate strap {address}".strip()
        spec = wanted[0]
        if len(wanted) > 1 or spec.modality != RR:
            came = f"{origin} for {', '.join(one.modality for one in wanted)}"
            raise UnknownSensor(came, "a bundle that takes rr alone", "Choose another bundle, or another sensor.")
        fs_hz = settle_rate(origin, told.fs_hz, spec.fs_hz, "leave it out: the series is made at the bundle's rate")
        units = settle_units(origin, told.units, RR_UNITS, "leave it out")
        info = SensorInfo(name=spec.name, fs_hz=fs_hz, units=units, channels=RR_CHANNELS, origin=origin)
        self.sensors = {spec.name: info}
        self._held = HeldIntervals(fs_hz)
        self._link = BleLink(gatt.HEART_RATE_SERVICE, address, (gatt.HEART_RATE_MEASUREMENT,), **options)

    def chunks(self) -> Iterator[Chunk]:
        """The series as far as beats tell; where none come, gaps as time goes by.

        Raises
        ------
        SourceError
            No such strap, lost for good, or it sends no intervals.
        """
        name, start_s, beat_s, without = next(iter(self.sensors)), None, 0.0, 0
        for heard in self._link.values():
            if heard is None:
                if start_s is not None:  # nothing new: a beat may still come so late, no later
                    yield from self._series(name, start_s, time.time() - start_s - LATE_S)
                continue
            _, value, came_s = heard
            try:
                found = gatt.parse_heart_rate(value)
            except RecordError:
                continue  # one bad packet is a lost one
            without = 0 if found.rr_s else without + 1
            if without >= _WITHOUT_RR and start_s is None:
                came = "a strap that sends a heart rate and no intervals between beats"
                raise SourceError(came, "intervals", "Use another strap: the rate alone is too coarse.")
            if not found.rr_s:
                continue
            total_s = sum(found.rr_s)
            start_s = came_s - total_s if start_s is None else start_s
            if came_s - start_s - (beat_s + total_s) > LATE_S:
                # lost some: go on at the present
                beat_s = max(beat_s, self._held.now_s, came_s - start_s - total_s)
            for rr_s in found.rr_s:
                beat_s += rr_s
                self._held.beat(beat_s, rr_s)
            yield from self._series(name, start_s, beat_s)

    def _series(self, name: str, start_s: float, until_s: float) -> Iterator[Chunk]:
        first_s = self._held.now_s
        series = self._held.until(until_s)
        if series.shape[1]:
            yield Chunk(name, series, start_s + first_s, self._held.now_s)


class PolarSource(_Strap):
    """A Polar H10 (``ble:polar-h10/ADDRESS``): ECG at 130 Hz in uV, motion at 25, 50, 100 or 200 Hz in g.

    Times are those of the strap's own clock, as Unix seconds.

    Parameters
    ----------
    address : str
        Address or name of the strap; empty for the only one in reach.
    wanted : sequence of SensorSpec
        Sensors of the modalities ``ecg`` and ``acc``.
    told : Told
        Rate and unit where they are to be checked.
    acc_hz : int
        Rate of motion, one of `gatt.ACC_HZ`; 0 where none is wanted.
    options
        Of `BleLink`.

    Raises
    ------
    UnknownSensor, SampleRateMismatch, UnitMismatch, ChannelMismatch
        Something else is wanted of the strap than it gives.
    """

    def __init__(
        self, address: str, wanted: Sequence[SensorSpec], told: Told, *, acc_hz: int = 0, **options: Any
    ) -> None:
        self._origin = f"Polar strap {address}".strip()
        self._rows: dict[str, list[int]] = {}
        sensors, commands = {}, []
        for spec in wanted:
            if spec.modality not in gatt.UNITS:
                came = f"{self._origin} for {spec.modality}"
                raise UnknownSensor(came, "ecg or acc", "Choose another bundle, or another sensor.")
            if spec.modality == gatt.ACC and acc_hz not in gatt.ACC_HZ:
                do = "State one: ble:polar-h10/ADDRESS?acc_hz=50."
                raise SampleRateMismatch(f"{self._origin}: acc at {acc_hz or 'no stated'} Hz", "25, 50, 100 or 200", do)
            rate_hz = gatt.ECG_HZ if spec.modality == gatt.ECG else acc_hz
            one = told.of(spec.name, alone=len(wanted) == 1)
            held = gatt.CHANNELS[spec.modality]
            rows = pick_channels(self._origin, held, one.channels)
            sensors[spec.name] = SensorInfo(
                name=spec.name,
                fs_hz=settle_rate(self._origin, one.fs_hz, float(rate_hz), "leave it out"),
                units=settle_units(self._origin, one.units, gatt.UNITS[spec.modality], "leave it out"),
                channels=tuple(held[i] for i in rows),
                origin=self._origin,
            )
            self._rows[spec.modality] = rows
            commands.append(gatt.polar_start(spec.modality, rate_hz))
        self._names = {spec.modality: spec.name for spec in wanted}
        self.sensors = sensors
        self._link = BleLink(
            gatt.PMD_SERVICE,
            address,
            (gatt.PMD_CONTROL, gatt.PMD_DATA),
            commands={gatt.PMD_CONTROL: tuple(commands)},
            **options,
        )

    def chunks(self) -> Iterator[Chunk]:
        """Samples as they come; after a loss of the connection, the gap shows in the times.

        Raises
        ------
        SourceError
            No such strap, it refuses, or it is lost for good.
        SampleRateMismatch
            Its times show another rate.
        """
        arrivals = {n: Arrivals(n, self._origin, s.fs_hz) for n, s in self.sensors.items()}
        for heard in self._link.values():
            if heard is None:
                continue
            uuid, value, _ = heard
            if uuid == gatt.PMD_CONTROL:
                gatt.check_polar_reply(value)
                continue
            try:
                frame = gatt.parse_polar(value)
            except RecordError:
                continue  # one bad packet is a lost one: its time shows
            name = self._names.get(frame.kind)
            if name is not None:
                n, fs_hz = frame.samples.shape[1], self.sensors[name].fs_hz
                times = frame.t_last_s - np.arange(n - 1, -1, -1) / fs_hz
                yield from arrivals[name].chunks(frame.samples[self._rows[frame.kind]], times)
