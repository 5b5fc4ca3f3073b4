"""Diffusion in discrete time: how much noise at which time, and deterministic sampling back from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

TIMES = 1000
"""Times 0 to 999, from nearly clean to nearly noise alone."""
LINEAR = (1e-4, 0.012)
"""First and last variance added by the linear schedule, as PhysioPFM has them."""
Predictor = Callable[[Tensor, int], Tensor]
"""Noisy values (row, number) and a time to what the network predicts (row, number)."""


@dataclass(frozen=True)
class Schedule:
    """Noise by time, and what a network's prediction means.

    Parameters
    ----------
    name : str
        ``cosine`` or ``linear``.
    predicts : str
        ``x0`` or ``v``.

    Notes
    -----
    Sources: linear variances, Ho et al., NeurIPS 2020; cosine, Nichol and Dhariwal, ICML 2021, equation 17; velocity,
    Salimans and Ho, ICLR 2022, appendix D; sampling, Song et al. (DDIM), ICLR 2021, equation 12 with sigma = 0; times
    that begin at the last one, Lin et al., arXiv 2305.08891, table 2 ("trailing").
    """

    name: str
    predicts: str

    def kept(self) -> Tensor:
        """Share of the signal's variance that is left at each time, float64 (time,)."""
        return _kept(self.name).clone()

    def levels(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of signal and of noise at some times, float32 of their shape; at time -1 all is signal."""
        kept = torch.cat([torch.ones(1, dtype=torch.float64), _kept(self.name)])[times + 1]
        return kept.sqrt().float(), (1 - kept).sqrt().float()

    def noised(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Rows (row, number) with the noise of their times (row,)."""
        signal, spread = self.levels(times)
        return signal[:, None] * clean + spread[:, None] * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the network should predict for `noised`."""
        if self.predicts == "x0":
            return clean
        signal, spread = self.levels(times)
        return signal[:, None] * noise - spread[:, None] * clean

    def sample(self, predict: Predictor, noise: Tensor, steps: int) -> Tensor:
        """Noise (row, number) back to clean rows, in `steps` calls of `predict`; nothing is drawn.

        With one step it is the network's idea of what is clean, of noise alone. Gradients pass through.
        """
        x, times = noise, sample_times(steps)
        signals, spreads = (factor.tolist() for factor in self.levels(torch.tensor([*times, -1])))
        for i, now in enumerate(times):
            made = predict(x, now)
            clean = made if self.predicts == "x0" else signals[i] * x - spreads[i] * made
            x = signals[i + 1] * clean + spreads[i + 1] * (x - signals[i] * clean) / spreads[i]
        return x


@cache
def _kept(name: str) -> Tensor:
    with torch.inference_mode(False):  # kept for callers outside of it, too
        if name == "linear":
            added = torch.linspace(*LINEAR, TIMES, dtype=torch.float64)
        else:
            at = torch.arange(TIMES + 1, dtype=torch.float64) / TIMES
            left = torch.cos((at + 0.008) / 1.008 * math.pi / 2) ** 2
            added = (1 - left[1:] / left[:-1]).clamp(max=0.999)
        return torch.cumprod(1 - added, 0)


def sample_times(steps: int) -> list[int]:
    """Times that a sampler of so many steps visits, from the last one down."""
    return [round(TIMES - i * TIMES / steps) - 1 for i in range(steps)]
