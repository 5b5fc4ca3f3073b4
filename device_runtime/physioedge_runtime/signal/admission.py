"""Does what will come fit the contract? Asked once, before the first sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import Contract, SensorSpec
from physioedge_runtime.errors import (
    ChannelMismatch,
    SampleRateMismatch,
    ShapeError,
    SignalError,
    UnitMismatch,
    UnknownSensor,
)
from physioedge_runtime.signal.resample import rational_ratio

POLYPHASE = "polyphase"
_T = TypeVar("_T")
BySensor: TypeAlias = _T | Mapping[str, _T]
"""One for the only sensor, or one for each by its name."""


class Admission:
    """What a caller said of the signal, checked against the contract, and the check of every chunk.

    Parameters
    ----------
    sensor : SensorSpec
    fs_hz, units, resample, channels
        As for `Stream`.

    Raises
    ------
    SampleRateMismatch, UnitMismatch, ChannelMismatch, SignalError
        It does not fit.
    """

    def __init__(
        self, sensor: SensorSpec, *, fs_hz: float, units: str, resample: str | None, channels: Sequence[str] | None
    ) -> None:
        self._sensor = sensor
        self.fs_hz = _rate(sensor, fs_hz, resample)
        if units != sensor.units:
            raise UnitMismatch(
                f"units {units!r} for sensor {sensor.name!r}",
                repr(sensor.units),
                f"Scale the samples to {sensor.units} and say units={sensor.units!r} (the command: --convert-units).",
            )
        if isinstance(channels, str):
            channels = (channels,)
        self._rows = _rows(sensor, channels)
        self._n_rows = len(sensor.channels) if channels is None else len(channels)
        self._as_they_come = self._rows == list(range(self._n_rows))

    def take(self, chunk: NDArray[Any]) -> NDArray[np.float32]:
        """The contract's rows of a chunk, as float32; the chunk itself where nothing is to be done.

        Raises
        ------
        ShapeError
            Not a floating-point array (channel, sample) with the rows that were announced.
        """
        fits = isinstance(chunk, np.ndarray) and chunk.ndim == 2 and chunk.shape[0] == self._n_rows
        if not fits or chunk.dtype.kind != "f":
            is_array = isinstance(chunk, np.ndarray)
            came = f"a chunk {chunk.dtype}{chunk.shape}" if is_array else f"a {type(chunk).__name__}"
            raise ShapeError(
                came,
                f"float32 ({self._n_rows}, any) in {self._sensor.units}",
                "Pass (channel, sample) arrays; scale counts to the unit first.",
            )
        if self._as_they_come and chunk.dtype == np.float32:
            return chunk
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is flagged
            return chunk[self._rows].astype(np.float32)


def _rate(sensor: SensorSpec, fs_hz: float, resample: str | None) -> float:
    if resample not in (None, POLYPHASE):
        raise SignalError(f"resample={resample!r}", f"None or {POLYPHASE!r}", "Choose one of them.")
    try:
        rate = float(fs_hz)
    except (TypeError, ValueError) as error:
        raise SampleRateMismatch(f"fs_hz={fs_hz!r}", "a rate in Hz", "State the sensor's sampling rate.") from error
    if rate != sensor.fs_hz and resample is None:
        raise SampleRateMismatch(
            f"{rate:g} Hz for sensor {sensor.name!r}",
            f"{sensor.fs_hz:g} Hz",
            f"Pass resample={POLYPHASE!r} (the command: --resample polyphase) to have the rate converted, "
            f"if {rate:g} Hz is the sensor's true rate.",
        )
    rational_ratio(rate, sensor.fs_hz)  # refuses what cannot be converted
    return rate


def _rows(sensor: SensorSpec, channels: Sequence[str] | None) -> list[int]:
    names = sensor.channels if channels is None else tuple(channels)
    missing = [name for name in sensor.channels if name not in names]
    if missing or len(set(names)) != len(names):
        raise ChannelMismatch(
            f"channels {', '.join(map(str, names)) or 'none'} for sensor {sensor.name!r}",
            f"{', '.join(sensor.channels)}, each once",
            "Name the rows of the chunks as the contract does, or choose another lead.",
        )
    return [names.index(name) for name in sensor.channels]


def admissions(
    contract: Contract,
    *,
    fs_hz: BySensor[float],
    units: BySensor[str],
    resample: BySensor[str | None],
    channels: BySensor[Sequence[str] | None],
) -> tuple[Admission, ...]:
    """What was said of each sensor, checked; see `Stream` for the parameters.

    Raises
    ------
    SampleRateMismatch, UnitMismatch, ChannelMismatch, SignalError
        It does not fit, is missing for a sensor, or is said once for several.
    UnknownSensor
        It is said of a sensor that the contract does not have.
    """
    names = [sensor.name for sensor in contract.sensors]
    rates = _by_sensor("fs_hz", fs_hz, names, SampleRateMismatch)
    unit = _by_sensor("units", units, names, UnitMismatch)
    converters = {} if resample is None else _by_sensor("resample", resample, names, SignalError)
    rows = {} if channels is None else _by_sensor("channels", channels, names, ChannelMismatch)
    for what, said, error in (("fs_hz", rates, SampleRateMismatch), ("units", unit, UnitMismatch)):
        missing = [name for name in names if name not in said]
        if missing:
            raise error(f"no {what} for sensor {missing[0]!r}", f"{what} of {', '.join(names)}", "State each sensor's.")
    return tuple(
        Admission(
            sensor,
            fs_hz=rates[sensor.name],
            units=unit[sensor.name],
            resample=converters.get(sensor.name),
            channels=rows.get(sensor.name),
        )
        for sensor in contract.sensors
    )


def _by_sensor(what: str, said: Any, names: Sequence[str], error: type[SignalError]) -> Mapping[str, Any]:
    if not isinstance(said, Mapping):
        if len(names) > 1:
            came = f"{what}={said!r:.80} for {len(names)} sensors"
            raise error(came, f"a mapping by sensor name ({', '.join(names)})", "State it for each sensor.")
        return {names[0]: said}
    unknown = [name for name in said if name not in names]
    if unknown:
        do = "Name sensors as the contract does."
        raise UnknownSensor(f"{what} of sensor {unknown[0]!r}", ", ".join(map(repr, names)), do)
    return said
