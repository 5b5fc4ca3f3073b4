"""What an adapter set needs of a task: its people, the windows they would show, and a global adapter without some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Floats, Signals

CHECKPOINT = "checkpoint.pt"
"""What a fit of a global adapter may keep in its folder to go on from; removed once the adapter is whole."""


@dataclass(frozen=True, kw_only=True)
class Worn:
    """A recording as one wearer shows it.

    Attributes
    ----------
    signals : tuple of float32 (window, channel, input_samples)
        One array a sensor.
    target : int64 (window,)
        Classes of the task; -1 where a window is of none.
    time_s : float64 (window,)
        When in the recording it is judged.
    """

    signals: Signals
    target: NDArray[np.int64]
    time_s: Floats

    def of(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Worn:
        """Some of the windows."""
        return Worn(signals=tuple(x[kept] for x in self.signals), target=self.target[kept], time_s=self.time_s[kept])


class People(Protocol):
    """A task's people who may be learned from."""

    @property
    def task(self) -> str:
        """Name of the task."""
        ...

    @property
    def backbone(self) -> Path:
        """Weights file."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The people."""
        ...

    @property
    def device(self) -> str:
        """Of torch, where networks compute."""
        ...

    @property
    def made_of(self) -> Mapping[str, Any]:
        """What shapes a global adapter beside the task, the backbone, the seed and who it is fitted on."""
        ...

    def fit_global(self, names: tuple[str, ...], folder: Path, *, seed: int) -> None:
        """Fit a global adapter on some of them and write it; `CHECKPOINT` beside it is removed afterwards."""
        ...

    def worn(self, name: str, wearer: int, *, seed: int) -> Worn:
        """One of them as their `wearer`-th virtual wearer; the first is the recording as it is."""
        ...
