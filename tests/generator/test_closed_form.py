"""Generators in closed form, on made-up people whose adapter is a function of their condition."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_residuals import smooth_set

from physioedge.generator.adapter_set import AdapterSet, Origin, load_set, save_set
from physioedge.generator.files import Generator, load_generator, save_generator
from physioedge.generator.regression import (
    KINDS,
    compacted,
    fit_knn,
    fit_krr,
    fit_mean,
    fit_nearest,
    fit_ridge,
)
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import ConditionError, PhysioEdgeError

SLOTS = (SlotSpec(name="a.B", shape=(2, 3)), SlotSpec(name="b.B", shape=(2, 4)))
ORIGIN = Origin(task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source="0" * 64, slots=SLOTS)
FEATURES = 8
MAP = np.random.default_rng(7).normal(size=(FEATURES, ORIGIN.width))


def people(n=30, each=4, noise=0.05, seed=0):
    """Rows of people; an adapter follows from the person's condition by one linear map, plus a constant."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n, FEATURES))
    conditions = np.repeat(centre, each, 0) + noise * rng.normal(size=(n * each, FEATURES))
    adapters = np.repeat(centre, each, 0) @ MAP + 1.0 + noise * rng.normal(size=(n * each, ORIGIN.width))
    person = np.repeat([f"p{i}" for i in range(n)], each)
    return AdapterSet(origin=ORIGIN, conditions=conditions, adapters=adapters, person=person, details={"steps": 1})


def left_out_error(fit):
    found = people()
    held = tuple(f"p{i}" for i in range(5))
    test = found.of(np.isin(found.person, held))
    made = fit(found.without(held))(test.conditions)
    return float(((made - test.adapters) ** 2).mean() / ((test.adapters - found.adapters.mean(0)) ** 2).mean())


def test_knowing_the_person_beats_the_mean_where_there_is_something_to_know():
    errors = {kind: left_out_error(fit) for kind, fit in KINDS.items()}
    assert errors["mean"] == pytest.approx(1.0, abs=0.15)
    assert errors["ridge"] < 0.1 and errors["krr"] < 0.8 and errors["nearest"] < 1.5


def test_strong_shrinkage_gives_the_mean_person():
    found = people()
    level = np.mean([found.adapters[found.person == p].mean(0) for p in np.unique(found.person)], axis=0)
    for fit in (fit_ridge, fit_krr):
        np.testing.assert_allclose(fit(found, shrink=1e9)(found.conditions[:3]), np.tile(level, (3, 1)), atol=1e-5)
    np.testing.assert_allclose(fit_mean(found)(found.conditions[:1])[0], level, atol=1e-9)


def test_a_person_counts_once_however_many_rows_there_are():
    few = people(n=2, each=1, noise=0.0)
    rows = np.array([0] * 9 + [1])
    many = AdapterSet(origin=ORIGIN, conditions=few.conditions[rows], adapters=few.adapters[rows],
                      person=few.person[rows], details={})  # fmt: skip
    asked = np.random.default_rng(1).normal(size=(3, FEATURES))
    for fit in (fit_mean, lambda s: fit_ridge(s, shrink=0.5)):
        np.testing.assert_allclose(fit(many)(asked), fit(few)(asked), atol=1e-8)


def test_nearest_and_mixes():
    found = people(noise=0.0, each=1)
    np.testing.assert_allclose(fit_nearest(found)(found.conditions), found.adapters)
    mixed = fit_knn(found, neighbours=3)
    from physioedge.generator.regression import _neighbours

    share = _neighbours(mixed.known, mixed.known, 3.0)
    assert ((share > 0).sum(1) == 3).all() and np.allclose(share.sum(1), 1.0)
    assert (share.argmax(1) == np.arange(len(share))).all()


def test_ridge_is_that_of_scikit_learn():
    from sklearn.linear_model import Ridge

    found = people(each=1)
    made = fit_ridge(found, shrink=0.7)
    there = Ridge(alpha=0.7 * FEATURES).fit(made.known, found.adapters)
    asked = np.random.default_rng(2).normal(size=(4, FEATURES))
    np.testing.assert_allclose(made(asked), there.predict((asked - made.middle) / made.size), atol=1e-6)


def condition(features, **changes):
    parts = {
        "kind": "embedding", "source": "0" * 64, "task": {"name": "arrhythmia"}, "backbone": "0" * 64,
        "adapter": "global", "windows": 100, "mean": features[:4].astype(np.float32),
        "deviation": features[4:].astype(np.float32),
    }  # fmt: skip
    return Condition(**{**parts, **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_answers_conditions_and_comes_back_from_disk(kind, tmp_path):
    found = people()
    generator = Generator(origin=ORIGIN, weights=KINDS[kind](found))
    asked = [condition(np.abs(row)) for row in found.conditions[:3]]
    arrays = generator.generate(asked)
    assert [{n: a.shape for n, a in one.items()} for one in arrays] == [{"a.B": (2, 3), "b.B": (2, 4)}] * 3
    assert all(a.dtype == np.float32 for one in arrays for a in one.values())
    np.testing.assert_allclose(ORIGIN.flat(arrays[1]), generator.weights(ORIGIN.features(asked[1]))[0], atol=1e-5)
    save_generator(tmp_path / "g.safetensors", generator)
    again = load_generator(tmp_path / "g.safetensors")
    assert (again.kind, again.task, again.source) == (generator.kind, "arrhythmia", "0" * 64)
    for one, other in zip(again.generate(asked), arrays, strict=True):
        np.testing.assert_allclose(ORIGIN.flat(one), ORIGIN.flat(other), rtol=2e-3, atol=2e-3)


def test_conditions_of_something_else_are_refused_and_wild_ones_bounded():
    generator = Generator(origin=ORIGIN, weights=fit_ridge(people(), shrink=1e-6))
    features = np.abs(people().conditions[0])
    for change in ({"backbone": "1" * 64}, {"kind": "shapelets"}, {"source": "2" * 64}, {"task": {"name": "af"}}):
        with pytest.raises(ConditionError):
            generator.generate([condition(features, **change)])
    with pytest.raises(ConditionError, match="3 features"):
        generator.generate([condition(features, mean=features[:3].astype(np.float32))])
    wild = generator.generate([condition(features * 1e6)])[0]
    assert all(np.linalg.norm(array) <= 50.001 for array in wild.values())


def test_a_set_comes_back_and_a_damaged_one_is_refused(tmp_path):
    found, path = people(), tmp_path / "set.safetensors"
    save_set(path, found)
    again = load_set(path)
    assert again.origin == ORIGIN and (again.person == found.person).all() and again.details == {"steps": 1}
    np.testing.assert_allclose(again.adapters, found.adapters, atol=5e-3)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(PhysioEdgeError, match="adapter set"):
        load_set(path)
    (tmp_path / "g.safetensors").write_bytes(b"no")
    with pytest.raises(PhysioEdgeError, match="generator"):
        load_generator(tmp_path / "g.safetensors")
    with pytest.raises(PhysioEdgeError, match="finite rows"):
        AdapterSet(origin=ORIGIN, conditions=found.conditions, adapters=found.adapters[:, 1:], person=found.person,
                   details={})  # fmt: skip


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_compact_generator_answers_the_same_with_all_directions_and_nearly_with_some(kind):
    found = smooth_set()
    whole = KINDS[kind](found)
    wanted = whole(found.conditions)
    every, few = compacted(whole, 40), compacted(whole, 6)
    np.testing.assert_allclose(every(found.conditions), wanted, atol=1e-6)
    assert len(few.adapters) == 6 and few.mix.shape == (len(found.person), 6)
    lost, more = (np.linalg.norm(one(found.conditions) - wanted) for one in (few, compacted(whole, 1)))
    assert lost < 0.35 * np.linalg.norm(wanted) and (kind == "mean" or more > lost)


def test_a_compact_generator_survives_its_file(tmp_path):
    found = smooth_set()
    weights = compacted(KINDS["krr"](found), 5)
    save_generator(tmp_path / "g", Generator(origin=found.origin, weights=weights))
    again = load_generator(tmp_path / "g").weights
    np.testing.assert_allclose(again(found.conditions[:3]), weights(found.conditions[:3]), atol=2e-2)


def test_some_people_are_drawn_with_all_their_rows():
    found = people(n=6, each=3)
    some = found.some(2, seed=1)
    names, count = np.unique(some.person, return_counts=True)
    assert len(names) == 2 and count.tolist() == [3, 3]
    assert found.some(2, seed=1).person.tolist() == some.person.tolist()
    assert {*found.some(2, seed=2).person.tolist()} != {*names.tolist()}
    assert found.some(6, seed=1) is found and found.some(None, seed=1) is found
