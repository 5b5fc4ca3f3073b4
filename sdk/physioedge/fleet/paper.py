"""What a far larger fleet needs, on paper: the measured cost of an answer times how often it is asked for."""

from __future__ import annotations

import math

from physioedge.fleet.figures import CORE_HOUR
from physioedge.fleet.plan import DAY_S, Devices, ServiceTimes
from physioedge.results import Row

COUNT = 10**8
LOAD = 0.5
"""Hosts are given half of what they could do at the peak, so that crashes and bursts find room."""
TOKEN_BYTES = 300
"""Of one device in a host's table of tokens: its name and a digest as text, in a dictionary."""


def peak_per_s(devices: Devices) -> float:
    """Requests a second at the morning's peak: the top of a normal distribution over what comes at any time."""
    morning, spread_s = devices.morning_share, devices.morning_spread_s
    return devices.count * (morning / (spread_s * math.sqrt(2 * math.pi)) + (1 - morning) / DAY_S)


def paper_rows(task: str, arm: str, times: ServiceTimes, answer_bytes: int, cache_s: float) -> list[Row]:
    """What `COUNT` devices need that each ask once a day, all in one time zone.

    ``peak_requests_per_s``; ``cores_at_peak`` at `LOAD`, in full batches; ``core_hours_per_day`` and their price;
    ``answers_gbit_per_s_at_peak`` on the wire; ``cache_gb_at_peak`` of answers that are kept for `cache_s`;
    ``tokens_gb_per_host`` where every host knows every device.
    """
    peak = peak_per_s(Devices(count=COUNT))
    full_s, alone_s = times.of(times.largest) / times.largest, times.of(1)
    hours = COUNT * full_s / 3600
    values = {
        "peak_requests_per_s": ("1/s", peak), "cores_at_peak": ("1", peak * full_s / LOAD),
        "cores_at_peak_one_by_one": ("1", peak * alone_s / LOAD), "core_hours_per_day": ("h", hours),
        "price_per_day": ("core-hour price", hours * CORE_HOUR),
        "answers_gbit_per_s_at_peak": ("Gbit/s", 8e-9 * peak * answer_bytes),
        "cache_gb_at_peak": ("GB", 1e-9 * peak * cache_s * answer_bytes),
        "tokens_gb_per_host": ("GB", 1e-9 * COUNT * TOKEN_BYTES),
    }  # fmt: skip
    return [
        Row(task=task, arm=arm, group=f"on paper, {COUNT:.0e} devices", metric=metric, unit=unit, value=value, low=None,
            high=None, n=COUNT, seeds=1)
        for metric, (unit, value) in values.items()
    ]  # fmt: skip
