"""Rows of the arrhythmia table: what is pooled, what is left out, and centring."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physioedge.evaluation import arrhythmia as table
from physioedge.evaluation.arms import Prediction, load_predictions, refuse_overlap, save_predictions
from physioedge.models.heads import PrototypeHead
from physioedge_runtime.errors import EvaluationRefused

NO_PRIOR = [np.zeros(3)]


def prediction(record: str, label: list[int], called: list[int], time_s: list[float] | None = None) -> Prediction:
    scores = 4.0 * np.eye(3, dtype=np.float32)[called]
    times = np.arange(len(label), dtype=float) if time_s is None else np.array(time_s)
    embedding = np.random.default_rng(int(record)).standard_normal((len(label), 5)).astype(np.float32)
    return Prediction(record=record, label=np.array(label), time_s=times, scores=scores, embedding=embedding)


def row(rows, metric):
    (found,) = (r for r in rows if r.metric == metric)
    return found


SEED = [prediction("100", [0, 0, 1, 2, 3, 4], [0, 2, 1, 2, 2, 0]), prediction("103", [0, 0, 0, 0], [0, 0, 0, 1])]


def test_fusion_and_unknown_beats_are_not_scored():
    counts = table.matrices([SEED], NO_PRIOR)
    assert counts.shape == (1, 2, 3, 3)
    assert counts[0, 0].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]] and counts[0, 1, 0].tolist() == [3, 1, 0]
    rows = table.metric_rows("global", "DS2", counts)
    assert row(rows, "accuracy").value == pytest.approx(6 / 8)
    found = row(rows, "sensitivity:V")
    assert (found.value, found.n, found.seeds, found.group, found.arm) == (1.0, 2, 1, "DS2", "global")
    low_high = row(rows, "accuracy")
    assert low_high.low <= low_high.value <= low_high.high


def test_the_prior_moves_the_answer_and_time_cuts_the_start():
    prior = [np.array([0.0, -9.0, -9.0])]
    assert table.matrices([SEED], prior)[0, 0, :, 0].tolist() == [2, 1, 1]
    assert table.matrices([SEED], NO_PRIOR, after_s=2.0)[0].sum((1, 2)).tolist() == [2, 2]


def test_where_fusion_and_unknown_beats_land():
    rows = table.landing_rows("global", [SEED], NO_PRIOR)
    assert {r.metric: r.value for r in rows if r.metric.startswith("landing:F")} == {
        "landing:F->N": 0.0, "landing:F->S": 0.0, "landing:F->V": 1.0,
    }  # fmt: skip
    assert row(rows, "landing:Q->N").value == 1.0 and row(rows, "landing:Q->N").n == 1


def test_calling_everything_normal():
    rows = table.all_n_rows(SEED)
    assert row(rows, "accuracy").value == pytest.approx(6 / 8) and row(rows, "kappa").value == 0.0
    assert row(rows, "sensitivity:V").value == 0.0 and row(rows, "sensitivity:N").value == 1.0


def test_rows_by_subject_have_the_classes_they_have():
    other = [prediction("100", [0, 0, 1, 2, 3, 4], [0, 0, 1, 2, 2, 0]), SEED[1]]
    rows = table.subject_rows("global", [SEED, other], NO_PRIOR * 2)
    mine = [r for r in rows if r.group == "subject:103"]
    assert [r.metric for r in mine] == ["accuracy", "sensitivity:N"] and mine[0].value == 0.75 and mine[0].n == 4
    first = next(r for r in rows if r.group == "subject:100" and r.metric == "accuracy")
    assert first.value == pytest.approx((3 / 4 + 4 / 4) / 2) and first.seeds == 2


def test_calibration_pools_the_scored_beats():
    confidence = np.exp(4) / (np.exp(4) + 2)
    assert table.calibration_row("global", "DS2", [SEED], NO_PRIOR).value == pytest.approx(confidence - 6 / 8)
    probability, correct = table.pooled_confidence(SEED, NO_PRIOR[0])
    assert len(probability) == 8 and correct.sum() == 6


def head() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"weight": rng.standard_normal((4, 5)), "bias": rng.standard_normal(4), "prototypes": np.eye(3, 4)}


def with_scores(p: Prediction, offset: float = 0.0) -> Prediction:
    h, e = head(), p.embedding + offset
    scores = (e @ h["weight"].T + h["bias"]) @ h["prototypes"].T
    return Prediction(record=p.record, label=p.label, time_s=p.time_s, scores=scores.astype(np.float32),
                      embedding=e.astype(np.float32))  # fmt: skip


def person(record: str, offset: float = 0.0) -> Prediction:
    plain = prediction(record, [0] * 40, [0] * 40, [20.0 * i for i in range(40)])
    return with_scores(plain, offset)


def test_no_centring_changes_nothing():
    (moved,) = table.centred([person("100")], head(), np.full(5, 3.0), 0.0)
    np.testing.assert_allclose(moved.scores, person("100").scores, atol=1e-5)


def test_full_centring_undoes_a_constant_shift_of_a_person():
    reference = np.linspace(-1, 1, 5)
    (plain,), (shifted,) = (table.centred([person("100", o)], head(), reference, 1.0) for o in (0.0, 2.5))
    np.testing.assert_allclose(shifted.scores, plain.scores, atol=1e-4)
    assert np.abs(person("100", 2.5).scores - person("100").scores).max() > 0.5
    (half,), (none,) = (table.centred([person("100", 2.5)], head(), reference, s) for s in (0.5, 0.0))
    np.testing.assert_allclose(half.scores, (none.scores + shifted.scores) / 2, atol=1e-4)


def test_the_mean_is_taken_of_the_first_five_minutes_only():
    base = person("100")
    later = base.embedding.copy()
    later[base.time_s >= 300] += 7.0
    changed = Prediction(record="100", label=base.label, time_s=base.time_s, scores=base.scores, embedding=later)
    (one,), (two,) = (table.centred([p], head(), np.zeros(5), 1.0) for p in (base, changed))
    np.testing.assert_allclose(one.scores[base.time_s < 300], two.scores[base.time_s < 300])


def test_a_known_subject_is_refused():
    refuse_overlap(("mitbih:101", "mitbih:106"), ("mitbih:100",))
    with pytest.raises(EvaluationRefused, match="mitbih:201"):
        refuse_overlap(("mitbih:101", "mitbih:201"), ("mitbih:201", "mitbih:100"))


def test_predictions_round_trip(tmp_path):
    network = PrototypeHead(5, 3, dim=4)
    path = tmp_path / "deep" / "p.npz"
    save_predictions(path, SEED, network, {"log_prior": np.array([0.0, -1.0, -2.0])})
    found, extra = load_predictions(path)
    assert [p.record for p in found] == ["100", "103"]
    np.testing.assert_array_equal(found[0].scores, SEED[0].scores)
    np.testing.assert_array_equal(found[0].label, SEED[0].label)
    np.testing.assert_allclose(found[1].embedding, SEED[1].embedding, atol=2e-3)
    assert extra["log_prior"].tolist() == [0.0, -1.0, -2.0]
    np.testing.assert_array_equal(extra["prototypes"], network.prototypes.numpy())
    assert [p.name for p in path.parent.iterdir()] == ["p.npz"]


def test_predictions_without_a_network_have_no_head(tmp_path):
    empty = [replace(p, embedding=np.zeros((len(p.label), 0), np.float32)) for p in SEED]
    save_predictions(tmp_path / "p.npz", empty, None, {"log_prior": np.zeros(3)})
    found, extra = load_predictions(tmp_path / "p.npz")
    assert list(extra) == ["log_prior"] and found[0].embedding.shape == (6, 0)
    np.testing.assert_array_equal(table.matrices([found], NO_PRIOR), table.matrices([SEED], NO_PRIOR))


def test_what_an_arm_gains_is_taken_person_by_person():
    """A gain that everybody has alike has no width, however far the people are apart."""
    base = np.array([[[[8, 2, 0], [0, 0, 0], [0, 0, 0]], [[4, 6, 0], [0, 0, 0], [0, 0, 0]]]], float)
    better = base + np.array([[1, -1, 0], [0, 0, 0], [0, 0, 0]], float)
    rows = table.gain_rows("global_taught", "DS2", better, "global", base)
    found = row(rows, "accuracy")
    assert (found.arm, found.group) == ("global_taught", "DS2:minus:global")
    assert found.value == pytest.approx(0.1) and found.low == pytest.approx(0.1) == pytest.approx(found.high)
    assert row(table.gain_rows("a", "DS2", base, "b", base), "macro_f1").value == 0.0
