"""Figures of simulated days: rows, and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from physioedge.fleet.day import Day
from physioedge.fleet.plan import Scenario, ServiceTimes
from physioedge.results import Row

CORE_HOUR = 0.04
"""What a core costs for an hour, in whatever it is paid: an assumption, of the size that clouds ask in dollars."""


def day_rows(task: str, arm: str, scenario: Scenario, days: Sequence[Day]) -> list[Row]:
    """Medians over days (seeds), with the least and the most as bounds.

    ``wait_p50_s`` and ``wait_p99_s`` are from the first try to the answer, ``queue_max`` the most requests that waited
    at all hosts, ``core_ms_per_answer`` all processor time by answered device, ``cost_per_million`` that time at
    `CORE_HOUR` for a million answers, without idle hosts.
    """
    values: dict[str, tuple[str, list[float]]] = {
        "wait_p50_s": ("s", [float(np.percentile(day.waited_s, 50)) for day in days]),
        "wait_p99_s": ("s", [float(np.percentile(day.waited_s, 99)) for day in days]),
        "queue_max": ("1", [float(day.queue_max) for day in days]),
        "tries_per_answer": ("1", [float(np.mean(day.tries)) for day in days]),
        "given_up": ("1", [float(day.given_up) for day in days]),
        "answered_with_503": ("1", [float(day.busy) for day in days]),
        "core_ms_per_answer": ("ms", [1000 * day.core_s / len(day.tries) for day in days]),
        "cost_per_million": ("core-hour price", [CORE_HOUR * day.core_s / 3600 / len(day.tries) * 1e6 for day in days]),
    }
    group = f"{scenario.name}, {scenario.devices.count} devices, {scenario.hosts.replicas} hosts"
    return [
        Row(task=task, arm=arm, group=group, metric=metric, unit=unit, value=float(np.median(found)), low=min(found),
            high=max(found), n=scenario.devices.count, seeds=len(days))
        for metric, (unit, found) in values.items()
    ]  # fmt: skip


def service_rows(task: str, arm: str, times: ServiceTimes) -> list[Row]:
    """What a simulation went by: processor time of an answer made alone and in batches, HTTP included."""
    values = {f"core_ms_in_batches_of_{size}": 1000 * times.of(size) / size for size in sorted(times.batch_s)}
    values["core_ms_beside_generator"] = 1000 * times.request_s
    return [
        Row(task=task, arm=arm, group="service times", metric=metric, unit="ms", value=value, low=None, high=None, n=1,
            seeds=1)
        for metric, value in values.items()
    ]  # fmt: skip


def plot(days: Mapping[str, Mapping[str, Day]], path: Path) -> bool:
    """Queue over the day and waiting times, by scenario (outer) and generator (inner); False without matplotlib."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(days), 5.5), layout="constrained")
    axes = figure.subplots(2, len(days), squeeze=False)
    for column, (name, arms) in enumerate(days.items()):
        for arm, day in arms.items():
            queue = day.queue_array()
            axes[0][column].plot(queue[:, 0] / 3600, queue[:, 1], label=arm, lw=0.8)
            waited = np.sort(day.waited_s)
            axes[1][column].plot(waited, 1 - np.arange(len(waited)) / len(waited), label=arm)
        axes[0][column].set(title=name, xlabel="hour of the day", ylabel="requests waiting", yscale="symlog")
        axes[1][column].set(
            xscale="log", yscale="log", xlabel="seconds from first try to answer", ylabel="share longer"
        )
        for row in axes:
            row[column].grid(alpha=0.3)
            row[column].legend(fontsize=7)
    figure.savefig(path, dpi=90)
    return True
