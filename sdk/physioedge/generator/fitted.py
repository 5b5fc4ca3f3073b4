"""Fit a generator of any kind, and fit it to the device that will ask it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.files import DIT, Generator
from physioedge.generator.perceptron import MLP
from physioedge.generator.regression import KINDS, compacted


def fit_generator(
    kind: str, found: AdapterSet, *, seed: int, rank: int | None = None, steps: int | None = None,
    checkpoint: Path | None = None,
) -> Generator:  # fmt: skip
    """A generator of a set.

    Parameters
    ----------
    kind : str
        Key of `physioedge.generator.regression.KINDS`, ``mlp`` or ``dit``.
    found : AdapterSet
    seed : int
        Of what is drawn; closed forms draw nothing.
    rank : int, optional
        Directions of the adapters that a closed form keeps, see `physioedge.generator.regression.compacted`, or that
        ``mlp`` generates.
    steps : int, optional
        Of the training of ``mlp`` or ``dit``, if not as many as usual.
    checkpoint : Path, optional
        What such a training goes on from, and is saved to.
    """
    if kind == MLP:
        from physioedge.generator.networks import MlpFit, as_arrays, fit_mlp

        given = {name: value for name, value in (("components", rank), ("steps", steps)) if value is not None}
        fitted = fit_mlp(found, MlpFit(**given), seed=seed, checkpoint=checkpoint)
        return Generator(origin=found.origin, weights=as_arrays(fitted))
    if kind == DIT:
        from physioedge.generator.dit.config import DitConfig
        from physioedge.generator.dit.fitting import fit_dit

        config = DitConfig() if steps is None else DitConfig(steps=steps)
        return Generator(origin=found.origin, weights=fit_dit(found, config, seed=seed, checkpoint=checkpoint))
    weights = KINDS[kind](found)
    return Generator(origin=found.origin, weights=weights if rank is None else compacted(weights, rank))


def for_device(generator: Generator, reference: Path) -> Generator:
    """The generator for conditions as a device sends them.

    Conditions of a set are less what the people have in common whom each global adapter was fitted on; a device sends
    them whole. What the people of *its* global adapter have in common is taken off here once and for all.

    Parameters
    ----------
    generator : Generator
    reference : Path
        Of the global adapter that the device's bundle holds, see `physioedge.adapters.sets.base`.
    """
    with np.load(reference, allow_pickle=False) as file:
        common = np.concatenate([file["mean"], file["deviation"]])
    weights = generator.weights
    return replace(generator, weights=replace(weights, middle=weights.middle + common))
