"""Generators that are made of others: means, and answers farther from the one to nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physioedge.evaluation.personal import generated
from physioedge.evaluation.personal.generated import DERIVED, GENERATORS
from physioedge.generator import controls
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.networks import MlpFit
from physioedge.generator.regression import fit_knn, fit_krr
from physioedge_runtime.bundle.contract import SlotSpec


@pytest.fixture(scope="module")
def found() -> AdapterSet:
    rng = np.random.default_rng(0)
    origin = Origin(task="t", backbone_digest="0" * 64, kind="embedding", source="0" * 64,
                    slots=(SlotSpec(name="q.B", shape=(2, 3)),))  # fmt: skip
    person = np.repeat(np.array(list("abcdefgh")), 5)
    conditions = rng.normal(size=(len(person), 4))
    adapters = conditions @ rng.normal(size=(4, 6)) + 0.1 * rng.normal(size=(len(person), 6))
    return AdapterSet(origin=origin, conditions=conditions, adapters=adapters, person=person, details={})


def test_a_mean_is_that_of_its_parts(found: AdapterSet, monkeypatch: pytest.MonkeyPatch) -> None:
    from physioedge.generator import networks

    real, seeds = networks.fit_mlp, []

    def quick(known: AdapterSet, config: MlpFit, *, seed: int) -> generated.Generate:
        seeds.append(seed)
        return real(known, replace(config, steps=20), seed=seed)

    monkeypatch.setattr(networks, "fit_mlp", quick)
    asked = found.conditions[:3] + 0.5
    said = GENERATORS["bagged"](found, 2)(asked)
    assert seeds == [2 + 1000 * i for i in range(8)]
    parts = [quick(found, MlpFit(), seed=seed)(asked) for seed in seeds[:8]]
    assert np.allclose(said, np.mean(parts, axis=0)) and not np.allclose(parts[0], parts[1])


def test_four_kinds_have_a_quarter_each(found: AdapterSet, monkeypatch: pytest.MonkeyPatch) -> None:
    from physioedge.generator import adversarial, networks

    monkeypatch.setattr(networks, "fit_mlp", lambda known, config, *, seed: lambda c: np.full((len(c), 6), 4.0))
    monkeypatch.setattr(adversarial, "fit_cgan", lambda known, config, *, seed: lambda c: np.full((len(c), 6), 8.0))
    asked = found.conditions[:3] + 0.5
    rest = fit_knn(found)(asked) + fit_krr(found)(asked)
    assert np.allclose(GENERATORS["mixed"](found, 0)(asked), (12.0 + rest) / 4)


def test_guidance_goes_on_from_nobodys_answer(found: AdapterSet) -> None:
    plain, asked = fit_krr(found), found.conditions[:3] + 0.5
    nobody = controls.null(plain, found, 3)
    guided = DERIVED["krr_guided2"]
    assert guided.plain == "krr"
    said = guided.make(plain, found)
    assert np.allclose(said(asked) - nobody, 2 * (plain(asked) - nobody))
    assert np.allclose(said(found.conditions[:0]), 0.0)  # nobody asked, nothing said
