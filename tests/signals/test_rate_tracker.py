from itertools import pairwise, product

import numpy as np
import pytest

from physioedge.signals.rate_tracker import RateTracker, Steps, median_of, tracked_rates
from physioedge_runtime.errors import ShapeError

GRID_BPM = np.arange(40.0, 201.0)
STEPS = Steps(scale_bpm=3.0, leak=0.01, power=1.0)


def peak_at(rate_bpm, width_bpm=4.0, floor=0.05):
    return np.exp(-0.5 * ((GRID_BPM - rate_bpm) / width_bpm) ** 2) + floor


def follow(tracker, windows):
    return [tracker.push(window) for window in windows]


def test_it_is_the_sum_over_all_paths():
    """Beliefs and late answers against every path of four windows over a small grid."""
    grid, steps = np.array([50.0, 60.0, 70.0]), Steps(scale_bpm=8.0, leak=0.05, power=0.7)
    rng = np.random.default_rng(0)
    said = rng.random((4, 3))
    kernel = np.exp(-np.abs(grid[:, None] - grid) / 8.0)
    move = 0.95 * kernel / kernel.sum(1, keepdims=True) + 0.05 / 3
    newest, late = np.zeros(3), np.zeros(3)
    for path in product(range(3), repeat=4):
        worth = np.prod([said[i, rate] ** 0.7 for i, rate in enumerate(path)])
        worth *= np.prod([move[a, b] for a, b in pairwise(path)])
        newest[path[3]] += worth
        late[path[1]] += worth
    tracker = RateTracker(grid, steps, lag=2)
    answers = follow(tracker, said)
    assert answers[:2] == [None, None]
    assert np.allclose(tracker.belief, newest / newest.sum())
    assert answers[3] == pytest.approx(median_of(late, grid))


def test_the_median_lies_in_a_cell():
    assert median_of(np.array([0.0, 1.0, 0.0]), np.array([50.0, 60.0, 70.0])) == 60.0
    assert median_of(np.array([1.0, 1.0]), np.array([50.0, 60.0])) == 55.0
    assert median_of(np.array([1.0, 0.0, 3.0]), np.array([50.0, 60.0, 70.0])) == pytest.approx(65.0 + 10 / 3)


def test_a_wrong_lock_is_left():
    wrong, right = peak_at(90), peak_at(150)
    answers = follow(RateTracker(GRID_BPM, STEPS), [wrong] * 10 + [right] * 10)
    assert answers[9] == pytest.approx(90, abs=0.5)
    assert answers[-1] == pytest.approx(150, abs=0.5)
    stubborn = RateTracker(GRID_BPM, Steps(scale_bpm=0.5, leak=0.0, power=0.05))
    assert follow(stubborn, [wrong] * 10 + [right] * 5)[-1] < 120


def test_one_odd_window_does_not_move_it():
    answers = follow(RateTracker(GRID_BPM, STEPS), [peak_at(90)] * 5 + [peak_at(150)])
    assert answers[-1] == pytest.approx(90, abs=1)


def test_late_answers_know_better_and_earlier_ones_nothing_of_it():
    windows = [peak_at(90), peak_at(90), np.ones(len(GRID_BPM)), peak_at(98), peak_at(98), peak_at(98)]
    record = ["r"] * 6
    now = tracked_rates(np.array(windows), record, GRID_BPM, STEPS)
    late = tracked_rates(np.array(windows), record, GRID_BPM, STEPS, lag=2)
    assert now[2] < 91 < late[2] < 97
    changed = np.array(windows)
    changed[5] = peak_at(60)
    assert np.array_equal(tracked_rates(changed, record, GRID_BPM, STEPS)[:5], now[:5])
    assert np.array_equal(tracked_rates(changed, record, GRID_BPM, STEPS, lag=2)[:3], late[:3])


def test_records_are_followed_apart():
    windows = np.array([peak_at(rate) for rate in (60, 61, 62, 150, 151, 152)])
    apart = tracked_rates(windows, ["a"] * 3 + ["b"] * 3, GRID_BPM, STEPS, lag=1)
    assert np.array_equal(apart[3:], tracked_rates(windows[3:], ["b"] * 3, GRID_BPM, STEPS, lag=1))
    assert np.abs(apart - [60, 61, 62, 150, 151, 152]).max() < 1.5


@pytest.mark.parametrize("bad", [None, np.full(161, np.nan), np.zeros(161), -peak_at(70), np.full(161, np.inf)],
                         ids=["none", "nan", "zero", "negative", "infinite"])  # fmt: skip
def test_what_says_nothing_only_widens_the_belief(bad):
    tracker = RateTracker(GRID_BPM, STEPS)
    follow(tracker, [peak_at(90)] * 5)
    before = tracker.belief
    assert tracker.push(bad) == pytest.approx(90, abs=1)
    assert tracker.belief.sum() == pytest.approx(1.0)
    assert tracker.belief.max() < before.max()


def test_evidence_that_contradicts_everything_starts_anew():
    rigid = RateTracker(GRID_BPM, Steps(scale_bpm=0.01, leak=0.0, power=1.0))
    one, other = np.where(GRID_BPM == 60, 1.0, 0.0), np.where(GRID_BPM == 180, 1.0, 0.0)
    assert follow(rigid, [one, other]) == [60.0, 180.0]


def test_reset_forgets():
    tracker = RateTracker(GRID_BPM, STEPS, lag=1)
    follow(tracker, [peak_at(90)] * 4)
    tracker.reset()
    assert np.allclose(tracker.belief, 1 / len(GRID_BPM))
    assert tracker.rest() == []
    assert follow(tracker, [peak_at(150)] * 2)[-1] == pytest.approx(150, abs=1)


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match="one number a rate"):
        RateTracker(GRID_BPM, STEPS).push(np.ones(5))
    with pytest.raises(ShapeError, match="ascending"):
        RateTracker(GRID_BPM[::-1], STEPS)
