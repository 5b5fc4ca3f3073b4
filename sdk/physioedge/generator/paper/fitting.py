"""Fit and ask the published recipe's generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.generator.dit.schedule import TIMES, Schedule
from physioedge.generator.paper.network import Denoiser
from physioedge.generator.weighing import shares
from physioedge.training.loop import LoopConfig, fit

Floats = NDArray[np.float64]
Tokens = NDArray[np.float32]
_LEAST = 1e-6
_SCHEDULE = Schedule("linear", "x0")


@dataclass(frozen=True, kw_only=True)
class PaperConfig:
    """The recipe; where it is stated, as stated.

    Attributes
    ----------
    width, heads : int
        Not stated beyond GPT-2, whose own are 768 and 12; these fit a processor. `paper_size` has GPT-2's.
    blocks : int
        12.
    chunk : int
        576 numbers a token.
    steps : int
        Not stated.
    batch : int
        64.
    learning_rate : float
        4e-4 of AdamW.
    augmentation : float
        Standard deviation of the noise that is added to standardised LoRA numbers, of not stated size.
    sampling : int
        Steps of the sampler, not stated; variances are linear, 1e-4 to 0.012, over 1000 times.
    device : str
        Of torch.
    half : bool
        Products in bfloat16 while it is fitted.
    """

    width: int = 96
    heads: int = 4
    blocks: int = 12
    chunk: int = 576
    steps: int = 400
    batch: int = 64
    learning_rate: float = 4e-4
    augmentation: float = 0.1
    sampling: int = 50
    device: str = "cpu"
    half: bool = False


def paper_size(device: str) -> PaperConfig:
    """GPT-2's own width: 85 million weights, for a GPU."""
    return PaperConfig(width=768, heads=12, steps=2000, device=device, half=True)


@dataclass(frozen=True, kw_only=True)
class PaperSet:
    """What it learns from.

    Attributes
    ----------
    tokens : float32 (row, draw, shapelet, token_width)
        Labelled shapelets of each row's wearer, found anew in several parts of the recording.
    whole : float64 (row, number)
        All of the slots' LoRA, the global adapter's part included.
    person : str (row,)
    """

    tokens: Tokens
    whole: Floats
    person: NDArray[np.str_]

    def without(self, people: tuple[str, ...]) -> PaperSet:
        """The rows of everybody else."""
        kept = ~np.isin(self.person, people)
        return PaperSet(tokens=self.tokens[kept], whole=self.whole[kept], person=self.person[kept])


@dataclass(frozen=True, kw_only=True)
class PaperGenerator:
    """A fitted generator: shapelets in, whole LoRA numbers out."""

    config: PaperConfig
    network: Denoiser
    level: Floats
    spread: Floats

    def __call__(self, tokens: Tokens, *, seed: int = 0) -> Floats:
        """Numbers (n, number) of conditions (n, shapelet, token_width); one draw each, of the same noise."""
        device = self.config.device
        noise = np.random.default_rng(seed).standard_normal((1, len(self.level)), np.float32)
        start = torch.from_numpy(np.repeat(noise, len(tokens), axis=0)).to(device)
        told = torch.from_numpy(tokens).to(device)

        def predict(x: Tensor, time: int) -> Tensor:
            made: Tensor = self.network(x, torch.full((len(x),), time, device=device), told)
            return made

        with torch.inference_mode():
            made = _SCHEDULE.sample(predict, start, self.config.sampling)
        return np.asarray(made.cpu().numpy().astype(np.float64) * self.spread + self.level)


def fit_paper(found: PaperSet, config: PaperConfig, *, seed: int) -> PaperGenerator:
    """A generator fitted to a set; people count alike, however many rows there are of each.

    Parameters
    ----------
    found : PaperSet
    config : PaperConfig
    seed : int
        Of weights, rows, times, noise, and which of a row's draws of shapelets is seen.
    """
    rows, draws, shapelets, width = found.tokens.shape
    share = shares(found.person)
    level = share @ found.whole
    spread = np.sqrt(share @ (found.whole - level) ** 2) + _LEAST
    clean = ((found.whole - level) / spread).astype(np.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Denoiser(
            found.whole.shape[1], shapelets, width, width=config.width, blocks=config.blocks, heads=config.heads,
            chunk=config.chunk,
        ).to(config.device)  # fmt: skip

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        picked = rng.choice(rows, config.batch, p=share)
        x = clean[picked] + config.augmentation * rng.standard_normal((config.batch, clean.shape[1]), np.float32)
        times = torch.from_numpy(rng.integers(TIMES, size=config.batch))
        noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
        noisy = _SCHEDULE.noised(torch.from_numpy(x), noise, times).to(config.device)
        told = torch.from_numpy(found.tokens[picked, rng.integers(draws, size=config.batch)]).to(config.device)
        with torch.autocast(noisy.device.type, torch.bfloat16, enabled=config.half):
            made = network(noisy, times.to(config.device), told)
        return nn.functional.mse_loss(made.float(), torch.from_numpy(clean[picked]).to(config.device))

    loop = LoopConfig(steps=config.steps, learning_rate=config.learning_rate)
    fit(network, loss_of_step, loop, label=f"paper, seed {seed}")
    return PaperGenerator(config=config, network=network.eval(), level=level, spread=spread)
