"""Trials without an adapter set: around the shipped global adapter, of residuals that are fitted here.

Good adapters are fitted on the labels of the first five minutes of the very people who are tried, on each lead; foreign
ones are those of the others among them. What is generated comes from the shipped generator. Who is tried has been seen
by none of these: the people are those of DS2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physioedge.adapters.lora.files import load_levels
from physioedge.adapters.sets.base import Base, Floats, slotted
from physioedge.adapters.sets.residual import LabelledWindows, ResidualFit, fit_residual
from physioedge.evaluation.guard.trials import Say, Trial, Trying, parts_of
from physioedge.evaluation.personal.judged import JudgedBeats, Round
from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.files import load_generator
from physioedge.generator.perceptron import Perceptron
from physioedge.generator.regression import Weights
from physioedge.models import shipped
from physioedge.tasks.arrhythmia import NAME
from physioedge.tasks.levels import rule_of
from physioedge_runtime.errors import MissingExtra

LEAST = 2
"""People, so that everybody has others."""


def trials_fitted_here(judged: JudgedBeats, work: Path, *, people: int, seed: int, say: Say) -> list[Trial]:
    """All trials of so many people of DS2, spread over the list.

    Parameters
    ----------
    judged : JudgedBeats
    work : Path
        For files of finished people.
    people : int
        At least `LEAST` are taken; where fewer are asked for, these are tried on their first lead alone.
    seed : int
        Of what is drawn.
    say : callable
        Given a line for each person.

    Raises
    ------
    MissingExtra
        The shipped weights have no generator that is asked without torch.
    """
    base, generator = shipped_base(), load_generator(shipped.generator_of(NAME))
    if not isinstance(generator.weights, Weights | Perceptron):
        raise MissingExtra(f"a generator of kind {generator.kind!r}", "one asked without torch", "Pass --sets.")
    number = min(max(people, LEAST), len(judged.tests))
    names = tuple(judged.tests[i] for i in np.linspace(0, len(judged.tests) - 1, number).round().astype(int))
    wearers = [(name, variant) for name in names for variant in judged.variants]
    own = np.stack([_fitted(judged, base, *wearer) for wearer in wearers])
    found = AdapterSet(
        origin=generator.origin, conditions=np.zeros((len(own), len(generator.weights.middle))), adapters=own,
        person=np.array([name for name, _ in wearers]), details={"config": {"wearers": len(judged.variants)}},
    )  # fmt: skip
    each = Round(group="DS2", base=base, names=names, barred=())
    here = Trying(judged=judged, each=each, found=found, known=found, generate=generator.weights, seed=seed)
    return here.trials(names, work, say, judged.variants if people >= LEAST else judged.variants[:1])


def shipped_base() -> Base:
    """The shipped global model; its generator takes means and deviations as they are, less those of nobody.

    Raises
    ------
    MissingExtra
        The weights are not installed, or without levels.
    """
    folder = shipped.adapter_of(NAME)
    network, prior = slotted(shipped.backbone(), folder)
    level = load_levels(folder)
    if level is None:
        raise MissingExtra(f"no levels in {folder.name}", "the shipped weights", "Install them again.")
    nobody = np.zeros(network.network.backbone.layout.embedding_dim(network.network.backbone.config))
    return Base(
        network=network, log_prior=prior, reference=nobody, reference_deviation=nobody, level=level,
        rule=rule_of(NAME, len(prior)),
    )  # fmt: skip


def _fitted(judged: JudgedBeats, base: Base, name: str, variant: str) -> Floats:
    before = parts_of(judged, name, variant)[0]
    kept = before.of(before.target >= 0)
    known = LabelledWindows(log_prior=base.log_prior, signals=kept.signals, target=kept.target, seed=0)
    return fit_residual(base.network, known, ResidualFit()).astype(np.float64)
