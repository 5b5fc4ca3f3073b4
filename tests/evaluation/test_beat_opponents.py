"""Features of beats and the arms of the arrhythmia table without a network, on heart beats that nobody had."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from physioedge.evaluation import beat_minirocket, beat_opponents
from physioedge.evaluation.beat_draws import beat_weights
from physioedge.evaluation.beat_features import beat_features, rr_features
from physioedge.evaluation.beat_minirocket import drawn_windows, fit_rocket, fit_softmax
from physioedge.evaluation.beat_opponents import opponent_predictions
from physioedge.tasks.arrhythmia import BeatRecord
from physioedge.tasks.sampling import DrawConfig
from physioedge_runtime.bundle.contract import WindowSpec
from physioedge_runtime.errors import EvaluationRefused, MissingExtra

FS_HZ, LOOKAHEAD = 125.0, 75
CUT = WindowSpec(context_samples=100, window_samples=400, lookahead_samples=LOOKAHEAD, trigger="beat")
N, S, V, F = range(4)


def made_up(name: str, n_beats: int = 160, *, height_mv: float = 1.2) -> BeatRecord:
    """Beats of S come early and look like any other, beats of V are wide and upside down, those of F neither."""
    rng = np.random.default_rng(int(name))
    label = rng.choice(4, n_beats, p=[0.7, 0.12, 0.12, 0.06])
    label[1:][label[:-1] != N] = N
    interval_s = 0.8 * (1 + 0.02 * rng.standard_normal(n_beats))
    interval_s[label == S] *= 0.6
    peak_s = 0.5 + np.cumsum(interval_s)
    t = np.arange(round((peak_s[-1] + 1.5) * FS_HZ)) / FS_HZ
    x = 0.01 * rng.standard_normal(t.size)
    for kind, at_s in zip(label, peak_s, strict=True):
        x += (-1.3 if kind == V else 1.0) * height_mv * bump(t - at_s, 0.045 if kind == V else 0.011)
        x += height_mv * ((kind != V) * 0.1 * bump(t - at_s + 0.16, 0.025) + 0.25 * bump(t - at_s - 0.28, 0.05))
    anchor = np.rint(peak_s * FS_HZ).astype(np.int64)
    signal = np.stack([x, -0.5 * x]).astype(np.float32)
    return BeatRecord(name=name, subject=f"mitbih:{name}", signal=signal, anchor=anchor, label=label.astype(np.int64))


def bump(t: np.ndarray, width_s: float) -> np.ndarray:
    return np.exp(-0.5 * (t / width_s) ** 2)


def features(record: BeatRecord) -> dict[str, np.ndarray]:
    return beat_features(record, FS_HZ, LOOKAHEAD)


def test_an_early_beat_has_small_ratios_and_only_the_past_counts():
    steps = np.array([125] * 12 + [100] * 14 + [60, 140] + [100] * 3)
    found = rr_features(np.cumsum(np.concatenate([[50], steps])), FS_HZ, LOOKAHEAD)
    early, late, calm = 27, 28, 25
    assert found["pre_rr_s"][early] == 0.48 and found["pre_pre_rr_s"][early] == 0.8
    assert found["pre_over_local"][early] == found["pre_over_local_median"][early] == pytest.approx(0.6)
    assert found["pre_over_record"][early] == pytest.approx(60 / steps[:26].mean())
    assert found["pre_over_local"][late] == pytest.approx(140 / 96) and found["pre_over_pre_pre"][late] > 2
    assert found["pre_over_local"][calm] == pytest.approx(1) and found["local_over_record"][calm] < 0.95
    assert found["local_rr_cv"][calm] == 0 < found["local_rr_cv"][late]
    # the next beat is seen where it is within 0.6 s, and is "not yet" elsewhere
    assert found["post_rr_s"][early - 1] == 0.48 and found["post_rr_s"][early] == found["post_rr_s"][-1] == 0.6
    assert np.isnan(found["pre_rr_s"][0]) and np.isnan(found["pre_over_local"][:2]).all()
    assert all(len(column) == 32 for column in found.values())


def test_a_wide_beat_differs_from_those_before_it():
    record = made_up("101")
    found = features(record)
    judged = np.arange(len(record.label)) > 10
    normal, wide = (judged & (record.label == kind) for kind in (N, V))
    assert found["qrs_width_s"][wide].min() > 1.5 * found["qrs_width_s"][normal].max()
    assert found["width_over_usual"][wide].min() > 1.5 > 1.2 > np.median(found["width_over_usual"][normal])
    assert found["qrs_alike"][wide].max() < 0 < 0.9 < found["qrs_alike"][normal].min()
    assert found["distance_over_usual"][wide].min() > 3 * np.median(found["distance_over_usual"][normal])
    assert found["upright"][wide].max() < 0.3 and found["upright"][normal].min() > 0.8
    np.testing.assert_allclose(found["r_mv"][normal], 1.2, atol=0.15)
    peak = found["qrs3_mv"]  # -50 ms + 3/9 of 150 ms: the R peak
    np.testing.assert_allclose(peak[judged], found["r_mv"][judged], atol=1e-9)
    assert np.median(found["t_over_qrs"][normal]) == pytest.approx(0.26, abs=0.03)


def test_size_and_level_are_in_the_raw_features_alone():
    record = made_up("101", 40)
    plain = features(record)
    larger = features(replace(record, signal=(2 * record.signal + 0.7).astype(np.float32)))
    for name, column in plain.items():
        np.testing.assert_allclose(larger[name], (2 if name.endswith("_mv") else 1) * column, atol=1e-4, err_msg=name)
    assert sum(name.endswith("_mv") for name in plain) == 28


def test_nothing_later_than_the_window_is_looked_at():
    record = made_up("101", 60)
    plain = features(record)
    for i in (0, 1, 25, 40):
        last = int(record.anchor[i]) + LOOKAHEAD
        signal, seen = record.signal.copy(), record.anchor <= last
        signal[:, last + 1 :] = np.random.default_rng(i).standard_normal(signal[:, last + 1 :].shape)
        other = features(replace(record, signal=signal, anchor=np.append(record.anchor[seen], last + 1 + i)))
        for name, column in plain.items():
            np.testing.assert_array_equal(other[name][i], column[i], err_msg=name)
        signal[:, last - 20 :] += 5.0  # but up to there it is
        assert features(replace(record, signal=signal))["t7_mv"][i] != plain["t7_mv"][i]


def test_beats_weigh_as_networks_draw_them():
    label, record = np.array([0] * 16 + [2] * 5), np.array([0] * 12 + [1] * 4 + [0] * 1 + [1] * 4)
    weight = beat_weights(label, record, (0.6, 0.1, 0.3), 0.5)
    assert weight.mean() == pytest.approx(1)
    assert weight[:16].sum() / weight[16:].sum() == pytest.approx(2)  # nobody has the second class
    assert weight[:12].sum() / weight[12:16].sum() == pytest.approx((12 / 4) ** 0.5)
    assert weight[17:].sum() / weight[16] == pytest.approx(2) and len(set(weight[:12].round(12))) == 1


@pytest.fixture
def few_features(monkeypatch):
    pytest.importorskip("aeon", reason="aeon, of the extra `rivals`, is not installed")
    monkeypatch.setattr(beat_minirocket, "FEATURES", 3 * 84 * 4)


@pytest.mark.parametrize("arm", ["classical", "minirocket"])
def test_an_arm_learns_early_and_wide_beats_of_other_people(arm, few_features, monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn, of the extra `rivals`, is not installed")
    monkeypatch.setitem(beat_opponents._TREES, "max_iter", 40)
    train = [made_up(name, 240) for name in ("101", "106", "108")]
    test = [made_up("100", height_mv=0.8), made_up("103")]
    found = opponent_predictions(arm, train, test, DrawConfig(), CUT, FS_HZ, seed=0)
    assert [p.record for p in found] == ["100", "103"]
    for p, record in zip(found, test, strict=True):
        kept = record.anchor >= CUT.anchor_index
        np.testing.assert_array_equal(p.label, record.label[kept])
        np.testing.assert_allclose(p.time_s, record.anchor[kept] / FS_HZ)
        assert p.scores.dtype == np.float32 and p.embedding.shape == (kept.sum(), 0) and (p.label == F).any()
        np.testing.assert_allclose(np.exp(p.scores).sum(1), 1, atol=1e-4)
        called = p.scores.argmax(1)
        for kind in (N, S, V):
            assert (called[p.label == kind] == kind).mean() > 0.85, kind
        prior = np.log([0.998, 0.001, 0.001])  # rare classes are believed less, not never
        assert (p.scores + prior).argmax(1).tolist().count(N) >= called.tolist().count(N)


def test_arms_say_what_they_miss(monkeypatch):
    train = [made_up("101", 20), made_up("106", 20)]
    for arm, package in (
        ("classical", "sklearn.ensemble"),
        ("minirocket", "aeon.transformations.collection.convolution_based"),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match="rivals"):
            opponent_predictions(arm, train, train, DrawConfig(), CUT, FS_HZ, seed=0)


def test_minirocket_needs_somebody_to_leave_out(few_features):
    with pytest.raises(EvaluationRefused, match="mitbih:101"):
        fit_rocket([made_up("101", 30)] * 2, DrawConfig(), CUT, FS_HZ, 0)


def test_minirocket_answers_each_window_on_its_own(few_features, monkeypatch):
    train = [made_up("101", 60), made_up("106", 60)]
    rocket = fit_rocket(train, DrawConfig(), CUT, FS_HZ, 0)
    windows = train[0].windows(CUT)[0]
    whole = rocket.log_probability(windows)
    monkeypatch.setattr(beat_minirocket, "_BATCH", 7)
    np.testing.assert_allclose(rocket.log_probability(windows), whole, atol=1e-9)
    np.testing.assert_allclose(rocket.log_probability(3 * windows + 1), whole, atol=0.05)  # no matter how large
    assert rocket.log_probability(windows[:0]).shape == (0, 3)
    again = fit_rocket(train, DrawConfig(), CUT, FS_HZ, 0).log_probability(windows)
    np.testing.assert_allclose(again, whole, atol=1e-6)
    assert np.abs(fit_rocket(train, DrawConfig(), CUT, FS_HZ, 1).log_probability(windows) - whole).max() > 1e-3


def test_windows_are_drawn_once_each_and_rare_classes_more_often(monkeypatch):
    monkeypatch.setattr(beat_minirocket, "FIT_WINDOWS", 60)
    records = [made_up("101"), made_up("106")]
    windows, label, person = drawn_windows(records, DrawConfig(), CUT, np.random.default_rng(0))
    assert windows.shape == (60, 1, CUT.input_samples) and len(np.unique(windows[:, 0, 300:], axis=0)) == 60
    known = {one.tobytes(): (record.label[k], record.subject)
             for record in records for one, k in zip(*record.windows(CUT), strict=True)}  # fmt: skip
    assert [known[one.tobytes()] for one in windows] == list(zip(label, person, strict=True))
    share = np.bincount(np.concatenate([record.label for record in records]), minlength=4)[:3] / 320
    assert ((label == S).mean(), (label == V).mean()) > (1.4 * share[S], 1.4 * share[V]) and label.max() == V


def test_ridge_outputs_become_probabilities_of_even_classes():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [900, 60, 240])
    weight = (400 / np.array([900, 60, 240]))[label]
    blind = fit_softmax(0.3 * rng.standard_normal((1200, 3)), label, weight)
    probability = softmax(blind[3])
    np.testing.assert_allclose(probability, 1 / 3, atol=0.05)  # and not 0.75, 0.05, 0.2
    outputs = np.eye(3)[label] * 0.8 + 0.3 * rng.standard_normal((1200, 3))
    matrix = fit_softmax(outputs, label, weight)
    probability = softmax(outputs @ matrix[:3] + matrix[3])
    assert (probability.argmax(1) == label).mean() > 0.85
    mean = np.array([weight[label == k] @ probability[label == k] for k in range(3)]).sum(0) / 1200
    np.testing.assert_allclose(mean, 1 / 3, atol=0.01)
    # as sure as it is right
    best = probability.max(1)
    assert weight @ best == pytest.approx(weight @ (probability.argmax(1) == label), rel=0.05)


def softmax(scores: np.ndarray) -> np.ndarray:
    top = np.exp(scores - scores.max(-1, keepdims=True))
    return top / top.sum(-1, keepdims=True)
