"""Conditions of a device beside those that generators learn from: what is told of them, and by real streams."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from physioedge.evaluation.personal.conditions import Twice, compared, condition_rows, distances
from physioedge_runtime.errors import DatasetError


def person(record: str, at: float, off: float = 0.0) -> Twice:
    trained = np.array([at, -at, 1.0 + at, 2.0])
    return Twice(record=record, device=trained + off, trained=trained, apart=0.1, same_label=0.99)


def test_distances_are_in_units_of_what_lies_between_people():
    people = [person("a", 0.0), person("b", 1.0, 0.1), person("c", 2.0)]
    between = distances(people)
    assert between.shape == (3, 3) and between[0, 0] == 0.0
    spread = np.array([0.0, 1.0, 2.0]).std()
    assert between[2, 0] == pytest.approx(2 / spread)  # the last feature is the same for all, and not looked at
    rows = {row.metric: row for row in condition_rows([person("a", 0.0), person("b", 1.0), person("c", 2.0)], "g")}
    assert rows["to_own"].value == 0.0 and rows["nearest_is_own"].value == 1.0
    assert rows["to_others"].value > rows["to_others"].low > 0 and rows["same_label"].value == pytest.approx(0.99)


def test_somebody_who_lies_nearest_to_another_is_counted():
    wrong = Twice(
        record="b", device=person("c", 2.0).trained, trained=person("b", 1.0).trained, apart=1.0, same_label=0.5
    )
    rows = {row.metric: row.value for row in condition_rows([person("a", 0.0), wrong, person("c", 2.0)], "g")}
    assert rows["nearest_is_own"] == pytest.approx(2 / 3) and rows["adapters_apart"] == pytest.approx(0.4)


@pytest.mark.slow
def test_a_person_streamed_lies_nearer_to_their_own_condition_than_to_anothers():
    from physioedge.adapters.sets.beats import BeatPeople
    from physioedge.datasets import mitbih
    from physioedge.generator.files import load_generator
    from physioedge.models import shipped
    from physioedge_runtime import Bundle
    from physioedge_runtime.engine import load_engine

    try:
        mitbih.load("101")
    except DatasetError as error:
        pytest.skip(f"MIT-BIH is not here: {error.came}")
    bundle = Bundle.open(shipped.BUNDLE)
    found = compared(
        BeatPeople(shipped.backbone(), None), shipped.adapter_of("arrhythmia"),
        load_generator(shipped.generator_of("arrhythmia")), bundle, load_engine(bundle), ("101", "108", "119"),
    )  # fmt: skip
    between = distances(found)
    assert (between.argmin(1) == np.arange(3)).all()
    assert all(one.same_label > 0.9 for one in found)
