from dataclasses import replace

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.evaluation.opponents import spectral, spectral_forward
from physioedge.tasks import heart_rate
from physioedge.tasks.windowed import chosen
from windows_made_up import length_of, windows_of


def run_of(person, rate_bpm, cadence_bpm, seed):
    """A PPG of a pulse and a stronger movement, and an accelerometer that feels the movement alone."""
    rng = np.random.default_rng(seed)
    ppg = np.zeros((len(rate_bpm), 1, length_of(heart_rate.TASK, "ppg")))
    acc = np.zeros((len(rate_bpm), 1, length_of(heart_rate.TASK, "acc")))
    for i, (rate, cadence) in enumerate(zip(rate_bpm, cadence_bpm, strict=True)):
        for out, fs_hz, pulse in ((ppg, 64.0, 1.0), (acc, 32.0, 0.0)):
            t = np.arange(out.shape[2]) / fs_hz
            move = 1.5 * np.sin(2 * np.pi * cadence / 60 * t + i)
            beat = pulse * np.sin(2 * np.pi * rate / 60 * t + 2 * i)
            out[i, 0] = beat + move + rng.normal(0, 0.05, len(t))
    return {"ppg": ppg, "acc": acc}, [person] * len(rate_bpm)


@pytest.fixture(scope="module")
def runs():
    rates = {"a": 90 + np.arange(20.0), "b": 150 - np.arange(20.0)}
    parts = [run_of(person, rate, np.full(20, 120.0 if person == "b" else 75.0), i)
             for i, (person, rate) in enumerate(rates.items())]  # fmt: skip
    samples = {kind: np.concatenate([part[0][kind] for part in parts]) for kind in ("ppg", "acc")}
    target = np.concatenate(list(rates.values())).astype(np.float32)[:, None]
    people = [person for part in parts for person in part[1]]
    return windows_of(heart_rate.TASK, target, people, samples=samples)


def error(answer, windows):
    return float(np.abs(answer - windows.target).mean())


def test_the_accelerometer_takes_the_movement_away(runs):
    a, b = (chosen(runs, runs.subject == person) for person in "ab")
    assert error(spectral.fit_predict_alone(a, b, 0), b) < 2
    assert error(spectral.fit_predict(a, b, 0), b) < 2
    assert error(spectral.fit_predict_causal(a, b, 0), b) < 3
    assert error(spectral_forward.fit_predict(a, b, 0), b) < 3
    assert error(spectral_forward.fit_predict_lag8s(a, b, 0), b) < 2
    blind = [chosen(w, np.ones(len(w.target), bool), ("acc",)) for w in (a, b)]
    assert error(spectral.fit_predict_alone(*blind, 0), b) > 10


def test_the_causal_path_does_not_know_what_comes(runs):
    choice = spectral.Choice("both", 0.1, 7.0)
    emitted = spectral.emission(runs, "both")
    whole = spectral.tracked(emitted, runs.record, choice, ahead=False)
    changed = emitted.copy()
    changed[15:20] = changed[15:20, ::-1]
    after = spectral.tracked(changed, runs.record, choice, ahead=False)
    assert np.array_equal(whole[:15], after[:15])
    assert np.array_equal(whole[20:], after[20:])  # another record
    assert not np.array_equal(whole[15:20], after[15:20])


def test_a_swing_in_one_axis_is_cleaned_away(runs):
    """One axis feels the arm alone, three others the steps."""
    b = chosen(runs, runs.subject == "b")
    t = np.arange(b.samples["acc"].shape[2]) / 32.0
    steps = 4.0 * np.sin(2 * np.pi * 170 / 60 * t)
    acc = np.concatenate([b.samples["acc"], *[np.broadcast_to(steps, b.samples["acc"].shape)] * 3], axis=1)
    moving = replace(b, samples={**b.samples, "acc": acc.astype(np.float32)})
    cadence = np.searchsorted(spectral.GRID_BPM, 120)
    by_axis, by_mean = (spectral.emission(moving, cleaning)[:, cadence] for cleaning in ("axes", "both"))
    assert by_axis.max() < 0.6 * by_mean.min()


def test_the_tracker_knows_the_past_alone(runs):
    a, b = (chosen(runs, runs.subject == person) for person in "ab")
    short = chosen(b, np.arange(20) < 12)
    whole, part = (spectral_forward.fit_predict(a, w, 0) for w in (b, short))
    assert np.array_equal(whole[:12], part)
    whole, part = (spectral_forward.fit_predict_lag8s(a, w, 0) for w in (b, short))
    assert np.array_equal(whole[:8], part[:8])
    assert not np.array_equal(whole[:12], part)


def test_the_path_is_the_best_of_all(monkeypatch):
    """Against every path of three windows over a small grid."""
    from itertools import product

    grid = np.array([50.0, 60.0, 70.0, 80.0])
    monkeypatch.setattr(spectral, "GRID_BPM", grid)
    rng = np.random.default_rng(3)
    for _ in range(20):
        emitted = rng.random((3, 4))
        choice = spectral.Choice("both", 0.1, 8.0)
        gain = np.log(emitted + 0.1)

        def worth(path, gain=gain):
            steps = np.diff(grid[list(path)])
            return gain[np.arange(3), list(path)].sum() - ((steps / 8.0) ** 2).sum()

        best = max(product(range(4), repeat=3), key=worth)
        found = spectral.tracked(emitted, np.array(["r"] * 3), choice, ahead=True)
        assert found.tolist() == grid[list(best)].tolist()


@pytest.mark.data
def test_three_bpm_on_a_person_left_out():
    windows = heart_rate.windows(root_of("troika"), context_s=2.0)
    some = chosen(windows, np.isin(windows.subject, ["troika:01", "troika:05", "troika:08"]))
    held = some.subject == "troika:08"
    train, test = chosen(some, ~held), chosen(some, held)
    assert error(spectral.fit_predict(train, test, 0), test) < 3.0
