"""From raw times to rows of a results file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.bench.arms import BARE, REFERENCE, RIVALS, precision_of
from physioedge.bench.measured import Bench, Measured
from physioedge.bench.metrics import METRICS
from physioedge.bench.work import shares
from physioedge.results import Row

Value = tuple[str, float, float | None, float | None, int]
"""Metric, value, interval, count."""
_BARE = (BARE, "ort_int8", REFERENCE)
"""Plain onnxruntime, the nearest to our own graph first: what waiting and noise are held against."""
SPEEDUPS = {
    "speedup_over_ort_fp32": "ort_fp32",
    "speedup_over_torch_eager": "torch_eager",
    "speedup_over_ort_int8": "ort_int8",
}
_MERGED = {
    "ours_slots": "ours_int8",
    "ours_et_slots": "ours_et_int8",
    "ours_incremental_slots": "ours_incremental",
    "ours_et_incremental_slots": "ours_et_incremental",
}
_WINDOWED = {
    "ours_incremental": "ours_int8",
    "ours_incremental_slots": "ours_slots",
    "ours_et_incremental": "ours_et_int8",
    "ours_et_incremental_slots": "ours_et_slots",
}
_SAME_IN_ORT = {"ours_et_int8": "ours_int8", "ours_et_slots": "ours_slots", "ours_et_fp32": "ours_fp32"}
_RESAMPLES = 1000
_QUANTILES = (1, 10, 25, 50, 75, 90, 99)


def rows_of(bench: Bench, *, task: str) -> list[Row]:
    """Rows of one run: every arm's figures, in the order of `METRICS`, arm by arm."""
    found = bench.measured
    bare = bare_of(bench)
    rows = []
    for name, measured in found.items():
        values = [*_latency(measured, found.get(bare)), *_start(measured, found.get(bare)), *_size(measured, bench)]
        values += [*_stream(measured), *_work(measured, bench), *_ratios(name, bench)]
        values.sort(key=lambda value: list(METRICS).index(value[0]))
        rows += [
            Row(task=task, arm=name, group=bench.group, metric=metric, unit=METRICS[metric].unit, value=value,
                low=low, high=high, n=n, seeds=1)
            for metric, value, low, high, n in values
        ]  # fmt: skip
    return rows


def bare_of(bench: Bench) -> str:
    """Name of the plain onnxruntime arm that ours are held against; empty without one."""
    return next((name for name in _BARE if name in bench.measured), "")


def facts_of(bench: Bench) -> dict[str, Any]:
    """What the rows do not hold, for the results file and the report."""
    return {
        "rounds": bench.rounds,
        "per_round": bench.per_round,
        "windows": bench.windows,
        "weights": bench.weights,
        "bare": bare_of(bench),
        "engines": {name: m.engine for name, m in bench.measured.items() if m.engine},
        "logit_difference": differences(bench),
        "quantiles_ms": {name: _quantiles(m) for name, m in bench.measured.items()},
        "install_bytes": {name: dict(m.install_bytes) for name, m in bench.measured.items() if m.install_bytes},
        "stream": {name: vars(m.streamed) for name, m in bench.measured.items() if m.streamed is not None},
        "ceilings": bench.ceilings.to_dict() if bench.ceilings is not None else {},
        "left_out": {gone.arm: gone.reason for gone in bench.left_out},
    }


def _latency(measured: Measured, bare: Measured | None) -> Iterator[Value]:
    times = np.array(measured.rounds)
    n = times.size
    yield "p50_ms", float(np.median(times)), *interval(np.median(times, axis=1)), n
    p50, p90, p99 = _resampled(times)
    for metric, level, drawn in (("p90_ms", 0.90, p90), ("p99_ms", 0.99, p99)):
        yield metric, float(np.quantile(times, level)), *_middle(drawn), n
    yield "p99_over_p50", _tail(times), *_middle(p99 / p50), n
    if bare is not None and bare is not measured:
        others = np.array(bare.rounds)
        b50, _, b99 = _resampled(others)
        yield "p99_over_p50_over_bare", _tail(times) / _tail(others), *_middle(p99 / p50 / (b99 / b50)), n


def _start(measured: Measured, bare: Measured | None) -> Iterator[Value]:
    yield "first_ms", measured.first_ms, None, None, 1
    yield "import_ms", measured.import_ms, None, None, 1
    yield "load_ms", measured.load_ms, None, None, 1
    if measured.verify_ms is not None:
        yield "verify_ms", measured.verify_ms, None, None, 1
    yield "ready_ms", measured.ready_ms, None, None, 1
    if bare is not None and bare is not measured:
        yield "ready_over_bare", measured.ready_ms / bare.ready_ms, None, None, 1


def _size(measured: Measured, bench: Bench) -> Iterator[Value]:
    yield "peak_rss_mb", measured.peak_rss_mb, None, None, 1
    same = bench.measured.get(_SAME_IN_ORT.get(measured.arm.name, ""))
    if same is not None:
        yield "peak_rss_over_ort", measured.peak_rss_mb / same.peak_rss_mb, None, None, 1
    yield "file_mb", measured.file_bytes / 1e6, None, None, 1
    if measured.install_bytes:
        yield "install_mb", sum(measured.install_bytes.values()) / 1e6, None, None, 1
    if measured.swap_ms is not None:
        yield "swap_ms", measured.swap_ms, None, None, 1


def _stream(measured: Measured) -> Iterator[Value]:
    streamed = measured.streamed
    if streamed is not None:
        n = streamed.passes * streamed.judged
        yield "stream_per_result_ms", streamed.total_ms, None, None, n
        yield "stream_overhead_ms", streamed.overhead_ms, None, None, n
        yield "stream_overhead_share", streamed.overhead_share, None, None, n
        yield "stream_emit_ms", streamed.emit_ms, None, None, n
        yield "stream_emit_overhead_ms", streamed.emit_overhead_ms, None, None, n


def _work(measured: Measured, bench: Bench) -> Iterator[Value]:
    if bench.work is None:
        return
    precision = precision_of(measured.arm.name)
    yield "operations_mmac", bench.work.macs / 1e6, None, None, 1
    yield "bytes_moved_mb", bench.work.moved_bytes(precision) / 1e6, None, None, 1
    p50_ms = float(np.median(np.array(measured.rounds)))
    if bench.ceilings is not None:
        for metric, value in shares(p50_ms, precision, bench.work, bench.ceilings).items():
            yield metric, value, None, None, 1


def _ratios(name: str, bench: Bench) -> Iterator[Value]:
    found = bench.measured
    for metric, rival in SPEEDUPS.items():
        if rival in found and rival != name:
            yield metric, *ratio(found[rival], found[name]), len(found[name].rounds)
    window = found.get(_WINDOWED.get(name, ""))
    if window is not None:
        yield "speedup_over_window", *ratio(window, found[name]), len(window.rounds)
        rivals = [m for rival, m in found.items() if rival in RIVALS]
        if rivals:
            best = min(rivals, key=lambda m: float(np.median(np.array(m.rounds))))
            yield "speedup_over_best_rival", *ratio(best, found[name]), len(best.rounds)
    merged = found.get(_MERGED.get(name, ""))
    if merged is not None:
        yield "cost_over_merged", *ratio(found[name], merged), len(merged.rounds)


def ratio(top: Measured, bottom: Measured) -> tuple[float, float, float]:
    """Median over rounds of the ratio of two arms' medians in the same round, with its 95 % interval."""
    ratios = np.median(np.array(top.rounds), axis=1) / np.median(np.array(bottom.rounds), axis=1)
    return float(np.median(ratios)), *interval(ratios)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the median of values (round,), by bootstrap over rounds.

    Source: Efron 1979, Ann Statist 7(1):1-26; percentile method.
    """
    return _middle(np.median(values[_draw(len(values))], axis=1))


def differences(bench: Bench) -> dict[str, float]:
    """Largest difference of each arm's logits to the most exact arm's: proof that all run the same model."""
    base = next((bench.measured[n] for n in ("ours_fp32", REFERENCE, "torch_eager") if n in bench.measured), None)
    if base is None:
        return {}
    wanted = np.array(base.logits)
    return {
        name: float(np.abs(np.array(m.logits) - wanted).max()) for name, m in bench.measured.items() if m is not base
    }


def _draw(rounds: int) -> NDArray[np.int64]:
    """The same rounds in every arm, so that ratios between arms are of the same moments."""
    return np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, rounds))


def _resampled(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """p50, p90 and p99 (3, resample) of times (round, inference), rounds drawn with repetition."""
    drawn = times[_draw(len(times))].reshape(_RESAMPLES, -1)
    levels: NDArray[np.float64] = np.quantile(drawn, [0.50, 0.90, 0.99], axis=1)
    return levels


def _middle(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _tail(times: NDArray[np.float64]) -> float:
    return float(np.quantile(times, 0.99) / np.median(times))


def _quantiles(measured: Measured) -> dict[str, float]:
    values = np.quantile(np.array(measured.rounds), [q / 100 for q in _QUANTILES])
    return {f"p{q}": round(float(value), 5) for q, value in zip(_QUANTILES, values, strict=True)}
