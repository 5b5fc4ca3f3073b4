"""Whether a generator recites: a nearest neighbour does in full, a mean does not."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge.evaluation.personal import recited as module
from physioedge.evaluation.personal.recited import Recited, overlap, recited, recited_rows
from physioedge.evaluation.personal.run import Seed
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import EvaluationRefused

ORIGIN = Origin(task="t", backbone_digest="0", kind="embedding", source="0", slots=(SlotSpec(name="s", shape=(2, 3)),))


def a_set(people=4, each=3):
    rng = np.random.default_rng(0)
    rows = people * each
    return AdapterSet(
        origin=ORIGIN, conditions=rng.standard_normal((rows, 4)), adapters=rng.standard_normal((rows, 6)),
        person=np.repeat([f"p{i}" for i in range(people)], each), details={},
    )  # fmt: skip


class Base:
    """Calls a window wrong where the residual's first numbers are negative: errors follow from the residual alone."""

    def embed(self, signals, residual=None):
        return np.zeros((len(signals[0]), 2)) if residual is None else np.repeat(residual[None], len(signals[0]), 0)

    def features(self, embedding):
        return np.full(4, embedding.mean())

    def logits(self, embedding):
        wrong = embedding[np.arange(6), np.arange(6)] < 0
        return np.stack([~wrong, wrong], 1).astype(float)


@pytest.fixture
def judged(monkeypatch):
    each = SimpleNamespace(base=Base(), names=("x", "y"), barred=("p0",), group="DS2")
    monkeypatch.setattr(module, "rounds", lambda *_, **__: [each])
    windows = (np.zeros((6, 1)),)

    def subject(name, variant):
        return SimpleNamespace(name=name, calibration=windows, test=windows, target=np.zeros(6, np.int64))

    return SimpleNamespace(variants=("lead 1", "lead 2"), subject=subject)


def seed(found):
    return Seed(seed=0, folder=None, base_digest="", found=found, digest="")


def test_a_nearest_neighbour_recites_and_a_mean_does_not(judged):
    found = recited(judged, seed(a_set()), None, ("nearest", "mean"), ("DS2",), lambda line: None)
    of = {(one.arm, one.person): one for one in found}
    assert set(of) == {(arm, name) for arm in ("nearest", "mean") for name in ("x", "y")}
    for name in ("x", "y"):
        assert of["nearest", name].distance_ratio == pytest.approx(0.0, abs=1e-5)
        assert of["nearest", name].same_errors == 1.0
        assert of["mean", name].distance_ratio > 0.3
        assert 0.0 <= of["nearest", name].same_errors_of_two < 1.0


def test_overlap_is_of_windows_that_are_wrong():
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert overlap(a, b) == pytest.approx(1 / 3)
    assert math.isnan(overlap(a & ~a, b & ~b))


def test_rows_leave_out_who_has_no_error_and_keep_their_distance():
    def one(person, ratio, same):
        return Recited(arm="krr", group="DS2", person=person, distance_ratio=ratio, same_errors=same,
                       same_errors_of_two=0.5)  # fmt: skip

    rows = recited_rows("arrhythmia", [[one("a", 1.0, 0.2), one("b", 3.0, math.nan)]])
    value = {row.metric: row for row in rows}
    assert value["distance_ratio"].value == 2.0 and value["distance_ratio"].n == 2
    assert value["same_errors"].value == pytest.approx(0.2)
    assert all(math.isfinite(row.low) and math.isfinite(row.high) for row in rows)


def test_it_wants_a_set(judged):
    with pytest.raises(EvaluationRefused, match="without a set"):
        recited(judged, seed(None), None, ("krr",), ("DS2",), lambda line: None)
