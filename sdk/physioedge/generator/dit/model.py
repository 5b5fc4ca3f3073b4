"""The fitted diffusion transformer, asked as the closed forms are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.generator.dit.config import DitConfig, Sampling
from physioedge.generator.dit.network import DitNetwork
from physioedge.generator.dit.schedule import Schedule

Floats = NDArray[np.float64]
LIMIT = 5.0
"""Standardised features are clipped here: the network has seen nobody beyond it."""
AT_ONCE = 32
"""Rows in one pass of the network, so that its activations stay in a core's own cache."""


@dataclass(frozen=True, kw_only=True)
class Dit:
    """A generator by diffusion. It holds no random state: noise follows from the seed that is passed in.

    Attributes
    ----------
    config : DitConfig
    network : DitNetwork
        Trainable still: fine-tune it through `one_step`, and what is asked afterwards is the tuned one.
    middle, size : float64 (feature,)
        Conditions are standardised with them.
    level, spread : float64 (number,)
        So are residuals, number by number.
    sampling : Sampling
        Another one by `dataclasses.replace`.
    """

    config: DitConfig
    network: DitNetwork
    middle: Floats
    size: Floats
    level: Floats
    spread: Floats
    sampling: Sampling

    @property
    def kind(self) -> str:
        """How it generates."""
        return "dit"

    def __call__(self, conditions: Floats, *, seed: int = 0) -> Floats:
        """Residuals (n, number) of conditions (n, feature): means of `sampling.samples` draws.

        Every condition meets the same noise, whoever comes with it. Conditions share passes of the network, about
        `AT_ONCE` rows in each; matrix products of other sizes round otherwise, so that the company a condition comes in
        shows in the last places of its answer, some 1e-6 of its size, and nowhere else.
        """
        asked = torch.from_numpy(standardised(conditions, self.middle, self.size))
        if not len(asked):
            return np.zeros((0, len(self.level)))
        noise = torch.from_numpy(self.noise(self.sampling.samples, seed))
        with torch.inference_mode():
            drawn = [self._mean_draw(part, noise) for part in torch.split(asked, max(1, AT_ONCE // len(noise)))]
            made = torch.cat(drawn).numpy().astype(np.float64)
        return np.asarray(made * self.spread + self.level)

    def noise(self, samples: int, seed: int) -> NDArray[np.float32]:
        """Where sampling begins, (sample, number); a sample's noise does not depend on how many there are."""
        rows = [np.random.default_rng([seed, i]).standard_normal(len(self.level)) for i in range(samples)]
        return np.stack(rows).astype(np.float32)

    def one_step(self, conditions: Tensor, noise: Tensor) -> Tensor:
        """Residuals, float32 (n, number), by a single pass from noise; gradients reach the network.

        It is what a call gives with one step and this noise as its one sample, guidance included.

        Parameters
        ----------
        conditions : float32 (n, feature)
            As they come, not standardised.
        noise : float32 (n, number)
            From a standard normal distribution.
        """
        middle, size, level, spread = (
            torch.from_numpy(a).to(noise) for a in (self.middle, self.size, self.level, self.spread)
        )
        return self._clean(((conditions - middle) / size).clamp(-LIMIT, LIMIT), noise, 1) * spread + level

    def _mean_draw(self, asked: Tensor, noise: Tensor) -> Tensor:
        """Standardised residuals (condition, number): of each condition the mean over all the noise."""
        rows = asked.repeat_interleave(len(noise), 0)
        drawn = self._clean(rows, noise.repeat(len(asked), 1), self.sampling.steps)
        return drawn.reshape(len(asked), len(noise), -1).mean(1)

    def _clean(self, asked: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Standardised residuals of standardised conditions."""
        guidance, n = self.sampling.guidance, len(noise)

        def predict(x: Tensor, time: int) -> Tensor:
            if guidance in (0, 1):
                everybody = torch.ones(n, dtype=torch.bool, device=x.device)
                return self._predicted(x, time, asked, None if guidance else everybody)
            # with and without a condition in one pass
            nobody = torch.arange(2 * n, device=x.device) >= n
            told, plain = self._predicted(x.repeat(2, 1), time, asked.repeat(2, 1), nobody).chunk(2)
            return plain + guidance * (told - plain)

        return Schedule(self.config.schedule, self.config.predicts).sample(predict, noise, steps)

    def _predicted(self, x: Tensor, time: int, asked: Tensor, without: Tensor | None) -> Tensor:
        made: Tensor = self.network(x, torch.full((len(x),), time, device=x.device), asked, without)
        return made


def standardised(conditions: Floats, middle: Floats, size: Floats) -> NDArray[np.float32]:
    """Conditions as the network takes them, (n, feature)."""
    return np.clip((np.atleast_2d(conditions) - middle) / size, -LIMIT, LIMIT).astype(np.float32)
