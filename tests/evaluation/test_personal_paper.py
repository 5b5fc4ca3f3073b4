"""Arms that ask for more than a condition: whose shapelets are seen, what is subtracted, and what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge.adapters.sets.making import SetConfig, folds_of
from physioedge.adapters.sets.people import Worn
from physioedge.adapters.sets.residual import ResidualFit
from physioedge.evaluation.personal import paper
from physioedge.evaluation.personal.asked import Asked
from physioedge.evaluation.personal.federated import LEDGER, ask_federated, read_sent
from physioedge.evaluation.personal.judged import Round
from physioedge.evaluation.personal.paper import Recipe, ask_paper, paper_set
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.federated import FederatedFit
from physioedge.generator.paper.fitting import PaperConfig
from physioedge.shapelets.informative import Discovery
from tiny_person import base_of, person, slotted, windows_of

NAMES = ("a", "b", "c", "d")
CONFIG = SetConfig(folds=2, wearers=2, stretches=3, stretch_s=(30.0, 60.0))


class People:
    task, names = "made_up", NAMES

    def worn(self, name, wearer, *, seed):
        target = np.arange(90) % 3
        signals = windows_of(target, 10 * NAMES.index(name) + wearer)
        return Worn(signals=signals, target=np.where(np.arange(90) % 9 == 0, -1, target), time_s=np.arange(90.0))


@pytest.fixture(scope="module")
def network():
    return slotted()


@pytest.fixture
def asked(network, tmp_path, monkeypatch):
    """Two people are judged under a global adapter without them; globals of the folds add 1 and 2 to all numbers."""
    monkeypatch.setattr(paper, "MOST", 4)
    monkeypatch.setattr(paper, "Discovery", partial(Discovery, windows=5, candidates=8))
    monkeypatch.setattr(paper, "PaperConfig", lambda: PaperConfig(width=8, heads=2, blocks=1, steps=3, sampling=2))
    rows = np.repeat([name for fold in folds_of(NAMES, CONFIG, seed=0) for name in fold.held], 6)
    found = AdapterSet(
        origin=Origin(task="made_up", backbone_digest="0", kind="embedding", source="0", slots=network.slots),
        conditions=np.zeros((24, 4)), adapters=np.repeat(np.arange(8.0), 3)[:, None] * np.ones(network.width),
        person=rows, details={"config": {**vars(CONFIG), "residual": {}}},
    )  # fmt: skip
    base = base_of(network)
    each = Round(group="DS1 folds", base=base, names=("a", "c"), barred=("a", "c"))
    subjects = [person(name, np.arange(30) % 3, np.arange(9) % 3, seed=i) for i, name in enumerate(each.names)]
    one = Asked(people=People(), each=each, subjects=subjects, conditions=np.zeros((2, 4)), variant=0, found=found,
                folder=tmp_path, work=tmp_path / "work", digest="d", seed=0, device="cpu", kept={})  # fmt: skip
    part = {"0-0": 1.0, "0-1": 2.0, "everybody": 9.0}
    monkeypatch.setattr(Asked, "part_of", lambda self, folder: part[folder.name] * np.ones(network.width))
    return one


def test_whole_adapters_are_residuals_and_the_global_one_they_were_taken_around(asked):
    made = paper_set(asked, residual=False)
    assert made.person.tolist() == ["a", "a", "c", "c", "b", "b", "d", "d"]
    assert made.whole[:, 0].tolist() == [0 + 1, 1 + 1, 2 + 1, 3 + 1, 4 + 2, 5 + 2, 6 + 2, 7 + 2]
    assert paper_set(asked, residual=True).whole[:, 0].tolist() == list(range(8))
    assert made.tokens.shape[:3] == (8, 2, 3 * 4)
    assert set(made.without(asked.each.barred).person.tolist()) == {"b", "d"}


def test_shapelets_are_found_once_a_set(asked, monkeypatch):
    first = paper_set(asked, residual=False)
    monkeypatch.setattr(paper, "discover_informative", lambda *_, **__: pytest.fail("found again"))
    np.testing.assert_array_equal(paper_set(asked, residual=False).tokens, first.tokens)


def test_generators_see_nobody_who_is_barred_and_the_own_global_part_is_taken_off(asked, monkeypatch):
    seen = []

    def fit(found, config, *, seed):
        seen.append(found)
        return lambda told, *, seed: np.full((len(told), asked.found.origin.width), 5.0) + told.sum((1, 2))[:, None]

    monkeypatch.setattr(paper, "fit_paper", fit)
    made = ask_paper(asked, recipe=Recipe(per_class=2))
    assert set(seen[0].person.tolist()) == {"b", "d"} and seen[0].tokens.shape[2] == 6
    told = np.stack([paper._tokens(asked.each.base, s.calibration, s.calibration_target, seed=0)
                     for s in asked.subjects])  # fmt: skip
    np.testing.assert_allclose(made[:, 0], 5.0 + paper._fewer(told, 2).sum((1, 2)) - 1.0, rtol=1e-5)
    swapped = ask_paper(asked, recipe=Recipe(per_class=2, shuffled=True))
    np.testing.assert_allclose(swapped[::-1], made)
    public = ask_paper(asked, recipe=Recipe(per_class=2, public=True))
    assert (public[0] == public[1]).all() and len(seen) == 1


def test_the_whole_recipe_runs(asked):
    made = ask_paper(asked, recipe=Recipe())
    assert made.shape == (2, asked.found.origin.width) and np.isfinite(made).all()


def test_without_labels_all_places_are_empty(asked):
    unlabelled = [replace(s, calibration_target=np.full_like(s.calibration_target, -1)) for s in asked.subjects]
    found = [paper._tokens(asked.each.base, s.calibration, s.calibration_target, seed=0) for s in unlabelled]
    assert not np.stack(found).any()


def test_federated_averaging_asks_nobody_who_is_judged_and_says_what_it_sent(asked):
    asks = []
    people = SimpleNamespace(names=NAMES, worn=lambda name, wearer, *, seed: asks.append(name) or People().worn(
        name, wearer, seed=seed))  # fmt: skip
    config = FederatedFit(rounds=2, clients=9, local=ResidualFit(steps=1))
    made = ask_federated(replace(asked, people=people), config=config)
    assert asks == ["b", "d"] and made.shape == (2, asked.found.origin.width)
    np.testing.assert_array_equal(made[0], made[1])
    said = json.loads((asked.work / LEDGER).read_text())
    assert said == {"rounds": 2, "bytes_down": 8 * made.shape[1], "bytes_up": 8 * made.shape[1], "people": 2}
    for kept, stays in ((3, 3), (1, 2)):  # a round of fewer people does not take the place of one of more
        (asked.work / LEDGER).write_text(json.dumps({**said, "people": kept}))
        ask_federated(replace(asked, people=people, kept={}), config=config)
        assert read_sent(asked.work)["people"] == stays
