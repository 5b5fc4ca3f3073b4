"""Arms that ask a generator: who made the residual, and the controls beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from physioedge.generator import controls
from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.dit.config import Sampling
from physioedge.generator.regression import fit_knn, fit_krr, fit_mean, fit_nearest, fit_ridge
from physioedge.generator.spaces import FourierSpace, VeraSpace, in_space

Floats = NDArray[np.float64]
Generate = Callable[[Floats], Floats]
"""Conditions (n, feature) to residuals (n, width)."""
Fitting = Callable[[AdapterSet, int], Generate]


def _mlp(found: AdapterSet, seed: int) -> Generate:
    from physioedge.generator.networks import MlpFit, fit_mlp

    return fit_mlp(found, MlpFit(), seed=seed)


def _cgan(found: AdapterSet, seed: int) -> Generate:
    from physioedge.generator.adversarial import CganFit, fit_cgan

    return fit_cgan(found, CganFit(), seed=seed)


def _dit(found: AdapterSet, seed: int) -> Generate:
    from physioedge.generator.dit.config import DitConfig
    from physioedge.generator.dit.fitting import fit_dit

    return fit_dit(found, DitConfig(), seed=seed)


def _mean_of(kinds: Sequence[str], found: AdapterSet, seed: int) -> Generate:
    """Their mean; every one has a seed of its own, so that the same kind several times is several generators."""
    parts = [GENERATORS[kind](found, seed + 1000 * i) for i, kind in enumerate(kinds)]
    return lambda conditions: np.mean([part(conditions) for part in parts], axis=0)


GENERATORS: Mapping[str, Fitting] = {
    "mean": lambda found, seed: fit_mean(found),
    "nearest": lambda found, seed: fit_nearest(found),
    "knn": lambda found, seed: fit_knn(found),
    "ridge": lambda found, seed: fit_ridge(found),
    "krr": lambda found, seed: fit_krr(found),
    "mlp": _mlp,
    "cgan": _cgan,
    "dit": _dit,
    "krr_fourier": lambda found, seed: in_space(fit_krr, found, FourierSpace.of(found.origin)),
    "krr_vera": lambda found, seed: in_space(fit_krr, found, VeraSpace.of(found.origin)),
    "bagged": partial(_mean_of, ("mlp",) * 8),
    "mixed": partial(_mean_of, ("mlp", "cgan", "knn", "krr")),
}
"""By their names in the table. Two give vectors of FourierFT and VeRA in place of the slots' numbers; the last two are
means of eight MLPs, and of four kinds."""
CONTROLS = ("shuffled", "null", "foreign")


def _sampled(sampling: Sampling, generate: Generate, found: AdapterSet) -> Generate:
    """A fitted diffusion transformer with another sampler."""
    from physioedge.generator.dit.model import Dit

    assert isinstance(generate, Dit)
    return replace(generate, sampling=sampling)


def _guided(weight: float, generate: Generate, found: AdapterSet) -> Generate:
    """Answers so many times as far from the one to nobody's condition; for diffusion its sampler does that."""

    def answer(conditions: Floats) -> Floats:
        nobody = controls.null(generate, found, len(conditions))
        return nobody + weight * (generate(conditions) - nobody)

    return answer


@dataclass(frozen=True, kw_only=True)
class Derived:
    """What is made of a fitted generator without another fit.

    Attributes
    ----------
    plain : str
        Key of `GENERATORS`.
    make : callable
        Of that generator and the set it was fitted to.
    """

    plain: str
    make: Callable[[Generate, AdapterSet], Generate]


DERIVED: Mapping[str, Derived] = {
    **{
        f"dit_{name}": Derived(plain="dit", make=partial(_sampled, sampling))
        for name, sampling in {
            **{f"steps{steps}": Sampling(steps=steps) for steps in (1, 2, 4, 50)},
            "draws1": Sampling(samples=1),
            **{f"guided{weight}": Sampling(guidance=weight) for weight in (2, 4)},
        }.items()
    },
    **{
        f"{kind}_guided{weight}": Derived(plain=kind, make=partial(_guided, weight))
        for kind in ("mlp", "krr")
        for weight in (2, 3)
    },
}
"""By their names in the table. A sampler's usual are 10 steps, 8 draws and weight 1."""


def control(
    name: str, generate: Generate, found: AdapterSet, conditions: Floats, person: NDArray[np.str_], seed: int
) -> Floats:
    """What a generator gives (n, width) under a condition that is not the person's.

    Where one person alone is judged `shuffled` takes the condition of somebody of the set.
    """
    if name == "shuffled" and len(np.unique(person)) == 1:
        row = np.random.default_rng(seed).integers(len(found.person))
        return generate(np.repeat(found.conditions[row : row + 1], len(conditions), axis=0))
    made: Mapping[str, Callable[[], Floats]] = {
        "shuffled": partial(controls.shuffled, generate, conditions, person, seed=seed),
        "null": partial(controls.null, generate, found, len(conditions)),
        "foreign": partial(controls.foreign, generate, conditions, person, found),
    }
    return made[name]()
