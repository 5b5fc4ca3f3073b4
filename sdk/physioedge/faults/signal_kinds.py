"""What is done to samples, how badly, and from when on a window that holds it cannot be judged.

Two ways a window is spoilt. *Not measured*: a part of what the model sees was never measured (no number, a constant, a
converter at its rail); a stretch of it anywhere is enough, because a model that was trained on whole windows answers
with confidence all the same. *Drowned*: all was measured, but something else is several times as large as the signal;
then the window is spoilt where the judged beat itself lies in it, or `DROWNED_SHARE` of what the model sees does.
Milder degrees may be judged: they are done to see that nothing raises, and what answers change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from physioedge.faults.worn import Samples
from physioedge_runtime import faults
from physioedge_runtime.bundle.contract import SensorSpec

DROWNED_SHARE = 0.5
NOT_MEASURED, DROWNED, MAY = "not measured", "drowned", "may be judged"
Do: TypeAlias = Callable[[Samples, float, int, int, np.random.Generator], Samples]
"""From clean samples (channel, sample), rate, first and last sample of the fault, to samples with the fault."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One fault of samples in one degree.

    Attributes
    ----------
    name, degree : str
        What, and how badly.
    lasts_s : float
        Length; 0 for all of the recording.
    spoils : str
        `NOT_MEASURED`, `DROWNED`, or `MAY`.
    needs_s : float
        Of what was not measured, so much within a window spoils it.
    reasons : tuple of str
        Flags, one of which must stand on a window that is withheld for it.
    moves : bool
        Whether an accelerometer beside it shows the same movement.
    do : callable
    """

    name: str
    degree: str
    lasts_s: float
    spoils: str
    needs_s: float = 0.0
    reasons: tuple[str, ...] = ()
    moves: bool = False
    do: Do = field(compare=False)

    def __str__(self) -> str:
        return f"{self.name}, {self.degree}"


def kinds(sensor: SensorSpec, fs_hz: float) -> Iterator[Kind]:
    """All kinds and degrees for an ``ecg``, a ``ppg`` or an ``acc`` that samples at `fs_hz`."""
    for kind in _kinds(sensor.modality):
        yield replace(kind, name=f"{kind.name} of {sensor.modality}", spoils=_spoils(kind, sensor, fs_hz))


def _spoils(kind: Kind, sensor: SensorSpec, fs_hz: float) -> str:
    """Hum that the rate converter takes out again drowns nothing."""
    if "hum" not in kind.name or kind.spoils != DROWNED:
        return kind.spoils
    mains_hz = float(kind.name.split()[0])
    folded_hz = abs(mains_hz - round(mains_hz / fs_hz) * fs_hz)
    return DROWNED if folded_hz < 0.45 * sensor.fs_hz else MAY


def _kinds(modality: str) -> Iterator[Kind]:
    yield from _no_numbers()
    if modality == "acc":
        yield _whole("wrong gain", "1000 times", NOT_MEASURED, ("out_of_range",), lambda x, *_: faults.scaled(x, 1000))
        yield from _moved(())
        return
    yield from _constant(("flat", "clipped"))
    yield from _saturated(modality)
    yield from _drowned(modality)
    yield from _gains(modality)


def _whole(name: str, degree: str, spoils: str, reasons: tuple[str, ...], do: Do, needs_s: float = 1.5) -> Kind:
    return Kind(name=name, degree=degree, lasts_s=0.0, spoils=spoils, needs_s=needs_s, reasons=reasons, do=do)


def _no_numbers() -> Iterator[Kind]:
    for lasts_s in (0.0, 0.2, 3.0):
        degree = f"{lasts_s:g} s" if lasts_s else "1 sample"
        for name, do in (("NaN", faults.with_nan), ("infinity", faults.with_inf)):
            yield Kind(
                name=name, degree=degree, lasts_s=max(lasts_s, 1e-6), spoils=NOT_MEASURED, reasons=("nonfinite",),
                do=lambda x, fs, a, b, rng, do=do: do(x, a, b),  # type: ignore[misc]
            )  # fmt: skip
    for value in (3e7, 1e30):
        yield Kind(
            name="spike", degree=f"{value:g}", lasts_s=1e-6, spoils=NOT_MEASURED, reasons=("out_of_range",),
            do=lambda x, fs, a, b, rng, v=value: faults.spike(x, a, v),  # type: ignore[misc]
        )  # fmt: skip


def _constant(reasons: tuple[str, ...]) -> Iterator[Kind]:
    """A sensor that holds for 0.2 s is none, docs/signal-quality.md; shorter is not told from a coarse converter."""
    for lasts_s in (0.1, 0.4, 2.0, 12.0):
        spoils = NOT_MEASURED if lasts_s > 0.25 else MAY
        for name, do in (("dropout to 0", faults.dropout), ("flat line", faults.held)):
            yield Kind(
                name=name, degree=f"{lasts_s:g} s", lasts_s=lasts_s, spoils=spoils, needs_s=0.25, reasons=reasons,
                do=lambda x, fs, a, b, rng, do=do: do(x, a, b),  # type: ignore[misc]
            )  # fmt: skip


def _saturated(modality: str) -> Iterator[Kind]:
    """Clipped to a share of the signal's range. At a half an ECG has lost waves; a pulse keeps its rate far longer."""
    for share in (0.9, 0.5, 0.2):

        def do(x: Samples, fs: float, a: int, b: int, rng: np.random.Generator, share: float = share) -> Samples:
            low, high = np.quantile(x[:, a:b], [0.001, 0.999])
            out = x.copy()
            out[:, a:b] = faults.saturated(x[:, a:b], low, low + share * (high - low))
            return out

        spoils = NOT_MEASURED if share < (0.9 if modality == "ecg" else 0.5) else MAY
        degree = f"{share:g} of the range left"
        yield _whole("saturation", degree, spoils, ("clipped", "flat"), do, needs_s=4.0)
    for lasts_s in (2.0, 12.0):
        do_off = _lead_off(noise=0.002 if modality == "ecg" else 0.0, hum=0.0)
        yield Kind(
            name="lead off", degree=f"{lasts_s:g} s at a rail", lasts_s=lasts_s, spoils=NOT_MEASURED, needs_s=1.4,
            reasons=("flat", "clipped", "baseline"), do=do_off,
        )  # fmt: skip
    yield Kind(
        name="lead off", degree="12 s at a rail, humming", lasts_s=12.0, spoils=DROWNED,
        reasons=("flat", "noisy", "baseline"), do=_lead_off(noise=0.0, hum=1.0),
    )  # fmt: skip


def _lead_off(noise: float, hum: float) -> Do:
    """At 1.5 times the largest value; the hum is given in ranges of the signal."""

    def do(x: Samples, fs: float, a: int, b: int, rng: np.random.Generator) -> Samples:
        rail = 1.5 * float(np.abs(x).max())
        out = faults.lead_off(x, a, b, rail, noise, rng)
        return _only(out, a, b, faults.hummed(out, fs, hum * _range(x, fs), 50.0)) if hum else out

    return do


def _drowned(modality: str) -> Iterator[Kind]:
    noisy = ("noisy", "baseline", "out_of_range", "flat")
    for name, degrees, make in (
        ("noise", (0.02, 0.5, 3.0), lambda x, fs, size, rng: faults.noisy(x, size, rng)),
        ("50 Hz hum", (0.05, 0.5, 3.0), lambda x, fs, size, rng: faults.hummed(x, fs, size, 50.0)),
        ("60 Hz hum", (0.05, 0.5, 3.0), lambda x, fs, size, rng: faults.hummed(x, fs, size, 60.0)),
    ):
        for degree in degrees:

            def do(x: Samples, fs: float, a: int, b: int, rng: np.random.Generator, make=make, by=degree) -> Samples:  # type: ignore[no-untyped-def]
                return _only(x, a, b, make(x, fs, by * _range(x, fs), rng))

            yield Kind(
                name=name, degree=f"{degree:g} ranges of the signal", lasts_s=15.0,
                spoils=DROWNED if degree >= 3.0 else MAY, reasons=noisy, do=do,
            )  # fmt: skip
    yield from _moved(noisy)


def _moved(reasons: tuple[str, ...]) -> Iterator[Kind]:
    for degree in (0.3, 1.0, 3.0, 10.0):

        def do(x: Samples, fs: float, a: int, b: int, rng: np.random.Generator, by: float = degree) -> Samples:
            path = faults.movement(b - a, fs, rng)
            return faults.moved(x, a, path, [by * _range(x, fs)] * x.shape[0])

        yield Kind(
            name="motion", degree=f"{degree:g} ranges of the signal", lasts_s=15.0,
            spoils=DROWNED if degree >= 3.0 and reasons else MAY, reasons=reasons, moves=True, do=do,
        )  # fmt: skip


def _gains(modality: str) -> Iterator[Kind]:
    """An ECG has a unit, and is refused where it cannot be one; a pulse's unit is arbitrary, down to none at all."""
    ecg = modality == "ecg"
    for gain in (1e-3, 0.5, 2.0, 1e3, 1e6):
        spoils = NOT_MEASURED if gain >= (1e3 if ecg else 1e6) or (ecg and gain <= 1e-3) else MAY
        reasons = ("out_of_range",) if gain > 1 else ("flat",)
        yield _whole(
            "wrong gain",
            f"{gain:g} times",
            spoils,
            reasons,
            lambda x, fs, a, b, rng, g=gain: faults.scaled(x, g),  # type: ignore[misc]
        )


def _range(x: Samples, fs: float) -> float:
    """Median over seconds of largest minus smallest value of the first channel: how large the signal is."""
    step = max(2, round(fs))
    parts: Sequence[Samples] = [x[0, i : i + step] for i in range(0, x.shape[1] - step + 1, step)]
    return float(np.median([np.ptp(part) for part in parts])) or 1.0


def _only(x: Samples, a: int, b: int, other: Samples) -> Samples:
    """`other` from `a` to `b`, `x` elsewhere."""
    out = x.copy()
    out[:, a:b] = other[:, a:b]
    return out
