"""How a diffusion transformer is shaped, fitted and sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from physioedge_runtime.errors import PhysioEdgeError

SCHEDULES = ("cosine", "linear")
PREDICTIONS = ("x0", "v")
_MOST = {"width": 4096, "blocks": 64, "heads": 64, "steps": 10_000_000, "batch": 65_536}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How adapters are drawn; chance comes in by the seed alone.

    Attributes
    ----------
    steps : int
        Of the sampler, 1 to 1000: as many passes through the network.
    samples : int
        Their mean is the answer.
    guidance : float
        Weight of classifier-free guidance: 1 is the conditional network alone, 0 the one without a condition.
    """

    steps: int = 10
    samples: int = 8
    guidance: float = 1.0

    def __post_init__(self) -> None:
        whole = type(self.steps) is int and type(self.samples) is int
        if not (whole and 1 <= self.steps <= 1000 and 1 <= self.samples <= 1024 and math.isfinite(self.guidance)):
            raise _unusable(self, "1 to 1000 steps, 1 to 1024 samples and a finite guidance")


@dataclass(frozen=True, kw_only=True)
class DitConfig:
    """One diffusion transformer.

    Attributes
    ----------
    width, blocks, heads : int
        Of the transformer; the width is a multiple of twice the heads.
    schedule : str
        ``cosine`` or ``linear``, see `physioedge.generator.dit.schedule.Schedule`.
    predicts : str
        What the network gives: ``x0`` the clean adapter, ``v`` the velocity.
    steps, batch : int
        Of training; 0 steps leave the network as it begins. Each row of a batch is a person drawn uniformly, then one
        of the person's rows.
    learning_rate, weight_decay : float
        AdamW's, see `physioedge.training.loop.LoopConfig`.
    condition_dropout : float
        Share of rows whose condition is replaced by the learned null condition.
    condition_noise : float
        Standard deviation of what is added to standardised conditions at every step.
    averaging : float
        Decay of the running mean of weights that is kept in the end; 0 keeps the last ones.
    sampling : Sampling
        What the fitted generator begins with.
    """

    width: int = 128
    blocks: int = 4
    heads: int = 4
    schedule: str = "cosine"
    predicts: str = "x0"
    steps: int = 1000
    batch: int = 64
    learning_rate: float = 4e-4
    weight_decay: float = 0.01
    condition_dropout: float = 0.1
    condition_noise: float = 0.3
    averaging: float = 0.995
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES or self.predicts not in PREDICTIONS:
            raise _unusable(self, f"a schedule of {SCHEDULES} and a prediction of {PREDICTIONS}")
        for name, most in _MOST.items():
            value, least = getattr(self, name), 0 if name == "steps" else 1
            if type(value) is not int or not least <= value <= most:
                raise _unusable(f"{name} {value!r:.60}", f"a whole number of {least} to {most}")
        if self.width % (2 * self.heads):
            raise _unusable(f"width {self.width} with {self.heads} heads", "a multiple of twice the heads")
        numbers = (self.learning_rate, self.weight_decay, self.condition_noise)
        if not (
            0 <= self.condition_dropout <= 1 and 0 <= self.averaging < 1 and all(0 <= n < math.inf for n in numbers)
        ):
            raise _unusable(self, "dropout and averaging within 0 and 1, rates and noise of 0 or more")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DitConfig:
        """Inverse of `dataclasses.asdict`; an unknown key raises ``TypeError``."""
        return cls(**{**values, "sampling": Sampling(**values["sampling"])})


def _unusable(came: object, expected: str) -> PhysioEdgeError:
    return PhysioEdgeError(f"{came!s:.300}", expected, "Change the configuration.")
