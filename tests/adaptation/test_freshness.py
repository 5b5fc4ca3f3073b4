"""Counters, signed times and clocks: the rules of docs/adapter.md, one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_adapters import DAY_S, DEVICE, NOW_S, said

from physioedge_runtime.adaptation.freshness import FLOOR_S, HORIZON_S, MAX_COUNTERS, MAX_LEAP, Freshness
from physioedge_runtime.adaptation.manifest import AdapterManifest, Binding
from physioedge_runtime.errors import AdapterError, AdapterExpired, AdapterReplayed, FastForwarded

SEEN = Freshness().accepted(said(counter=5, issued_s=NOW_S))
CLOCKS = [0.0, -1.0, math.nan, math.inf, -math.inf, 1e30, NOW_S - 1.0, float(NOW_S), NOW_S + 3.0 * DAY_S]


def lasting(until_s: int, counter: int = 6) -> AdapterManifest:
    return said(counter=counter, issued_s=until_s - DAY_S, expires_s=until_s)


@pytest.mark.parametrize("clock_s", CLOCKS)
def test_no_clock_locks_a_new_adapter_out(clock_s: float) -> None:
    """But one that is ahead within reason, and then for as long as it is."""
    SEEN.check(lasting(NOW_S + 30 * DAY_S), clock_s)
    Freshness().check(lasting(NOW_S + 30 * DAY_S), clock_s)


@pytest.mark.parametrize("clock_s", CLOCKS)
def test_no_clock_lets_an_old_adapter_in(clock_s: float) -> None:
    for until_s in (NOW_S, NOW_S - 1, FLOOR_S + DAY_S, 2 * DAY_S):
        with pytest.raises(AdapterExpired, match="good after"):
            SEEN.check(lasting(until_s), clock_s)
    for counter in (1, 5):
        with pytest.raises(AdapterReplayed, match="more than 5"):
            SEEN.check(lasting(NOW_S + 30 * DAY_S, counter), clock_s)


def test_a_clock_counts_where_it_can_be_right() -> None:
    adapter = lasting(NOW_S + 30 * DAY_S)
    SEEN.check(adapter, NOW_S + 30 * DAY_S - 1)
    with pytest.raises(AdapterExpired, match="this device's clock"):
        SEEN.check(adapter, NOW_S + 30 * DAY_S)
    with pytest.raises(AdapterExpired, match="this device's clock"):
        SEEN.check(adapter, NOW_S + HORIZON_S)
    SEEN.check(adapter, NOW_S + HORIZON_S + 1)  # no clock is that far ahead
    with pytest.raises(AdapterExpired, match="latest signed time"):
        SEEN.check(lasting(NOW_S), 0.0)


def test_a_device_that_has_seen_nothing_knows_that_it_is_not_1970() -> None:
    for until_s in (2 * DAY_S, FLOOR_S):
        with pytest.raises(AdapterExpired):
            Freshness().check(lasting(until_s), 0.0)
    Freshness().check(lasting(FLOOR_S + 1), 0.0)


def test_a_counter_moves_by_bounded_steps() -> None:
    SEEN.check(lasting(NOW_S + DAY_S, 5 + MAX_LEAP), NOW_S)
    with pytest.raises(FastForwarded, match="counter"):
        SEEN.check(lasting(NOW_S + DAY_S, 6 + MAX_LEAP), NOW_S)


@pytest.mark.parametrize("clock_s", CLOCKS)
def test_a_signed_time_out_of_reach_is_not_believed(clock_s: float) -> None:
    near = replace(lasting(NOW_S + HORIZON_S + 9), issued_s=NOW_S + HORIZON_S)
    SEEN.check(near, clock_s)
    with pytest.raises(FastForwarded, match="host's clock"):
        SEEN.check(replace(near, issued_s=NOW_S + HORIZON_S + 1), clock_s)


def test_each_task_and_binding_counts_by_itself() -> None:
    fleet, other = Binding(kind="fleet", id="ward-3"), Binding(kind="fleet", id=DEVICE.id)
    seen = SEEN.accepted(said(counter=900, binding=fleet)).accepted(said(counter=3, task="af"))
    assert [seen.last_counter("arrhythmia", b) for b in (DEVICE, fleet, other, Binding())] == [5, 900, 0, 0]
    assert seen.last_counter("af", DEVICE) == 3
    seen.check(lasting(NOW_S + 30 * DAY_S), NOW_S)


def test_neither_device_nor_task_can_be_read_in_what_is_kept() -> None:
    text = str(SEEN.to_dict())
    assert DEVICE.id not in text and "arrhythmia" not in text


def test_as_many_bindings_as_can_be_kept() -> None:
    seen = Freshness()
    for i in range(MAX_COUNTERS):
        seen = seen.accepted(said(binding=Binding(kind="fleet", id=f"f{i}")))
    seen.check(said(counter=2, binding=Binding(kind="fleet", id="f0")), NOW_S)
    with pytest.raises(AdapterError, match="tasks and bindings"):
        seen.check(said(), NOW_S)
    assert Freshness.from_dict(seen.to_dict(), pytest.fail) == seen


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.integers(NOW_S - 99 * DAY_S, NOW_S + 99 * DAY_S), st.sampled_from(CLOCKS)),
        max_size=30,
    )
)
def test_nothing_that_is_remembered_ever_goes_back(offers: list[tuple[int, int, float]]) -> None:
    """The same figures kept by hand: accepted if and only if newer and not over."""
    seen, last, highest = Freshness(), 0, 0
    for counter, issued_s, clock_s in offers:
        adapter = said(counter=counter, issued_s=issued_s, expires_s=issued_s + 7 * DAY_S)
        known = max(FLOOR_S, highest)
        time_s = clock_s if clock_s >= known and clock_s - known <= HORIZON_S else known
        try:
            seen.check(adapter, clock_s)
        except (AdapterReplayed, AdapterExpired) as error:
            assert counter <= last or issued_s + 7 * DAY_S <= time_s, error
            continue
        assert counter > last and issued_s + 7 * DAY_S > time_s
        seen, last, highest = seen.accepted(adapter), counter, max(highest, issued_s)
        assert (seen.last_counter("arrhythmia", DEVICE), seen.highest_signed_s) == (last, highest)
