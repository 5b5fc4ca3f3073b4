"""A person as every arm of the personalisation table meets them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Signals


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One judged person.

    Attributes
    ----------
    name : str
    calibration : tuple of Tensor
        Windows of the first five minutes, or of what the task has in their place: what a device has, without labels.
    calibration_target : int64 (n_calibration,)
        Their classes, for arms that state that they are given labels; -1 where a window is of no class of the task.
    test : tuple of Tensor
        Windows of the rest; none has a sample of the five minutes.
    target : int64 (n_test,)
    """

    name: str
    calibration: Signals
    calibration_target: NDArray[np.int64]
    test: Signals
    target: NDArray[np.int64]
