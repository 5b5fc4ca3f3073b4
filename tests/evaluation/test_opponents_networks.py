import numpy as np
import pytest

from physioedge.evaluation.opponents import cnn, minirocket
from physioedge.evaluation.opponents.inputs import Inputs, class_weights
from physioedge.evaluation.opponents.ridge import PENALTIES, fit_ridge
from physioedge.tasks.windowed import chosen
from windows_made_up import length_of, task_of, windows_of


def noisy_tones(labels=("slow", "fast"), n=80, *, sensors=("ppg", "acc"), name="made_up"):
    """Two classes that differ by the frequency of the first sensor; for values the frequency itself."""
    rng = np.random.default_rng(0)
    task = task_of(name, labels=labels, sensors=sensors, window_s=4.0)
    kind = np.arange(n) % 2
    hz = np.where(kind == 0, 1.0, 2.5) + rng.uniform(-0.3, 0.3, n)
    t = np.arange(length_of(task, "ppg")) / 64.0
    tone = np.sin(2 * np.pi * hz[:, None] * t + rng.uniform(0, 6, (n, 1))) + rng.normal(0, 0.3, (n, len(t)))
    samples = {"ppg": tone[:, None], "acc": rng.normal(size=(n, 3, length_of(task, "acc")))}
    target = kind.astype(np.int64) if labels else hz.astype(np.float32)[:, None]
    subject = np.array([f"p{i // 8}" for i in range(n)])
    windows = windows_of(task, target, subject, samples={kind: samples[kind] for kind in sensors})
    held = np.isin(subject, ["p0", "p1"])
    return chosen(windows, ~held), chosen(windows, held)


def test_the_cnn_learns_classes_and_the_same_seed_is_the_same(monkeypatch):
    monkeypatch.setattr(cnn, "LEAST_STEPS", 40)
    train, test = noisy_tones()
    scores = cnn.fit_predict(train, test, 0)
    assert np.allclose(scores.sum(1), 1)
    assert (scores.argmax(1) == test.target).mean() > 0.9
    assert np.array_equal(scores, cnn.fit_predict(train, test, 0))
    assert not np.array_equal(scores, cnn.fit_predict(train, test, 1))


def test_the_cnn_learns_a_value(monkeypatch):
    monkeypatch.setattr(cnn, "LEAST_STEPS", 80)
    train, test = noisy_tones(labels=())
    answer = cnn.fit_predict(train, test, 0)
    assert answer.shape == test.target.shape
    floor = np.abs(test.target - train.target.mean()).mean()
    assert np.abs(answer - test.target).mean() < 0.6 * floor


def test_minirocket_learns_classes_and_values():
    pytest.importorskip("aeon", reason="aeon, of the extra `rivals`, is not installed")
    train, test = noisy_tones()
    assert (minirocket.fit_predict(train, test, 0).argmax(1) == test.target).mean() > 0.9
    train, test = noisy_tones(labels=())
    floor = np.abs(test.target - train.target.mean()).mean()
    assert np.abs(minirocket.fit_predict(train, test, 0) - test.target).mean() < 0.5 * floor


def test_minirocket_gives_all_windows_of_a_record_one_answer():
    pytest.importorskip("aeon", reason="aeon, of the extra `rivals`, is not installed")
    train, test = noisy_tones(name="af", sensors=("ppg",))
    scores = minirocket.fit_predict(train, test, 0)
    for record in set(test.record.tolist()):
        assert np.ptp(scores[test.record == record], axis=0).max() == 0


def test_scales_come_from_the_windows_fitted_on_alone():
    train, test = noisy_tones()
    inputs = Inputs.of(train)
    louder = chosen(test, np.ones(len(test.target), bool))
    louder.samples["acc"][:] *= 10
    assert inputs.shapes(louder)["acc"].std() == pytest.approx(10, rel=0.1)
    assert inputs.shapes(train)["acc"].std() == pytest.approx(1, rel=0.01)
    assert inputs.shapes(louder)["ppg"].std() == pytest.approx(1, rel=0.01)
    assert inputs.levels(louder).max() == 5.0  # clipped


def test_class_weights_make_classes_equal():
    weight = class_weights(np.array([0, 0, 0, 1]), 3)
    assert weight.tolist() == pytest.approx([4 / 6, 2.0, 0.0])


def test_ridge_is_the_weighted_ridge_of_scikit_learn(monkeypatch):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 90)).astype(np.float32)
    y = np.column_stack([x[:, 0] + 3.0, rng.normal(size=40)])
    weight, people = rng.uniform(0.5, 2.0, 40), np.repeat([f"p{i}" for i in range(8)], 5)
    coefficients, intercept, penalty = fit_ridge(x, y, weight, people, 0)
    assert penalty in PENALTIES
    there = Ridge(alpha=penalty).fit(x.astype(float), y, sample_weight=weight)
    assert np.allclose(coefficients, there.coef_.T, atol=1e-4)
    assert np.allclose(intercept, there.intercept_, atol=1e-4)


def test_the_penalty_is_chosen_on_people_left_out():
    """Features that only tell people apart: within a person they fit, on others they do not."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(12), 20)
    x = (rng.normal(size=(12, 60))[person] + 0.01 * rng.normal(size=(240, 60))).astype(np.float32)
    y = rng.normal(size=(12, 1))[person]
    names = np.array([f"p{i}" for i in person])
    among_people = fit_ridge(x, y, np.ones(240), names, 0)[2]
    among_windows = fit_ridge(x, y, np.ones(240), np.array([f"w{i}" for i in range(240)]), 0)[2]
    assert among_people > among_windows
