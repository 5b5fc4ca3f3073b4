"""What is measured: name, unit, which way is better, and what it means in a few words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One figure of an arm.

    Attributes
    ----------
    unit : str
        As in the results files; ``1`` for ratios and shares.
    better : str
        ``lower``, ``higher``, or empty where it is neither.
    words : str
        Heading for people.
    anywhere : bool
        Whether the figure means the same on another processor.
    headline : bool
        Whether it is in the table of changes.
    """

    unit: str
    better: str
    words: str
    anywhere: bool = False
    headline: bool = False


METRICS = {
    "p50_ms": Metric("ms", "lower", "median of one inference", headline=True),
    "p90_ms": Metric("ms", "lower", "90 of 100 within"),
    "p99_ms": Metric("ms", "lower", "99 of 100 within", headline=True),
    "p99_over_p50": Metric("1", "lower", "p99 over median", anywhere=True),
    "p99_over_p50_over_bare": Metric("1", "lower", "p99 over median, against bare onnxruntime's", anywhere=True),
    "first_ms": Metric("ms", "lower", "first inference after loading"),
    "import_ms": Metric("ms", "lower", "imports"),
    "load_ms": Metric("ms", "lower", "load and verify"),
    "verify_ms": Metric("ms", "lower", "of loading, signature and digests"),
    "ready_ms": Metric("ms", "lower", "imports, load, verify, first inference", headline=True),
    "ready_over_bare": Metric("1", "lower", "the same against bare onnxruntime's", anywhere=True, headline=True),
    "peak_rss_mb": Metric("MB", "lower", "peak memory of the process", headline=True),
    "peak_rss_over_ort": Metric("1", "lower", "peak memory against our onnxruntime process", anywhere=True),
    "file_mb": Metric("MB", "lower", "graph or weights on disk", anywhere=True, headline=True),
    "install_mb": Metric("MB", "lower", "packages it needs on disk", headline=True),
    "swap_ms": Metric("ms", "lower", "adapter swap", headline=True),
    "stream_per_result_ms": Metric("ms", "lower", "samples in to result out", headline=True),
    "stream_overhead_ms": Metric("ms", "lower", "of that, around the engine"),
    "stream_overhead_share": Metric("1", "lower", "the same as share of the bare engine", anywhere=True),
    "stream_emit_ms": Metric("ms", "lower", "the push that brings a result"),
    "stream_emit_overhead_ms": Metric("ms", "lower", "of that push, around the engine"),
    "operations_mmac": Metric("MMAC", "", "multiply-adds of one inference", anywhere=True),
    "bytes_moved_mb": Metric("MB", "", "weights and activations moved once", anywhere=True),
    "share_of_int8_ceiling": Metric("1", "higher", "share of the measured int8 ceiling", anywhere=True),
    "share_of_fp32_ceiling": Metric("1", "higher", "share of the measured fp32 ceiling", anywhere=True),
    "share_of_bandwidth_ceiling": Metric("1", "higher", "share of the measured bandwidth", anywhere=True),
    "share_of_cache_bandwidth_ceiling": Metric("1", "higher", "share of the measured cache bandwidth", anywhere=True),
    "speedup_over_ort_fp32": Metric("1", "higher", "times onnxruntime fp32", anywhere=True, headline=True),
    "speedup_over_torch_eager": Metric("1", "higher", "times torch eager", anywhere=True, headline=True),
    "speedup_over_ort_int8": Metric("1", "higher", "times onnxruntime's own int8", anywhere=True, headline=True),
    "speedup_over_window": Metric(
        "1", "higher", "times the same engine on whole windows", anywhere=True, headline=True
    ),
    "speedup_over_best_rival": Metric(
        "1", "higher", "times the fastest rival, which computes whole windows", anywhere=True, headline=True
    ),
    "cost_over_merged": Metric("1", "lower", "slots over merged", anywhere=True, headline=True),
}
"""Every metric of a speed file, in the order of the tables."""
