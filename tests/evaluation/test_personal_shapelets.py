"""Generators that read shapelets: whose windows, which stretches, nobody who is barred, and no set they cannot read."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from physioedge.adapters.sets.making import SetConfig, hash_seed
from physioedge.adapters.sets.people import Worn
from physioedge.adapters.sets.stretches import inside, stretches_of
from physioedge.evaluation.personal import by_shapelets
from physioedge.evaluation.personal.asked import Asked
from physioedge.evaluation.personal.by_shapelets import BOTH, BY_SHAPELETS, ask_by_shapelets, statistics
from physioedge.evaluation.personal.run import OWN
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.models.shapelets import Extractor, ShapeletTransform
from physioedge.report.personal_rows import KINDS, kind_of
from physioedge.shapelets.bank import Bank, save_bank
from physioedge_runtime.adaptation.condition import SHAPELETS
from physioedge_runtime.errors import EvaluationRefused
from tiny_person import base_of, person, slotted, windows_of

NAMES, N = ("a", "b", "c", "d"), 90
CONFIG = SetConfig(folds=2, wearers=2, stretches=3, stretch_s=(30.0, 60.0))
ORDER = ("a", "c", "b", "d")
"""Folds come one after the other."""


class People:
    task, names = "made_up", NAMES

    def worn(self, name, wearer, *, seed):
        target = np.arange(N) % 3
        return Worn(signals=windows_of(target, 10 * NAMES.index(name) + wearer + 100 * seed), target=target,
                    time_s=np.arange(float(N)))  # fmt: skip


@pytest.fixture(scope="module")
def base():
    return base_of(slotted())


@pytest.fixture
def bank(base, tmp_path):
    config, kind = base.network.network.backbone.config, base.network.network.backbone.layout.sensors[0].kind
    modality = config.modality(kind)
    rows = torch.randn(5, modality.channels * len(modality.views), 6, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "bank.safetensors"
    save_bank(path, Bank(transforms={kind: ShapeletTransform([rows])}, modalities={kind: modality},
                         training_subjects=(), datasets=(), details={}))  # fmt: skip
    return path


@pytest.fixture
def asked(base, tmp_path):
    rows = np.repeat(ORDER, CONFIG.wearers * CONFIG.stretches)
    found = AdapterSet(
        origin=Origin(task="made_up", backbone_digest="0", kind="embedding", source="0", slots=base.network.slots),
        conditions=np.random.default_rng(0).standard_normal((len(rows), 4)),
        adapters=np.random.default_rng(1).standard_normal((len(rows), base.network.width)), person=rows,
        details={"config": {**vars(CONFIG), "stretch_s": list(CONFIG.stretch_s)}, "seed": 3},
    )  # fmt: skip
    subjects = [person(name, np.arange(30) % 3, np.arange(9) % 3, seed=i) for i, name in enumerate(("a", "c"))]
    return Asked(
        people=People(), each=SimpleNamespace(base=base, barred=("a", "c")), subjects=subjects,
        conditions=np.arange(8.0).reshape(2, 4), variant=0, found=found, folder=tmp_path,
        work=tmp_path / "work", digest="d" * 64, seed=0, device="cpu", kept={},
    )  # fmt: skip


@pytest.fixture
def learned(monkeypatch):
    """What generators learn from and are asked, in place of generators."""
    seen = []

    def fit(found, seed):
        def generate(conditions):
            seen.append((found, conditions))
            return np.ones((len(conditions), found.origin.width))

        return generate

    monkeypatch.setitem(by_shapelets.GENERATORS, "krr", fit)
    return seen


def test_conditions_are_of_the_windows_that_the_sets_own_are_of(asked, bank, learned):
    ask_by_shapelets(asked, kind="krr", beside=False, bank=bank)
    found, told = learned[0]
    assert set(found.person.tolist()) == {"b", "d"} and found.origin.kind == SHAPELETS  # nobody who is barred
    network = asked.each.base.network.network.backbone
    kept = by_shapelets.load_bank(bank)
    extractor = Extractor(network.layout, dict(kept.modalities), dict(kept.transforms)).eval()
    worn = People().worn("d", 1, seed=3)  # the set's seed, not this round's
    with torch.no_grad():
        distances = extractor(*worn.signals).double().numpy()
        own = extractor(*asked.subjects[1].calibration).double().numpy()
    first, *_, last = stretches_of(worn.time_s, CONFIG, seed=hash_seed("d", 1, 3))
    assert first == (0.0, 60.0) and len({first, last}) == 2
    expected = statistics(distances[inside(worn.time_s, *last)])
    np.testing.assert_allclose(found.conditions[-1], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(told[1], statistics(own), rtol=1e-5, atol=1e-5)


def test_embeddings_stand_before_them(asked, bank, learned):
    ask_by_shapelets(asked, kind="krr", beside=True, bank=bank)
    ask_by_shapelets(asked, kind="krr", beside=False, bank=bank)
    (both, told), (alone, told_alone) = learned
    width = asked.found.conditions.shape[1]
    np.testing.assert_array_equal(both.conditions[:, :width], asked.found.without(("a", "c")).conditions)
    np.testing.assert_array_equal(both.conditions[:, width:], alone.conditions)
    np.testing.assert_array_equal(told, np.concatenate([asked.conditions, told_alone], axis=1))


def test_the_set_is_read_once(asked, bank, learned, monkeypatch):
    ask_by_shapelets(asked, kind="krr", beside=False, bank=bank)
    monkeypatch.setattr(People, "worn", lambda *_, **__: pytest.fail("read again"))
    ask_by_shapelets(replace(asked, kept={}), kind="krr", beside=False, bank=bank)
    np.testing.assert_array_equal(learned[0][0].conditions, learned[1][0].conditions)


def test_rows_of_people_without_windows_are_refused(asked, bank):
    more = replace(asked.found, person=np.where(asked.found.person == "d", "taught:A1", asked.found.person))
    for found in (more, asked.found.of(np.arange(24) > 0)):
        with pytest.raises(EvaluationRefused, match="without --taught-rows"):
            ask_by_shapelets(replace(asked, found=found), kind="krr", beside=False, bank=bank)


def test_arms_are_generators_on_the_page():
    assert set(BY_SHAPELETS) <= set(OWN) and f"mlp_{BOTH}" in BY_SHAPELETS
    assert {kind_of(arm) for arm in BY_SHAPELETS} == {KINDS[2]}
    assert {kind_of(f"{arm}_levelling") for arm in BY_SHAPELETS} == {KINDS[3]}
