from __future__ import annotations

import math

import numpy as np
import pytest

from physioedge_runtime.errors import SignalError
from physioedge_runtime.signal.timeline import Arrival, Timeline

FS = 100.0


def fed(times: list[float], n: int = 10, **options: float) -> tuple[Timeline, list[Arrival]]:
    timeline, arrivals = Timeline(FS, **options), []
    for t in times:
        arrivals.append(timeline.look(t))
        timeline.advance(n)
    return timeline, arrivals


def test_time_is_the_anchor_and_a_count() -> None:
    timeline, arrivals = fed([5.0, 5.11, 5.19])
    assert [a.kind for a in arrivals] == ["continues"] * 3
    assert timeline.now_s == 5.0 + 30 / FS


def test_without_timestamps_time_starts_at_zero() -> None:
    timeline = Timeline(FS)
    assert timeline.look(None) == Arrival("continues")
    timeline.advance(50)
    assert timeline.now_s == 0.5


def test_a_clock_that_comes_late_does_not_move_time_but_shows_gaps() -> None:
    timeline = Timeline(FS)
    timeline.advance(50)
    assert timeline.look(1000.0).kind == "continues"
    timeline.advance(50)
    assert timeline.now_s == 1.0
    assert timeline.look(1002.5).kind == "gap"
    timeline.restart(1002.5)
    assert timeline.now_s == pytest.approx(3.0)


def test_a_gap_longer_than_the_tolerance_is_named() -> None:
    _, arrivals = fed([0.0, 0.1, 0.26])
    assert arrivals[2].kind == "gap"
    assert arrivals[2].jump_s == pytest.approx(0.06)
    assert fed([0.0, 0.1, 0.24])[1][2].kind == "continues"
    assert fed([0.0, 0.1, 0.26], tolerance_s=0.2)[1][2].kind == "continues"


def test_time_that_goes_back_is_named() -> None:
    _, arrivals = fed([0.0, 0.1, 0.1])
    assert arrivals[2].kind == "earlier"
    assert arrivals[2].jump_s == pytest.approx(-0.1)


def test_jitter_is_no_gap() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(3000) * 0.1 + rng.uniform(-0.02, 0.02, 3000)
    timeline, arrivals = fed(times.tolist())
    assert {a.kind for a in arrivals} == {"continues"}
    assert not any(a.flags for a in arrivals)
    assert abs(timeline.drift_ppm) < 150


def test_a_quartz_drifts_without_a_flag_and_a_wrong_rate_with_one() -> None:
    quartz, arrivals = fed((np.arange(36_000) * 0.1 * 1.00005).tolist())
    assert {(a.kind, a.flags) for a in arrivals} == {("continues", ())}
    assert quartz.drift_ppm == pytest.approx(50, abs=5)
    wrong, arrivals = fed((np.arange(3000) * 0.1 * 1.01).tolist())
    assert {a.kind for a in arrivals} == {"continues"}
    assert arrivals[-1].flags == ("drift",)
    assert wrong.drift_ppm == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize("t", [math.nan, math.inf, -math.inf, 10**400])
def test_a_timestamp_that_is_not_finite_is_flagged_and_left_out(t: float) -> None:
    timeline, _ = fed([0.0, 0.1])
    assert timeline.look(t) == Arrival("continues", flags=("bad_time",))
    assert timeline.now_s == pytest.approx(0.2)


def test_what_is_no_number_is_the_programmers_error() -> None:
    with pytest.raises(SignalError, match="timestamp"):
        Timeline(FS).look("noon")  # type: ignore[arg-type]
    with pytest.raises(SignalError):
        Timeline(FS, tolerance_s=0.0)


def test_snapshot_continues() -> None:
    times = (np.arange(400) * 0.1 * 1.01).tolist()
    whole, arrivals = fed(times)
    first, _ = fed(times[:200])
    second = Timeline(FS)
    second.restore(first.snapshot())
    for t, expected in zip(times[200:], arrivals[200:], strict=True):
        assert second.look(t) == expected
        second.advance(10)
    assert second.snapshot() == whole.snapshot()
