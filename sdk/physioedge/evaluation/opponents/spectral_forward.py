"""Heart rate by spectra and a tracker that sees the past alone, or waits a stated 8 s: what a live stream can do.

The spectra are those of `physioedge.evaluation.opponents.spectral`, cleaned axis by axis; the tracker is
`physioedge.signals.rate_tracker`. Its three numbers are chosen on the people it is fitted on.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.opponents.spectral import GRID_BPM, emission
from physioedge.signals.rate_tracker import Steps, tracked_rates
from physioedge.tasks.windowed import TaskWindows

LAG_WINDOWS = 4
"""Windows come every 2 s: an answer 8 s late."""
FLOOR = 0.1
"""Added to spectra whose largest value is 1, so that one window alone never rules a rate out."""
_SCALES_BPM = (2.0, 4.0, 6.0)
_LEAKS = (0.001, 0.01)
_POWERS = (2.0, 3.0)

Float = NDArray[np.float64]


def fit_predict(train: TaskWindows, test: TaskWindows, seed: int) -> Float:
    """Rates (n, 1) in bpm, each from its own window and those before it."""
    return _fitted(train, test, 0)


def fit_predict_lag8s(train: TaskWindows, test: TaskWindows, seed: int) -> Float:
    """Rates (n, 1) in bpm, each from its own window, those before it and the four after it: known 8 s late."""
    return _fitted(train, test, LAG_WINDOWS)


def _fitted(train: TaskWindows, test: TaskWindows, lag: int) -> Float:
    said = emission(train, "axes") + FLOOR
    steps = chosen_steps(said, train, lag, powers=_POWERS)
    return tracked_rates(emission(test, "axes") + FLOOR, test.record, GRID_BPM, steps, lag)[:, None]


def chosen_steps(said: Float, train: TaskWindows, lag: int, *, powers: tuple[float, ...]) -> Steps:
    """The tracker's numbers with the least mean absolute error on the people fitted on.

    Parameters
    ----------
    said : float (n, rate)
        What each window says about each rate of `GRID_BPM`.
    train : TaskWindows
    lag : int
        Later windows that an answer may use.
    powers : tuple of float
        Choices of `Steps.power`.
    """
    errors: dict[Steps, float] = {}
    for scale_bpm, leak, power in product(_SCALES_BPM, _LEAKS, powers):
        steps = Steps(scale_bpm=scale_bpm, leak=leak, power=power)
        rate = tracked_rates(said, train.record, GRID_BPM, steps, lag)
        errors[steps] = float(np.abs(rate - train.target[:, 0]).mean())
    return min(errors, key=lambda one: errors[one])
