"""A simulated day: what must hold whatever the figures are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("simpy", reason="needs the extra fleet")

from physioedge.fleet.day import simulate
from physioedge.fleet.figures import day_rows, plot, service_rows
from physioedge.fleet.paper import paper_rows, peak_per_s
from physioedge.fleet.plan import DAY_S, Devices, Hosts, Scenario, ServiceTimes, usual
from physioedge_runtime.errors import HostError

QUICK = ServiceTimes(batch_s={1: 0.002, 16: 0.008}, request_s=0.001)
SLOW = ServiceTimes(batch_s={1: 0.5, 16: 4.0}, request_s=0.001)
CALM = Hosts(replicas=2, days_between_failures=1e9)
SURE = Devices(count=300, lost_share=0.0)


def day(devices: Devices = SURE, hosts: Hosts = CALM, times: ServiceTimes = QUICK, seed: int = 0, **more: object):  # type: ignore[no-untyped-def]
    return simulate(Scenario(name="a day", devices=devices, hosts=hosts, **more), times, seed=seed)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_day() -> None:
    busy = replace(SURE, lost_share=0.1)
    one, again, other = day(busy), day(busy), day(busy, seed=1)
    assert one.waited_s == again.waited_s and one.core_s == again.core_s
    assert one.waited_s != other.waited_s


def test_on_a_calm_day_every_device_is_answered_at_the_first_try() -> None:
    found = day()
    assert found.tries == [1] * 300 and found.given_up == found.busy == found.crashes == 0
    assert found.made == 300
    assert 300 * QUICK.of(16) / 16 < found.core_s <= 300 * QUICK.of(1) * 1.001
    assert max(found.waited_s) < 2.0


def test_mornings_are_busy() -> None:
    at_s = Devices(count=10_000).arrivals(np.random.default_rng(0))
    assert len(at_s) == 10_000 and (np.diff(at_s) >= 0).all() and at_s[0] >= 0 and at_s[-1] <= DAY_S
    hours = np.histogram(at_s, 24, (0, DAY_S))[0]
    assert hours.argmax() in (6, 7, 8) and hours.max() > 4 * np.median(hours)


def test_lost_tries_are_tried_again_and_not_made_again() -> None:
    found = day(replace(SURE, lost_share=0.3))
    assert np.mean(found.tries) == pytest.approx(1 / 0.7, rel=0.15)
    assert found.given_up == 0 and found.made == 300  # an answer lost on the way back is kept


def test_a_crowd_makes_a_queue_and_batches() -> None:
    herd = replace(SURE, herd_share=1.0, herd_within_s=1.0)
    calm, crowd = day(times=SLOW), day(herd, times=SLOW)
    assert crowd.queue_array()[:, 1].max() > 20 > calm.queue_array()[:, 1].max()
    assert crowd.core_s < calm.core_s  # batches cost less an answer
    assert len(crowd.tries) == 300 and np.percentile(crowd.waited_s, 99) > np.percentile(calm.waited_s, 99)


def test_a_full_host_says_so_and_everybody_is_answered_later() -> None:
    herd = replace(SURE, herd_share=1.0, herd_within_s=1.0)
    found = day(herd, replace(CALM, max_waiting=10), times=SLOW)
    assert found.busy > 0 and len(found.tries) == 300


def test_nobody_is_answered_in_an_outage_and_jitter_spreads_those_who_come_back() -> None:
    herd = replace(SURE, herd_share=1.0, herd_s=1000.0, herd_within_s=10.0)
    found = day(herd, outage_s=(900.0, 2800.0))
    waited = np.array(found.waited_s)
    assert len(waited) == 300 and waited.min() > 1790.0
    assert np.ptp(waited) > 20.0  # not all at once when the hosts are back


def test_crashes_lose_no_device() -> None:
    found = day(hosts=Hosts(replicas=2, days_between_failures=0.02))
    assert found.crashes > 20 and len(found.tries) == 300 and found.given_up == 0


def test_who_never_gets_through_gives_up_where_the_plan_says_so() -> None:
    found = day(replace(SURE, count=5, give_up_after=3), outage_s=(0.0, 2 * DAY_S))
    assert found.given_up == 5 and found.waited_s == []


def test_times_between_measured_sizes_lie_between() -> None:
    assert QUICK.of(1) < QUICK.of(8) < QUICK.of(16) and QUICK.largest == 16
    for wrong in ({2: 0.1}, {1: 0.0}, {1: float("nan")}):
        with pytest.raises(HostError):
            ServiceTimes(batch_s=wrong, request_s=0.0)


def test_rows_and_a_plot(tmp_path: Path) -> None:
    scenarios, drawn = usual(1, 60), dict[str, dict[str, object]]()
    rows = service_rows("arrhythmia", "krr", QUICK)
    for scenario in scenarios:
        days = [simulate(scenario, QUICK, seed=seed) for seed in range(2)]
        found = {row.metric: row for row in day_rows("arrhythmia", "krr", scenario, days)}
        assert found["wait_p99_s"].value >= found["wait_p50_s"].value > 0
        assert found["cost_per_million"].value == pytest.approx(0.04 / 3.6 * found["core_ms_per_answer"].value, rel=0.1)
        drawn[scenario.name] = {"krr": days[0]}
        rows += found.values()
    assert {row.group for row in rows} == {"service times", *(f"{s.name}, 60 devices, 1 hosts" for s in scenarios)}
    pytest.importorskip("matplotlib", reason="needs the extra view")
    assert plot(drawn, tmp_path / "scale.png") and (tmp_path / "scale.png").stat().st_size > 1000  # type: ignore[arg-type]


def test_a_larger_fleet_on_paper_peaks_as_the_simulated_one_does() -> None:
    devices = Devices(count=200_000)
    at_s = devices.arrivals(np.random.default_rng(0))
    busiest = np.histogram(at_s, 144, (0, DAY_S))[0].max() / (DAY_S / 144)
    assert peak_per_s(devices) == pytest.approx(busiest, rel=0.1)
    found = {row.metric: row.value for row in paper_rows("arrhythmia", "krr", QUICK, 27_000, 600.0)}
    peak = found["peak_requests_per_s"]
    assert found["cores_at_peak"] == pytest.approx(peak * QUICK.of(16) / 16 / 0.5)
    assert found["cores_at_peak"] < found["cores_at_peak_one_by_one"]
    assert found["cache_gb_at_peak"] == pytest.approx(peak * 600 * 27_000 / 1e9)
