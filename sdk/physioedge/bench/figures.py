"""From raw times to rows of a results file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge.bench.arms import REFERENCE
from physioedge.bench.measure import Bench, Measured
from physioedge.results import Row

_RESAMPLES = 2000


def rows_of(bench: Bench, *, task: str, group: str) -> list[Row]:
    """Rows of one run: every arm's figures, then ratios between arms of the same rounds."""
    rows = [row for measured in bench.measured.values() for row in _arm_rows(measured, task, group)]
    found = bench.measured
    for name in found:
        if REFERENCE in found and name != REFERENCE:
            rows.append(_ratio_row(found[REFERENCE], found[name], name, "speedup_over_ort_fp32", task, group))
    if {"ours_int8", "ours_slots"} <= set(found):
        rows.append(_ratio_row(found["ours_slots"], found["ours_int8"], "ours_slots", "cost_over_merged", task, group))
    return rows


def _arm_rows(measured: Measured, task: str, group: str) -> list[Row]:
    times = np.array(measured.rounds)
    n = times.size
    low, high = interval(np.median(times, axis=1))
    values: list[tuple[str, str, float, float | None, float | None, int]] = [
        ("p50_ms", "ms", float(np.median(times)), low, high, n),
        ("p90_ms", "ms", float(np.quantile(times, 0.90)), None, None, n),
        ("p99_ms", "ms", float(np.quantile(times, 0.99)), None, None, n),
        ("first_ms", "ms", measured.first_ms, None, None, 1),
        ("load_ms", "ms", measured.load_ms, None, None, 1),
        ("import_ms", "ms", measured.import_ms, None, None, 1),
        ("ready_ms", "ms", measured.import_ms + measured.load_ms + measured.first_ms, None, None, 1),
        ("peak_rss_mb", "MB", measured.peak_rss_mb, None, None, 1),
        ("file_mb", "MB", measured.file_bytes / 1e6, None, None, 1),
    ]
    if measured.stream_ms is not None:
        values.append(("stream_per_beat_ms", "ms", measured.stream_ms, None, None, 1))
    common = {"task": task, "arm": measured.arm.name, "group": group}
    return [
        Row(**common, metric=metric, unit=unit, value=value, low=lo, high=hi, n=count, seeds=1)
        for metric, unit, value, lo, hi, count in values
    ]


def _ratio_row(top: Measured, bottom: Measured, arm: str, metric: str, task: str, group: str) -> Row:
    value, low, high = ratio(top, bottom)
    return Row(task=task, arm=arm, group=group, metric=metric, unit="1", value=value, low=low, high=high,
               n=len(top.rounds), seeds=1)  # fmt: skip


def ratio(top: Measured, bottom: Measured) -> tuple[float, float, float]:
    """Median over rounds of the ratio of two arms' medians in the same round, with its 95 % interval."""
    ratios = np.median(np.array(top.rounds), axis=1) / np.median(np.array(bottom.rounds), axis=1)
    return float(np.median(ratios)), *interval(ratios)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the median of values (round,), by bootstrap over rounds.

    Source: Efron 1979, Ann Statist 7(1):1-26; percentile method.
    """
    generator = np.random.default_rng(0)
    drawn = values[generator.integers(0, len(values), (_RESAMPLES, len(values)))]
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def differences(bench: Bench) -> dict[str, float]:
    """Largest difference of each arm's logits to the most exact arm's: proof that all run the same model."""
    base = next((bench.measured[n] for n in ("ours_fp32", REFERENCE, "torch_eager") if n in bench.measured), None)
    if base is None:
        return {}
    wanted = np.array(base.logits)
    return {
        name: float(np.abs(np.array(m.logits) - wanted).max()) for name, m in bench.measured.items() if m is not base
    }
