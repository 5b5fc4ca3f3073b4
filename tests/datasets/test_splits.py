"""Splits: nobody is learned from and judged; what is stored covers the data; a draw is the same everywhere."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_here import root_of
from physioedge.datasets import mitbih, registry, slpdb_rr, splits
from physioedge.datasets.splits import Calibration, Split
from physioedge_runtime.errors import DatasetError

TINY = Split(
    dataset="tiny",
    version=1,
    rule="by hand",
    seed=None,
    pretrain=("tiny:1", "tiny:2"),
    evaluate=("tiny:3", "tiny:4"),
    excluded={"tiny:5": "noisy"},
    folds=(("tiny:3",), ("tiny:4",)),
    aliases={"tiny:9": "tiny:1"},
    calibration=Calibration(kind="seconds", amount=60, why="a minute"),
)


@pytest.mark.parametrize("name", registry.NAMES)
def test_no_person_is_on_two_sides(name):
    split = splits.load_split(name)
    sides = [split.people(part) for part in (split.pretrain, split.evaluate, tuple(split.excluded))]
    assert sum(map(len, sides)) == len(set().union(*sides)) == len(split.subjects)
    for fold, members in enumerate(split.folds):
        assert split.people(split.fit_people(fold)) & split.people(members) == set()
        assert split.people(split.fit_people(fold)) <= sides[0] | sides[1]
    if registry.info(name).evaluation_only:
        assert split.pretrain == ()


def test_no_person_is_judged_in_one_set_and_learned_from_in_another():
    stored = [splits.load_split(name) for name in registry.NAMES]
    learned = set().union(*(split.people(split.pretrain) for split in stored))
    judged = set().union(*(split.people(split.evaluate) for split in stored))
    assert len(learned) > 100 and learned & judged == set()


def test_known_aliases_count_as_one_person():
    split = splits.load_split("mitbih")
    assert split.person("mitbih:202") == split.person("mitbih:201") == mitbih.subject_of("202")
    assert "mitbih:201" in split.evaluate and len(split.pretrain) == 21 and len(split.evaluate) == 22
    assert set(split.pretrain) == {mitbih.subject_of(record) for record in mitbih.FIT}
    assert set(split.evaluate) == {mitbih.subject_of(record) for record in mitbih.DS2}
    assert {slpdb_rr.subject_of(record) for record in slpdb_rr.RECORDS} == set(splits.load_split("slpdb_rr").subjects)


@pytest.mark.data
@pytest.mark.parametrize("name", registry.NAMES)
def test_the_split_speaks_of_everybody(name):
    """Whoever is in the data is in the split, and the other way round."""
    root = root_of(name)
    split = splits.load_split(name)
    assert split.people(registry.dataset(name).subjects(root)) == split.people(split.subjects)


@pytest.mark.data
@pytest.mark.parametrize("name", registry.NAMES)
def test_calibration_records_are_the_persons_own(name):
    root = root_of(name)
    module, split = registry.dataset(name), splits.load_split(name)
    records = module.records(root)
    for person, members in split.calibration.records.items():
        assert set(members) <= set(records)
        assert {module.subject_of(member) for member in members} == {person}
        assert any(module.subject_of(r) == person and r not in members for r in records)  # something is left to judge


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"pretrain": ("tiny:1", "tiny:3")}, "pretrain and evaluate"),
        ({"evaluate": ("tiny:3", "tiny:9"), "folds": ()}, "pretrain and evaluate"),
        ({"excluded": {"tiny:4": "?"}}, "evaluate and excluded"),
        ({"excluded": {"tiny:2": "?"}}, "pretrain and excluded"),
        ({"pretrain": ("tiny:1", "tiny:1")}, "repeats"),
        ({"folds": (("tiny:3",),)}, "partition"),
        ({"folds": (("tiny:3", "tiny:4"), ("tiny:4",))}, "partition"),
        ({"calibration": Calibration(kind="seconds", amount=0, why="x")}, "calibration of 0"),
        ({"calibration": Calibration(kind="weeks", amount=1, why="x")}, "weeks"),
        ({"calibration": Calibration(kind="none", why="")}, "without a reason"),
        ({"calibration": Calibration(kind="records", why="x", records={"tiny:3": ("a",)})}, "every judged person"),
        ({"calibration": Calibration(kind="records", why="x", records={"tiny:3": ("a",), "tiny:4": ()})}, "every"),
    ],
)
def test_a_split_that_leaks_is_refused(tmp_path, change, word):
    with pytest.raises(DatasetError, match=word):
        splits.write_split(replace(TINY, **change), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stored_split_comes_back(tmp_path):
    splits.write_split(TINY, tmp_path)
    assert splits.load_split("tiny", tmp_path) == TINY
    assert TINY.fit_people(0) == ("tiny:1", "tiny:2", "tiny:4")


STARTS = 1000.0 + np.array([0.0, 30.0, 59.9, 60.0, 90.0])


@pytest.mark.parametrize(
    ("part", "first", "later"),
    [
        (Calibration(kind="seconds", amount=60, why="x"), [1, 1, 1, 0, 0], [0] * 5),
        (Calibration(kind="windows", amount=2, why="x"), [1, 1, 0, 0, 0], [0] * 5),
        (Calibration(kind="records", why="x", records={"tiny:3": ("b",), "tiny:4": ("c",)}), [0] * 5, [1] * 5),
        (Calibration(kind="none", why="x"), [0] * 5, [0] * 5),
    ],
)
def test_the_calibration_part_is_never_scored(part, first, later):
    split = replace(TINY, calibration=part)
    found = [split.calibrates("tiny:3", record, ["b", "a"], STARTS, 1000.0) for record in ("a", "b")]
    assert [mask.astype(int).tolist() for mask in found] == [first, later]
    assert all(mask.dtype == np.bool_ for mask in found)


@pytest.mark.parametrize(("subject", "record"), [("tiny:1", "a"), ("tiny:3", "z"), ("tiny:5", "a")])
def test_only_judged_people_calibrate(subject, record):
    with pytest.raises(DatasetError, match="judged person"):
        TINY.calibrates(subject, record, ["a"], STARTS, 0.0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda v: v.update(schema=2), "schema"),
        (lambda v: v.pop("pretrain"), "pretrain"),
        (lambda v: v.update(extra=1), "extra"),
        (lambda v: v.update(dataset="other"), "'other'"),
        (lambda v: v["calibration"].pop("why"), "why"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, word):
    path = splits.write_split(TINY, tmp_path)
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(DatasetError, match=word):
        splits.load_split("tiny", tmp_path)
    path.write_text("[")
    with pytest.raises(DatasetError, match=r"tiny\.json"):
        splits.load_split("tiny", tmp_path)
    path.write_text("[]")
    with pytest.raises(DatasetError, match="schema"):
        splits.load_split("tiny", tmp_path)


@given(st.integers(5, 60), st.integers(0, 2**31), st.data())
def test_a_draw_deals_everybody_once_and_evenly(count, seed, data):
    people = [f"p{i:02d}" for i in range(count)]
    strata = {p: data.draw(st.sampled_from("ab")) for p in people}
    fit_count, fold_count = data.draw(st.integers(0, count - 3)), data.draw(st.integers(2, 3))
    pretrain, evaluate, folds = splits.draw(people, seed, fit_count, fold_count, strata)
    assert sorted(pretrain + evaluate) == people and len(pretrain) == fit_count
    assert sorted(sum(folds, ())) == list(evaluate)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    in_a = sum(strata[p] == "a" for p in people)
    assert abs(sum(strata[p] == "a" for p in pretrain) - in_a * fit_count / count) <= 1
    assert splits.draw(people[::-1], seed, fit_count, fold_count, strata) == (pretrain, evaluate, folds)


def test_the_stored_draw_follows_its_rule():
    split = splits.load_split("slpdb_rr")
    people = sorted({slpdb_rr.subject_of(record) for record in slpdb_rr.RECORDS})
    assert splits.draw(people, split.seed, 6, 5) == (split.pretrain, split.evaluate, split.folds)
