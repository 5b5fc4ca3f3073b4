"""Series of nobody: kernel-synthesised corpora in the layouts of the mixture, for the generic backbone.

Source: the idea of KernelSynth in Chronos (Ansari et al. 2024, arXiv 2403.07815, section 4.2), which draws up to five
kernels from a bank, joins them by random sums and products, and samples a Gaussian process. Here draws are joined in
place of kernels, so that a long series costs a few Fourier transforms and no Cholesky factor: a sum of independent
draws is the process with the summed kernel; a product has the product kernel as its covariance but is not Gaussian.
Steps and bursts, which no smooth kernel gives, are in the bank too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.models.layout import Layout
from physioedge.models.modality import ALL
from physioedge.pretraining.mixture import MIXTURE, Part
from physioedge.pretraining.pools import Loader, Pool, Track

NAME = "synthetic"
TRACKS = 2000
SEED = 20_240_403
"""Of the corpora: like recordings, they are the same in every run; a run's own seed decides what is drawn from them."""
_WINDOWS = 4
"""Length of a track in inputs of its longest sensor."""
_MOST_KERNELS = 5
_SHORTEST = 3.0
"""Samples of the shortest period and length scale: below, nothing can be foretold."""
Array = NDArray[np.float64]


def series(n: int, rng: np.random.Generator) -> Array:
    """One series (n,) of mean 0 and deviation 1, from one to five kinds of draw joined by random sums and products."""
    made = _unit(_any(n, rng))
    for _ in range(int(rng.integers(_MOST_KERNELS))):
        other = _unit(_any(n, rng))
        made = _unit(made + other if rng.random() < 0.5 else made * other)
    return made if abs(made.std() - 1.0) < 1e-3 else _unit(_noise(n, rng))  # steps of -1 and 1, squared, are flat


def corpus(
    rates: Mapping[str, float], root: Path | None = None, *, layout: Layout, tracks: int = TRACKS, seed: int = SEED
) -> Pool:
    """Tracks with every sensor of a layout, in the sizes the fixed scales of the modalities are made for.

    A slow series that all sensors of a track share goes into each with a weight of its own, and the channels of a
    sensor are mixtures of each other, so that there is something to learn between streams.

    Parameters
    ----------
    rates : mapping of str to float
        Hz by kind of sensor.
    root : Path, optional
        Nothing is read.
    layout : Layout
    tracks : int
    seed : int

    Returns
    -------
    Pool
        Of no subjects and the dataset ``synthetic``.
    """
    del root
    known = {modality.kind: modality for modality in ALL}
    kinds = tuple(dict.fromkeys(one.kind for one in layout.sensors))
    longest_s = max(one.input_samples(known[one.kind]) / known[one.kind].fs_hz for one in layout.sensors)
    found = []
    for index in range(tracks):
        rng = np.random.default_rng((seed, index))
        slowest_hz = min(rates[kind] for kind in kinds)
        shared = series(int(_WINDOWS * longest_s * slowest_hz) + 2, rng)
        sensors = {}
        for kind in kinds:
            n = int(_WINDOWS * longest_s * rates[kind])
            slow = np.interp(np.arange(n) / rates[kind], np.arange(len(shared)) / slowest_hz, shared)
            modality = known[kind]
            sensors[kind] = (_sensor(slow, modality.channels, modality.centre, modality.scale, rng), 0.0)
        found.append(Track(sensors))
    return Pool(found, np.ones(tracks), (), (NAME,))


def _sensor(
    slow: Array, channels: int, centre: tuple[float, ...], scale: tuple[float, ...], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Channels (channel, sample) around `centre`, in sizes from a tenth of `scale` to three times it."""
    own = np.stack([series(len(slow), rng) for _ in range(channels)])
    mixed = (np.eye(channels) + 0.5 * rng.standard_normal((channels, channels))) @ own
    mixed = mixed + rng.uniform(-1, 1, (channels, 1)) * slow
    size = 10.0 ** rng.uniform(-1.0, 0.5)
    offset = rng.standard_normal((channels, 1))
    out = np.array(centre)[:, None] + np.array(scale)[:, None] * (size * mixed + offset)
    return np.asarray(out, np.float32)


def _unit(x: Array) -> Array:
    return np.asarray((x - x.mean()) / (x.std() + 1e-9))


def _any(n: int, rng: np.random.Generator) -> Array:
    return _BANK[int(rng.integers(len(_BANK)))](n, rng)


def _span(n: int, rng: np.random.Generator) -> float:
    """Samples of a period or length scale, from `_SHORTEST` to a quarter of the series, each factor alike likely."""
    return float(np.exp(rng.uniform(np.log(_SHORTEST), np.log(n / 4))))


def _shaped(n: int, spectrum: Callable[[Array], Array], rng: np.random.Generator) -> Array:
    """Stationary Gaussian series with a spectral density of angular frequency, in radians a sample."""
    omega = np.asarray(2 * np.pi * np.fft.rfftfreq(n), np.float64)
    noise = rng.standard_normal(len(omega)) + 1j * rng.standard_normal(len(omega))
    return np.asarray(np.fft.irfft(noise * np.sqrt(spectrum(omega)), n), np.float64)


def _smooth(n: int, rng: np.random.Generator) -> Array:
    """Squared exponential kernel of length l: density ``exp(-(l w)^2 / 2)``."""
    length = _span(n, rng)
    return _shaped(n, lambda omega: np.exp(-0.5 * (length * omega) ** 2), rng)


def _rough(n: int, rng: np.random.Generator) -> Array:
    """Matern kernel of order 1/2 or 3/2: density ``(2 v / l^2 + w^2)^-(v + 1/2)``."""
    length, order = _span(n, rng), (0.5, 1.5)[int(rng.integers(2))]
    return _shaped(n, lambda omega: (2 * order / length**2 + omega**2) ** -(order + 0.5), rng)


def _periodic(n: int, rng: np.random.Generator) -> Array:
    """Exponentiated sine-squared kernel of length l: harmonic k has the variance ``2 exp(-1/l^2) I_k(1/l^2)``."""
    from scipy.special import ive

    period, length = _span(n, rng), float(np.exp(rng.uniform(np.log(0.3), np.log(2.0))))
    k = np.arange(1, max(1, min(20, int(period / 2))) + 1)
    weight = np.sqrt(2 * ive(k, 1 / length**2)) * rng.standard_normal((2, len(k)))
    angle = 2 * np.pi * k[:, None] * np.arange(n) / period
    return np.asarray(weight[0] @ np.cos(angle) + weight[1] @ np.sin(angle))


def _trend(n: int, rng: np.random.Generator) -> Array:
    """Straight lines between a few turning points."""
    turns = int(rng.integers(0, 4))
    at = np.concatenate([[0], np.sort(rng.uniform(0, n - 1, turns)), [n - 1]])
    return np.asarray(np.interp(np.arange(n), at, rng.standard_normal(turns + 2)))


def _autoregressive(n: int, rng: np.random.Generator) -> Array:
    """Second order, a random pair of poles inside the unit circle."""
    from scipy.signal import lfilter

    radius, angle = 1 - 10.0 ** rng.uniform(-2.5, -0.3), rng.uniform(0, np.pi / 2)
    return np.asarray(lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], rng.standard_normal(n)))


def _steps(n: int, rng: np.random.Generator) -> Array:
    """Levels that change at random instants."""
    changes = np.cumsum(rng.random(n) < 1 / _span(n, rng))
    return rng.standard_normal(int(changes[-1]) + 1)[changes]


def _bursts(n: int, rng: np.random.Generator) -> Array:
    """Rare impulses of random height, each dying away."""
    from scipy.signal import lfilter

    impulses = np.where(rng.random(n) < 1 / _span(n, rng), rng.exponential(size=n), 0.0)
    impulses[int(rng.integers(n))] += 1.0  # one at least
    return np.asarray(lfilter([1.0], [1.0, -np.exp(-1 / rng.uniform(0.5, 20.0))], impulses))


def _noise(n: int, rng: np.random.Generator) -> Array:
    return rng.standard_normal(n)


_BANK: tuple[Callable[[int, np.random.Generator], Array], ...] = (
    _smooth, _smooth, _rough, _periodic, _periodic, _periodic, _trend, _autoregressive, _steps, _bursts, _noise,
)  # fmt: skip
"""Kinds of draw; those named more often are drawn more often."""

GENERIC: tuple[Part, ...] = tuple(replace(part, pools={f"{NAME}_{part.name}": 1.0}) for part in MIXTURE)
"""The mixture of pre-training, part by part, without anybody's recording."""
CORPORA: Mapping[str, Loader] = {f"{NAME}_{part.name}": partial(corpus, layout=part.layout) for part in MIXTURE}
