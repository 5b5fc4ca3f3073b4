"""Virtual wearers of a windowed task: one person's windows as another mounting of the same sensors would show them.

Everything is the same for all windows of a wearer, which is what makes it personal. Pulse, ECG: another gain, a short
filter for another sensor and skin, a changed pace, noise; several channels are mixed. Movement: the three axes turned,
as on another arm. Skin conductance: size and level. Temperature: level. Intervals between beats: a faster or slower
heart, and the jitter of another beat detector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_PACE, _GAIN, _NOISE, _JITTER_S = 0.1, 1.4, 0.1, 0.01
_ECHO, _ECHO_S = 0.8, 0.08
_TURN_RAD, _MIX = 0.5, 0.3
_SKIN_US, _DEGREES = 1.0, 1.5


@dataclass(frozen=True, kw_only=True)
class WindowWearer:
    """How all windows of a person are changed.

    Attributes
    ----------
    pace : float
        Time goes so many times as fast; the newest sample stays where it is.
    gain : float
        What amplitudes are multiplied by.
    noise : float
        Standard deviation of white noise, as a share of the window's own deviation.
    echo_s : float
        Half length of the filter; 0 for none.
    level : float
        -1 to 1: where skin conductance and temperature lie, in units of the most that is changed.
    seed : int
        Of the filter, the turn, the mixture and the noise.
    """

    pace: float = 1.0
    gain: float = 1.0
    noise: float = 0.0
    echo_s: float = 0.0
    level: float = 0.0
    seed: int = -1

    @property
    def plain(self) -> bool:
        """Whether windows stay as they are."""
        return self.seed < 0


def random_window_wearer(rng: np.random.Generator) -> WindowWearer:
    """A wearer who differs from the person in everything that is the sensors' and not the class's."""
    return WindowWearer(
        pace=float(1 + _PACE * rng.uniform(-1, 1)),
        gain=float(_GAIN ** rng.uniform(-1, 1)),
        noise=float(_NOISE * rng.random()),
        echo_s=_ECHO_S if rng.random() < 0.5 else 0.0,
        level=float(rng.uniform(-1, 1)),
        seed=int(rng.integers(2**31)),
    )


def worn_windows(kind: str, x: Array, wearer: WindowWearer, fs_hz: float) -> Array:
    """Windows (n, channel, sample) of one kind of sensor as the wearer shows them; unknown kinds as they are."""
    change = _CHANGES.get(kind)
    if wearer.plain or change is None:
        return x
    rng = np.random.default_rng((wearer.seed, sum(kind.encode())))
    return np.ascontiguousarray(change(x.astype(np.float64), wearer, rng, fs_hz), np.float32)


Floats = NDArray[np.float64]
Change = Callable[[Floats, WindowWearer, np.random.Generator, float], Floats]


def _wave(x: Floats, wearer: WindowWearer, rng: np.random.Generator, fs_hz: float) -> Floats:
    x = _paced(x, wearer.pace)
    if wearer.echo_s:
        x = np.apply_along_axis(np.convolve, 2, x, _echo(round(wearer.echo_s * fs_hz), rng), mode="same")
    if x.shape[1] > 1:
        mixture = np.eye(x.shape[1]) + _MIX * rng.standard_normal((x.shape[1], x.shape[1]))
        x = np.einsum("ij,njs->nis", mixture, x)
    return _noisy(wearer.gain * x, wearer.noise, rng)


def _acc(x: Floats, wearer: WindowWearer, rng: np.random.Generator, fs_hz: float) -> Floats:
    turn = _turn(rng)
    out = np.concatenate([np.einsum("ij,njs->nis", turn, x[:, i : i + 3]) for i in range(0, x.shape[1], 3)], axis=1)
    return _noisy(out, wearer.noise, rng)


def _eda(x: Floats, wearer: WindowWearer, rng: np.random.Generator, fs_hz: float) -> Floats:
    return wearer.gain * x + _SKIN_US * (wearer.level + 1) / 2


def _temp(x: Floats, wearer: WindowWearer, rng: np.random.Generator, fs_hz: float) -> Floats:
    return x + _DEGREES * wearer.level


def _rr(x: Floats, wearer: WindowWearer, rng: np.random.Generator, fs_hz: float) -> Floats:
    out = x.copy()
    out[:, 0] = x[:, 0] / wearer.pace + _JITTER_S * wearer.noise / _NOISE * rng.standard_normal(x[:, 0].shape)
    out[:, 0] = np.where(x[:, 0] > 0, np.maximum(out[:, 0], 0.0), x[:, 0])  # where nothing was, nothing comes
    return out


def _paced(x: Floats, pace: float) -> Floats:
    """Windows at another pace around their newest sample; what lies before them is their oldest part mirrored."""
    n = x.shape[2]
    at = np.abs(n - 1 - (n - 1 - np.arange(n)) * pace)
    low = np.minimum(at.astype(np.int64), n - 2)
    share = at - low
    return np.asarray(x[:, :, low] * (1 - share) + x[:, :, low + 1] * share)


def _echo(half: int, rng: np.random.Generator) -> Floats:
    taps = rng.standard_normal(2 * half + 1) * np.hanning(2 * half + 3)[1:-1]
    taps *= _ECHO * rng.random() / np.linalg.norm(taps)
    taps[half] += 1.0
    return np.asarray(taps)


def _noisy(x: Floats, share: float, rng: np.random.Generator) -> Floats:
    return np.asarray(x + share * x.std(2, keepdims=True) * rng.standard_normal(x.shape))


def _turn(rng: np.random.Generator) -> Floats:
    """A rotation (3, 3) about a random axis, by Rodrigues' formula."""
    axis = rng.standard_normal(3)
    a, b, c = axis / np.linalg.norm(axis)
    angle = _TURN_RAD * rng.standard_normal()
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


_CHANGES: Mapping[str, Change] = {"ppg": _wave, "ecg": _wave, "acc": _acc, "eda": _eda, "temp": _temp, "rr": _rr}
