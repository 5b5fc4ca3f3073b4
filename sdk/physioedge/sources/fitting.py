"""Between what a source calls its channels and units and what a contract does: only what the caller told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np

from physioedge.sources.protocol import Chunk, SensorInfo, Source
from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.errors import UnitMismatch

SCALES = {
    "V": ("V", 1.0), "mV": ("V", 1e-3), "uV": ("V", 1e-6), "nV": ("V", 1e-9),
    "g": ("g", 1.0), "mg": ("g", 1e-3), "1/64 g": ("g", 1 / 64), "m/s2": ("g", 1 / 9.80665),
    "S": ("S", 1.0), "mS": ("S", 1e-3), "uS": ("S", 1e-6),
    "s": ("s", 1.0), "ms": ("s", 1e-3),
}  # fmt: skip
"""Units of one kind, and the factor to the unit they are counted in. g is 9.80665 m/s2 (ISO 80000-3)."""


def factor(units: str, wanted: str) -> float | None:
    """What to multiply by; None where the two are not of one kind."""
    if units == wanted:
        return 1.0
    if units not in SCALES or wanted not in SCALES or SCALES[units][0] != SCALES[wanted][0]:
        return None
    return SCALES[units][1] / SCALES[wanted][1]


@dataclass(frozen=True)
class _Fit:
    rows: list[int] | None
    factor: float


class FittedSource:
    """A source under a contract's names of channels, and in its units where that was asked for.

    Parameters
    ----------
    source : Source
        Its sensors bear the contract's names.
    wanted : sequence of SensorSpec
    renamed : mapping of str to str
        Name of a channel of the source to the contract's.
    convert_units : bool
        Scale samples to the contract's unit.

    Raises
    ------
    UnitMismatch
        Units are to be converted that are not of one kind.
    """

    def __init__(
        self, source: Source, wanted: tuple[SensorSpec, ...], *, renamed: Mapping[str, str], convert_units: bool
    ) -> None:
        self._source = source
        self._fits: dict[str, _Fit] = {}
        sensors: dict[str, SensorInfo] = {}
        for spec in wanted:
            info = source.sensors[spec.name]
            by = factor(info.units, spec.units) if convert_units else 1.0
            if by is None:
                came = f"{info.origin}: {info.units}, to be converted"
                raise UnitMismatch(came, f"a unit of the kind of {spec.units}", "Choose another sensor.")
            names = tuple(renamed.get(name, name) for name in info.channels)
            only = spec.channels[0] if len(spec.channels) == 1 and names.count(spec.channels[0]) == 1 else None
            rows = [names.index(only)] if only is not None and len(names) > 1 else None
            self._fits[spec.name] = _Fit(rows, by)
            units = spec.units if convert_units else info.units
            sensors[spec.name] = replace(info, channels=names if rows is None else (str(only),), units=units)
        self.sensors: Mapping[str, SensorInfo] = sensors

    @property
    def live(self) -> bool:
        """As the source."""
        return self._source.live

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def chunks(self) -> Iterator[Chunk]:
        """As the source's, fitted."""
        for chunk in self._source.chunks():
            fit, samples = self._fits[chunk.sensor], chunk.samples
            if fit.rows is not None:
                samples = samples[fit.rows]
            if fit.factor != 1.0:
                samples = (samples * np.float64(fit.factor)).astype(np.float32)
            yield replace(chunk, samples=samples)
