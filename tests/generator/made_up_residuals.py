"""Made-up people whose residual is a smooth function of their condition, plus noise."""

from __future__ import annotations

import numpy as np

from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge_runtime.bundle.contract import SlotSpec

SLOTS = (SlotSpec(name="a.B", shape=(3, 4)), SlotSpec(name="b.B", shape=(2, 14)))
ORIGIN = Origin(task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source="0" * 64, slots=SLOTS)
FEATURES = 12


def smooth_set(n=40, each=3, noise=0.2, seed=0):
    """Rows of `n` people: three hidden traits make condition and residual."""
    world, rng = np.random.default_rng(5), np.random.default_rng(seed)
    seen, bend, out = world.normal(size=(3, FEATURES)), world.normal(size=(3, 5)), world.normal(size=(5, ORIGIN.width))
    trait = np.repeat(rng.normal(size=(n, 3)), each, 0)
    conditions = trait @ seen + noise * rng.normal(size=(n * each, FEATURES))
    adapters = np.tanh(trait @ bend) @ out + 1.0 + noise * rng.normal(size=(n * each, ORIGIN.width))
    person = np.repeat([f"p{seed}-{i}" for i in range(n)], each)
    return AdapterSet(origin=ORIGIN, conditions=conditions, adapters=adapters, person=person, details={})


def lopsided(found, rows):
    """The set with rows as listed, so that some people have many."""
    return AdapterSet(origin=ORIGIN, conditions=found.conditions[rows], adapters=found.adapters[rows],
                      person=found.person[rows], details={})  # fmt: skip
