"""A rate followed through time: a hidden Markov model over a grid of rates, one probability vector as its state.

It takes how well each rate explains each window, from any source, and answers with the rate at the newest window, or at
one a fixed number of windows earlier, which what came since has made clearer. Numpy and nothing else, so that a device
can run it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import ShapeError

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How a rate moves from one window to the next, and how much one window says.

    Attributes
    ----------
    scale_bpm : float
        Of the Laplace distribution of a step.
    leak : float
        Probability that the rate may be anywhere next: what a wrong lock is left through.
    power : float
        What one window says is taken to this power: below 1 where windows overlap and so say the same several times,
        above 1 where the source says too little.
    """

    scale_bpm: float
    leak: float
    power: float


class RateTracker:
    """Forward recursion, with a backward pass over the last few windows where an answer may come late.

    Parameters
    ----------
    grid_bpm : float (rate,)
        Ascending, evenly spaced.
    steps : Steps
    lag : int
        Windows by which the answer comes late; 0 looks at no later window.

    Raises
    ------
    ShapeError
        The grid is no ascending vector.

    Notes
    -----
    Source: Rabiner, Proc IEEE 77(2):257-286, 1989, equations 19 to 27 (forward and backward variables, scaled at each
    step). The answer is the median of the rate's distribution: it is what the absolute error asks for, and it does not
    lie between two peaks as a mean does.
    """

    def __init__(self, grid_bpm: Float, steps: Steps, lag: int = 0) -> None:
        if grid_bpm.ndim != 1 or len(grid_bpm) < 2 or not (np.diff(grid_bpm) > 0).all():
            raise ShapeError(f"a grid {grid_bpm.shape}", "two ascending rates or more", "Pass a vector in bpm.")
        self.grid_bpm, self.steps, self.lag = grid_bpm, steps, lag
        apart = np.abs(grid_bpm[:, None] - grid_bpm[None])
        kernel = np.exp(-apart / steps.scale_bpm)
        moved = kernel / kernel.sum(1, keepdims=True)
        self._move: Float = (1.0 - steps.leak) * moved + steps.leak / len(grid_bpm)  # (from, to)
        self.reset()

    def reset(self) -> None:
        """Forget the past: every rate is as likely as any other."""
        self._belief: Float | None = None
        self._recent: deque[tuple[Float, Float]] = deque(maxlen=self.lag + 1)  # belief after a window, what it said

    @property
    def belief(self) -> Float:
        """Probability (rate,) of each rate at the newest window, given all windows so far."""
        n = len(self.grid_bpm)
        return np.full(n, 1.0 / n) if self._belief is None else self._belief

    def push(self, likelihood: Float | None) -> float | None:
        """Take one window; answer for the one `lag` windows before it.

        Parameters
        ----------
        likelihood : float (rate,) or None
            How well each rate explains the window, on any scale. None, values that are not finite or below 0, and zeros
            throughout say nothing: the belief only widens.

        Returns
        -------
        float or None
            Rate in bpm; None as long as fewer than `lag` windows came before.

        Raises
        ------
        ShapeError
            Not one number a rate.
        """
        said = self._said(likelihood)
        before = self.belief if self._belief is None else self._belief @ self._move
        after = before * said
        # what is said may contradict the belief so far that nothing is left in floating point: then it alone counts
        self._belief = after / after.sum() if after.sum() > 0 else said / said.sum()
        self._recent.append((self._belief, said))
        return self._answer(0) if len(self._recent) > self.lag else None

    def rest(self) -> list[float]:
        """Answers for the windows that are still owed one, with what there is; the tracker then starts anew."""
        first = len(self._recent) - min(self.lag, len(self._recent))
        answers = [self._answer(index) for index in range(first, len(self._recent))]
        self.reset()
        return answers

    def _said(self, likelihood: Float | None) -> Float:
        n = len(self.grid_bpm)
        if likelihood is None:
            return np.ones(n)
        if likelihood.shape != (n,):
            raise ShapeError(f"what a window says as {likelihood.shape}", f"({n},)", "Pass one number a rate.")
        largest = float(likelihood.max())
        if not np.isfinite(likelihood).all() or float(likelihood.min()) < 0.0 or largest <= 0.0:
            return np.ones(n)
        return np.asarray((likelihood / largest) ** self.steps.power, np.float64)

    def _answer(self, index: int) -> float:
        """Median rate at one of the recent windows, given it and all that came after it."""
        later = np.ones(len(self.grid_bpm))
        for _, said in list(self._recent)[:index:-1]:
            later = self._move @ (said * later)
            later = later / later.max()
        return median_of(self._recent[index][0] * later, self.grid_bpm)


def median_of(weight: Float, grid_bpm: Float) -> float:
    """Median in bpm of a distribution over evenly spaced rates, each weight spread evenly over its cell."""
    share = weight.cumsum() / weight.sum()
    index = int(np.searchsorted(share, 0.5))
    before = float(share[index - 1]) if index else 0.0
    inside = (0.5 - before) / max(float(share[index]) - before, 1e-12)
    cell_bpm = float(grid_bpm[1] - grid_bpm[0])
    return float(grid_bpm[index]) + (inside - 0.5) * cell_bpm


def tracked_rates(
    likelihood: Float, record: NDArray[np.str_] | Sequence[str], grid_bpm: Float, steps: Steps, lag: int = 0
) -> Float:
    """Rate (n,) in bpm at each window, every record followed on its own.

    Parameters
    ----------
    likelihood : float (n, rate)
        Windows in the order of time within a record.
    record : str (n,)
    grid_bpm : float (rate,)
    steps : Steps
    lag : int
        Later windows that each answer may use; a record's last ones have fewer.
    """
    names, tracker = np.asarray(record), RateTracker(grid_bpm, steps, lag)
    out = np.zeros(len(likelihood))
    for name in np.unique(names):
        here = np.flatnonzero(names == name)
        answers = [tracker.push(row) for row in likelihood[here]]
        out[here] = [answer for answer in answers if answer is not None] + tracker.rest()
    return out
