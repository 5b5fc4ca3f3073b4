"""Features of known signals, and trees that find what the features tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physioedge.evaluation.opponents import classical, features
from physioedge.evaluation.opponents.features_ecg import ecg_features
from physioedge.evaluation.opponents.features_motion import motion_features
from physioedge.evaluation.opponents.features_pulse import pulse_features
from physioedge.evaluation.opponents.features_rr import intervals_of, rhythm, tachogram_features
from physioedge.evaluation.opponents.features_signal import power_spectrum, slope, strongest_peaks
from physioedge.evaluation.opponents.features_skin import skin_features
from physioedge.tasks.windowed import CANONICAL_HZ, Task, TaskWindows
from physioedge_runtime.errors import EvaluationRefused


def task(sensor: str, labels: tuple[str, ...], window_s: float, name: str = "made_up") -> Task:
    return Task(
        name=name, dataset="made_up", labels=labels, units="class" if labels else "mmHg", sensors=(sensor,),
        window_s=window_s, hop_s=window_s, metric="macro_f1" if labels else "mae", protocol="made up",
    )  # fmt: skip


def windows_of(of: Task, samples: np.ndarray, target: np.ndarray, people: int, context_s: float = 0.0) -> TaskWindows:
    n = len(target)
    person = np.arange(n) * people // n
    return TaskWindows(
        task=of, samples={of.sensors[0]: samples.astype(np.float32)}, context_s=context_s, target=target,
        subject=np.array([f"p{i:02d}" for i in person]), record=np.array([f"r{i:02d}" for i in person]),
        start_s=np.arange(n) * of.window_s, calibration=np.zeros(n, np.bool_), fold=(person % 2).astype(np.int64),
    )  # fmt: skip


def taken(windows: TaskWindows, kept: np.ndarray) -> TaskWindows:
    names = ("target", "subject", "record", "start_s", "calibration", "fold")
    samples = {sensor: array[kept] for sensor, array in windows.samples.items()}
    return replace(windows, samples=samples, **{name: getattr(windows, name)[kept] for name in names})


def pulse_train(times_s: np.ndarray, duration_s: float, fs_hz: float, width_s: float = 0.1) -> np.ndarray:
    t = np.arange(round(duration_s * fs_hz)) / fs_hz
    return np.exp(-0.5 * ((t[:, None] - times_s) / width_s) ** 2).sum(1)


def test_a_sine_has_its_frequency_and_a_line_its_slope():
    t = np.arange(640) / 64
    x = np.stack([np.sin(2 * np.pi * 1.5 * t) + 0.3 * np.sin(2 * np.pi * 3.0 * t), 2.0 * t])
    frequency, power = power_spectrum(x, 64.0)
    peaks = strongest_peaks(frequency, power[:1], 0.5, 5.0, 2)
    np.testing.assert_allclose([peaks["peak1_hz"][0], peaks["peak2_hz"][0]], [1.5, 3.0], atol=0.05)
    np.testing.assert_allclose(slope(x, 64.0)[1], 2.0)


def test_regular_and_irregular_rhythms_differ_and_a_short_list_has_only_its_count():
    rng = np.random.default_rng(0)
    even, wild = rhythm(np.full(30, 0.8) + rng.normal(0, 0.01, 30)), rhythm(rng.uniform(0.4, 1.2, 30))
    assert wild["rmssd"] > 10 * even["rmssd"] and wild["sample_entropy"] > even["sample_entropy"]
    bigeminy = rhythm(np.tile([0.5, 1.1], 15))
    assert bigeminy["early_late"] > 0.4 and bigeminy["lag2"] > 0.8 > 0 > bigeminy["lag1"]
    short = rhythm(np.array([0.8, 0.8]))
    assert short["count"] == 2 and all(np.isnan(value) for name, value in short.items() if name != "count")
    np.testing.assert_allclose(even["rmssd"], np.sqrt(np.mean(np.diff(np.full(30, 0.8)) ** 2)), atol=0.03)


def test_breathing_shows_in_the_tachogram_and_gaps_do_not_count():
    t = np.arange(1200) / 4
    rr = 0.9 + 0.05 * np.sin(2 * np.pi * 0.25 * t)
    samples = np.stack([np.stack([rr, 0 * rr]), np.stack([rr, t < 30])])
    samples[1, 0, :120] = 2.2
    found = tachogram_features(samples.astype(np.float32))
    np.testing.assert_allclose(found["breath_peak_hz"], 0.25, atol=0.01)
    np.testing.assert_allclose(found["mean"], 0.9, atol=0.01)
    np.testing.assert_allclose(found["gap"], [0.0, 0.1])
    assert (found["log_hf"] > found["log_lf"] + 1).all()
    assert intervals_of(np.array([1.0, 1.0, 2.0, 9.0, 3.0]), np.array([0, 0, 0, 1, 0], np.bool_)).tolist() == [1, 2, 3]


@pytest.mark.parametrize("rr_s", [0.5, 0.8, 1.1])
def test_pulses_and_r_peaks_are_found_at_their_rate(rr_s):
    times = np.arange(0.4, 30, rr_s)
    ppg = pulse_features(pulse_train(times, 30, 64.0, 0.2 * rr_s)[None, None].astype(np.float32))
    ecg = ecg_features((pulse_train(times, 30, 125.0, 0.012) * 1.2)[None, None].astype(np.float32))
    for found in (ppg, ecg):
        np.testing.assert_allclose(found["rhythm_mean"], rr_s, rtol=0.01)
        assert found["rhythm_cv"][0] < 0.03 and found["alike"][0] > 0.95
        assert abs(found["rhythm_count"][0] - len(times)) <= 3
    assert ecg["inverted"][0] == 0 and 0.7 < ecg["r_height"][0] < 1.5


def test_a_freeze_has_a_higher_freeze_index_than_a_walk():
    t = np.arange(128) / 32
    walk, freeze = np.sin(2 * np.pi * 1.2 * t), 0.5 * np.sin(2 * np.pi * 5.0 * t)
    samples = np.zeros((2, 6, 128), np.float32)
    samples[:, 1] = 1.0 + np.stack([walk, freeze]) * 0.3
    found = motion_features(samples)
    assert found["sensor0_freeze_index"][1] > found["sensor0_freeze_index"][0] + 2
    assert found["sensor1_dead"].tolist() == [1, 1] and np.isnan(found["together01"]).all()


def test_skin_responses_are_counted_with_their_height():
    t = np.arange(240) / 4
    rises = sum(
        0.3 * (t > at) * (1 - np.exp(-(t - at).clip(0) / 1.0)) * np.exp(-(t - at).clip(0) / 4) for at in (10, 30, 45)
    )
    found = skin_features((2.0 + np.stack([rises, 0 * t]))[:, None].astype(np.float32))
    assert found["responses_per_min"].tolist() == [3, 0]
    assert 0.1 < found["response_height"][0] < 0.3 and found["response_height"][1] == 0


@pytest.mark.parametrize(("sensor", "channels", "seconds"), [
    ("ecg", 1, 6.4), ("ppg", 2, 8.0), ("acc", 9, 4.0), ("eda", 1, 60.0), ("temp", 1, 60.0), ("rr", 2, 300.0),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["flat", "spike", "noise"])
def test_no_signal_breaks_the_features(sensor, channels, seconds, kind):
    size = round(seconds * CANONICAL_HZ[sensor])
    samples = np.zeros((3, channels, size), np.float32)
    if kind == "spike":
        samples[:, :, size // 2] = 1e6
    if kind == "noise":
        samples = np.random.default_rng(1).normal(size=samples.shape).astype(np.float32)
    found = features.columns({sensor: samples})
    assert all(values.shape == (3,) and not np.isinf(values).any() for values in found.values())
    again = features.columns({sensor: samples[1:]})
    for name, values in found.items():  # a window's features are its own
        np.testing.assert_allclose(again[name], values[1:], rtol=1e-6, atol=1e-9, err_msg=name)


def test_a_sensor_without_features_is_refused():
    with pytest.raises(EvaluationRefused, match="sonar"):
        features.columns({"sonar": np.zeros((1, 1, 8), np.float32)})


def test_context_is_left_out_and_records_of_the_rhythm_task_are_joined():
    rng = np.random.default_rng(2)
    of = task("ecg", ("N", "A"), 6.4, "af")
    x = rng.normal(size=(6, 1, 1050))
    made = windows_of(of, x, np.zeros(6, np.int64), people=2, context_s=2.0)
    rows = features.table(made)
    whole = np.stack([x[i : i + 3, :, 250:].transpose(1, 0, 2).reshape(1, -1) for i in (0, 3)]).astype(np.float32)
    wanted = np.stack(list(features.columns({"ecg": whole}).values()), axis=1)
    np.testing.assert_allclose(rows, np.repeat(wanted, 3, axis=0), rtol=1e-5)
    assert features.distinct(made).tolist() == [0, 3]


def test_trees_tell_a_walk_from_a_freeze_in_new_people():
    rng = np.random.default_rng(3)
    t = np.arange(128) / 32
    target = rng.integers(0, 2, 240)
    hz = np.where(target == 1, 5.0, 1.2)[:, None] + rng.normal(0, 0.2, (240, 1))
    x = rng.normal(0, 0.1, (240, 3, 128))
    x[:, 1] += 1 + 0.3 * np.sin(2 * np.pi * hz * t + rng.uniform(0, 6, (240, 1)))
    made = windows_of(task("acc", ("no", "yes"), 4.0), x, target, people=6)
    scores = classical.fit_predict(taken(made, made.fold != 0), taken(made, made.fold == 0), 0)
    np.testing.assert_allclose(scores.sum(1), 1.0)
    assert (scores.argmax(1) == target[made.fold == 0]).mean() > 0.95


def test_a_class_nobody_fitted_on_has_gets_no_score():
    rng = np.random.default_rng(4)
    made = windows_of(task("acc", ("a", "b", "c"), 4.0), rng.normal(size=(60, 3, 128)), np.arange(60) % 2 * 2, people=4)
    scores = classical.fit_predict(taken(made, made.fold != 0), taken(made, made.fold == 0), 1)
    assert scores.shape == (30, 3) and (scores[:, 1] == 0).all()


def test_values_start_from_the_persons_own_mean_and_judged_targets_are_not_read():
    rng = np.random.default_rng(5)
    n, people = 480, 8
    person = np.arange(n) * people // n
    base, change = rng.uniform(90, 130, people)[person], np.tile(np.repeat([0.0, 0.0, 8.0, -8.0], 15), people)
    # pressure rises with the pulse rate
    x = np.stack([pulse_train(np.arange(0.3, 8, 0.8 - 0.02 * c + rng.normal(0, 0.003)), 8, 64.0) for c in change])
    target = np.stack([base + change, 0.6 * (base + change)], axis=1).astype(np.float32)
    made = windows_of(task("ppg", (), 8.0), x[:, None], target, people=people)
    made = replace(made, calibration=np.tile(np.repeat([True, True, False, False], 15), people))
    train, test = taken(made, made.fold != 0), taken(made, made.fold == 0)
    found = classical.fit_predict(train, test, 0)
    judged = ~test.calibration
    own = base[made.fold == 0]
    assert np.abs(found - test.target)[judged, 0].mean() < 0.5 * np.abs(own - test.target[:, 0])[judged].mean()
    hidden = replace(test, target=np.where(judged[:, None], np.float32(np.nan), test.target))
    np.testing.assert_array_equal(classical.fit_predict(train, hidden, 0), found)
