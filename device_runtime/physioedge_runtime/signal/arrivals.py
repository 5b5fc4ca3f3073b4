"""What a chunk's timestamp says about its samples: they continue, came before, or begin a new stretch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.signal.admission import Admission
from physioedge_runtime.signal.timeline import Timeline

GAP, CLOCK_BACKWARD = "gap", "clock_backward"


class Kept(Protocol):
    """Samples of one sensor that came before."""

    def recent(self, back: int, n_samples: int) -> NDArray[np.float32] | None:
        """The `n_samples` that began `back` samples ago; None where they are not kept."""
        ...

    def mark(self, flag: str) -> None:
        """Give a flag to the windows that hold the next sample."""
        ...


class Arrivals:
    """Admission and clock of one sensor.

    Parameters
    ----------
    admission : Admission
    tolerance_s : float
        Jitter of the timestamps, see `Timeline`.
    """

    def __init__(self, admission: Admission, tolerance_s: float) -> None:
        self.admission = admission
        self.timeline = Timeline(admission.fs_hz, tolerance_s)

    def look(self, chunk: NDArray[Any], t: float | None, kept: Kept) -> tuple[NDArray[np.float32], str | None]:
        """Samples that are new, and why they begin a new stretch; None where they continue the one there is.

        They are not counted yet.

        Raises
        ------
        ShapeError, SignalError
            The chunk is no such array, or the timestamp no number; nothing has changed.
        """
        samples = self.admission.take(chunk)
        if samples.shape[1] == 0:
            return samples, None
        arrival = self.timeline.look(t)
        for flag in arrival.flags:
            kept.mark(flag)
        if arrival.kind == "gap":
            return samples, GAP
        if arrival.kind == "earlier":
            repeated = self._repeated(samples, -arrival.jump_s, kept)
            if not repeated:
                return samples, CLOCK_BACKWARD
            kept.mark("duplicate")
            samples = samples[:, repeated:]
        return samples, None

    def _repeated(self, samples: NDArray[np.float32], back_s: float, kept: Kept) -> int:
        """How many of the first samples are here already, sample for sample."""
        back = round(back_s * self.timeline.fs_hz)
        n = min(back, samples.shape[1])
        known = kept.recent(back, n)
        same = known is not None and np.array_equal(known, samples[:, :n], equal_nan=True)
        return n if same else 0
