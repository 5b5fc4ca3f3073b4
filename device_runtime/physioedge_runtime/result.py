"""What a stream says about one window."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One judged, or withheld, window.

    Attributes
    ----------
    t_start_s, t_end_s : float
        The window, without its context, on the stream's clock (the caller's first timestamp plus counted samples).
    t_anchor_s : float
        The judged instant: the R peak, or the end of the hop.
    label : str or None
        None where it is withheld; `flags` say why. Always None for a model that gives values.
    probability : float
        Of the most probable label; 0 where the model was not asked, and for a model that gives values.
    probabilities : tuple of float
        In the order of the contract's labels; empty where the model was not asked.
    quality : float
        Signal-quality index in 0..1, see docs/signal-quality.md; the smallest of all sensors'; 0 where there was no
        complete window.
    flags : tuple of str
        What is to be known about the window, see docs/signal-quality.md; those of a sensor beside the leading one bear
        its name, as ``acc:nonfinite``.
    adapter : str
        Id of the adapter in use.
    t_emitted_s : float
        Instant of the newest sample the result needed: ``t_emitted_s - t_anchor_s`` is the delay. Chunks add up to
        their own length to it.
    embedding : float32 (embedding_dim,) or None
        None where the model was not asked. Left out of comparisons.
    values : tuple of float
        In the order and units of the contract's values; empty where they are withheld, and for a model that gives
        labels.
    """

    t_start_s: float
    t_end_s: float
    t_anchor_s: float
    label: str | None
    probability: float
    probabilities: tuple[float, ...]
    quality: float
    flags: tuple[str, ...]
    adapter: str
    t_emitted_s: float
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    values: tuple[float, ...] = ()

    @property
    def judged(self) -> bool:
        """Whether there is a label or there are values, and nothing is withheld."""
        return self.label is not None or bool(self.values)

    @property
    def delay_s(self) -> float:
        """Seconds from the judged instant to the newest sample the result needed."""
        return self.t_emitted_s - self.t_anchor_s


def softmax(logits: NDArray[np.float32]) -> tuple[float, ...]:
    """Probabilities (label,) of logits (label,), in double precision."""
    values: list[float] = logits.tolist()  # a few labels: quicker without numpy
    largest = max(values)
    powers = [math.exp(value - largest) for value in values]
    total = sum(powers)
    return tuple([power / total for power in powers])
