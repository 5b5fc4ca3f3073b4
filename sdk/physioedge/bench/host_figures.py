"""Figures of a host under load."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physioedge.bench.host_load import Load
from physioedge.results import Row

TOGETHER, ALONE = "micro-batches", "one by one"


def group_of(clients: int, how: str) -> str:
    """Such as ``16 clients, micro-batches``."""
    return f"{clients} client{'s' if clients > 1 else ''}, {how}"


def load_rows(task: str, arm: str, how: str, rounds: Sequence[Load], idle_kb: float) -> list[Row]:
    """What one number of clients met, over all rounds.

    ``latency_p50_ms`` and ``latency_p99_ms`` are of all answers together, ``requests_per_s`` is the median of the
    rounds with the least and the most of them as bounds. ``refused_share`` counts every request without an answer,
    ``refused_429_share`` those of devices that asked too often. ``cpu_ms_per_answer`` is processor time of the whole
    host, HTTP and signing included. ``rss_growth_kb_per_answer`` is by how much resident memory grew over the rounds,
    by answer, and ``peak_over_idle_mb`` the most of it beyond `idle_kb`: answers that are kept for a repeat included.
    """
    latency_ms = 1000 * np.concatenate([np.asarray(one.latency_s) for one in rounds])
    asked, answered = sum(one.asked for one in rounds), len(latency_ms)
    rate = [len(one.latency_s) / one.took_s for one in rounds]
    cpu_ms = 1000 * sum(one.after.cpu_s - one.before.cpu_s for one in rounds)
    values: list[tuple[str, str, float, float | None, float | None]] = [
        ("requests_per_s", "1/s", float(np.median(rate)), min(rate), max(rate)),
        ("refused_share", "1", 1 - answered / asked, None, None),
        ("refused_429_share", "1", sum(one.refused["429"] for one in rounds) / asked, None, None),
    ]
    if answered:
        p50, p99 = np.percentile(latency_ms, [50, 99])
        values += [("latency_p50_ms", "ms", float(p50), None, None), ("latency_p99_ms", "ms", float(p99), None, None)]
    if answered and rounds[0].before.rss_kb:
        growth = (rounds[-1].after.rss_kb - rounds[0].before.rss_kb) / answered
        peak = max(one.after.peak_kb for one in rounds) - idle_kb
        values += [
            ("cpu_ms_per_answer", "ms", cpu_ms / answered, None, None),
            ("rss_growth_kb_per_answer", "kB", growth, None, None),
            ("peak_over_idle_mb", "MB", peak / 1024, None, None),
        ]
    group = group_of(rounds[0].clients, how)
    return [
        Row(
            task=task, arm=arm, group=group, metric=metric, unit=unit, value=value, low=low, high=high, n=asked, seeds=1
        )
        for metric, unit, value, low, high in values
    ]  # fmt: skip


def gain_row(task: str, arm: str, together: Sequence[Load], alone: Sequence[Load]) -> Row:
    """``times_one_by_one``: requests a second of micro-batches over one by one, median of rounds side by side."""
    ratio = [
        (len(a.latency_s) / a.took_s) / (len(b.latency_s) / b.took_s) for a, b in zip(together, alone, strict=True)
    ]
    return Row(
        task=task, arm=arm, group=group_of(together[0].clients, TOGETHER), metric="times_one_by_one", unit="1",
        value=float(np.median(ratio)), low=min(ratio), high=max(ratio), n=len(ratio), seeds=1,
    )  # fmt: skip
