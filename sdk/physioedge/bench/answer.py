"""The run in words: is int8 faster here, by how much, which engine, what limits it, and is the machine quiet."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from physioedge.bench.arms import OURS, REFERENCE, TITLES, precision_of
from physioedge.bench.figures import bare_of, differences, ratio
from physioedge.bench.measured import Bench, Measured
from physioedge.bench.work import shares

_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "avxvnniint8", "asimddp", "i8mm", "amx_int8"}
_NOISY_TAIL, _NOISY_ROUNDS = 3.0, 1.3
_NEAR = 0.6
"""Share of a ceiling above which that ceiling is named as the limit."""
_IMPOSSIBLE = 1.1


def answer(bench: Bench) -> list[str]:
    """Sentences for people, the first one the verdict."""
    found = bench.measured
    best = _best(bench, "int8")
    base = found.get(REFERENCE) or _best(bench, "fp32")
    said = []
    if best is not None and base is not None:
        said.append(_verdict(best, base))
    if best is not None:
        said += [_beside(best, found[name]) for name in ("torch_eager", "ort_int8") if name in found]
        said += _engines(bench)
    said += _slots(bench)
    said += _steps(bench)
    said += _limits(best or _best(bench, "fp32"), bench)
    said += _streamed(bench)
    said += _same_model(bench)
    said += _noise(bench)
    if best is None:
        said.insert(0, "The bundle holds no int8 graph that runs here to compare.")
    return said


def _best(bench: Bench, precision: str) -> Measured | None:
    """The fastest of our merged graphs of a precision."""
    ours = [m for name, m in bench.measured.items() if name in OURS and OURS[name][1:] == (precision, "merged")]
    return min(ours, key=_p50, default=None)


def _verdict(int8: Measured, base: Measured) -> str:
    times, low, high = ratio(base, int8)
    size = base.file_bytes / int8.file_bytes
    smaller = f"{size:.1f} times smaller" if size >= 1 else f"{1 / size:.1f} times larger"
    figures = (
        f"{_p50(int8):.2f} ms ({int8.arm.name}) against {_p50(base):.2f} ms ({base.arm.name}: "
        f"{TITLES[base.arm.name]}); ratio {times:.2f}, 95 % interval {low:.2f} to {high:.2f}; the file is {smaller}"
    )
    if low > 1:
        return f"Yes, int8 is {times:.1f} times as fast here: {figures}."
    if high >= 1:
        return f"int8 is neither faster nor slower here beyond the noise: {figures}. {_reason()}"
    return f"No, int8 is slower here: {figures}. {_reason()}"


def _reason() -> str:
    flags = cpu_flags()
    if not flags:
        return "What integer instructions this processor has is not known; the fp32 graph is the safe choice."
    if not flags & _DOT_PRODUCTS:
        return "This processor has no int8 dot products (VNNI, dotprod), so int8 saves memory but no time: use fp32."
    return (
        f"The processor has int8 dot products ({', '.join(sorted(flags & _DOT_PRODUCTS))}), so this may be load on the "
        "machine, or a model so small that quantising its inputs costs more than it saves: run again."
    )


def _beside(ours: Measured, other: Measured) -> str:
    times, low, high = ratio(other, ours)
    return (
        f"{ours.arm.name}, with its checks of every window, is {_how(times, low, high)} {other.arm.name} "
        f"({TITLES[other.arm.name]}; ratio {times:.2f}, {low:.2f} to {high:.2f})."
    )


def _how(times: float, low: float, high: float) -> str:
    if low > 1:
        return f"{times:.2f} times as fast as"
    return f"{1 / times:.2f} times as slow as" if high < 1 else "as fast as"


def _engines(bench: Bench) -> list[str]:
    """Which engine to choose, where both ran."""
    found = bench.measured
    if not {"ours_int8", "ours_et_int8"} <= set(found):
        return []
    ort, et = found["ours_int8"], found["ours_et_int8"]
    times, low, high = ratio(ort, et)
    memory = et.peak_rss_mb / ort.peak_rss_mb
    how = f"{_how(times, low, high)} onnxruntime (ratio {times:.2f}, {low:.2f} to {high:.2f})"
    if low > 1:
        choice = "choose ExecuTorch here (--engine executorch)"
    elif high < 1:
        choice = "choose onnxruntime here, unless memory is what is short"
    else:
        choice = "choose by memory"
    return [f"Engines for int8: ExecuTorch is {how} and its process takes {memory:.2f} times the memory: {choice}."]


def _slots(bench: Bench) -> list[str]:
    said = []
    for slots, merged in (("ours_slots", "ours_int8"), ("ours_et_slots", "ours_et_int8")):
        if {slots, merged} <= set(bench.measured):
            cost, low, high = ratio(bench.measured[slots], bench.measured[merged])
            engine = "ExecuTorch" if "_et_" in slots else "onnxruntime"
            said.append(f"Slots cost {_percent(cost)} over merged on {engine} ({_percent(low)} to {_percent(high)}).")
    return said


def _steps(bench: Bench) -> list[str]:
    """What computing only what is new in a window brings."""
    said = []
    for name, window in (("ours_incremental", "ours_int8"), ("ours_et_incremental", "ours_et_int8")):
        if {name, window} <= set(bench.measured):
            times, low, high = ratio(bench.measured[window], bench.measured[name])
            said.append(
                f"{name} takes {_p50(bench.measured[name]):.3f} ms a hop: {_how(times, low, high)} {window} on whole "
                f"windows (ratio {times:.2f}, {low:.2f} to {high:.2f})."
            )
    return said


def _limits(best: Measured | None, bench: Bench) -> list[str]:
    """What keeps the fastest of ours from being faster."""
    if best is None or bench.work is None or bench.ceilings is None:
        return []
    precision = precision_of(best.arm.name)
    share = shares(_p50(best), precision, bench.work, bench.ceilings)
    compute = share[f"share_of_{precision}_ceiling"]
    memory, cache = share["share_of_bandwidth_ceiling"], share["share_of_cache_bandwidth_ceiling"]
    figures = (
        f"{best.arm.name} reaches {100 * compute:.0f} % of this machine's {precision} arithmetic, moves as much as "
        f"{100 * memory:.0f} % of its memory bandwidth and {100 * cache:.0f} % of its cache bandwidth"
    )
    if compute > _IMPOSSIBLE or cache > _IMPOSSIBLE:
        return [f"What limits it cannot be said: {figures}, so the machine was busy while its ceilings were measured."]
    if compute >= _NEAR:
        return [f"What limits it: arithmetic. {figures}."]
    if _NEAR <= memory <= 1:  # above it the weights cannot have come from main memory
        return [f"What limits it: memory bandwidth. {figures}."]
    if cache >= _NEAR:
        return [f"What limits it: reading weights from the cache. {figures}."]
    linear = bench.work.macs_by_part.get("linear", 0) / bench.work.macs
    return [
        f"What limits it: neither ceiling. {figures}. The rest is what {100 * linear:.0f} % of the operations do not "
        "need: steps between the large products (quantising, norms, attention over few tokens) and the cost of "
        "starting each operator."
    ]


def _streamed(bench: Bench) -> list[str]:
    return [
        f"From samples to result ({name}): {s.total_ms:.2f} ms a result, of which the engine takes {s.engine_ms:.2f} "
        f"ms and all else {s.overhead_ms:.2f} ms ({100 * s.overhead_share:.0f} %); {s.real_time_factor:.0f} times as "
        "fast as life on one thread."
        for name, m in bench.measured.items()
        if (s := m.streamed) is not None
    ]


def _same_model(bench: Bench) -> list[str]:
    """How far the arms' outputs lie apart: a fast graph that computes something else is no rival."""
    found = differences(bench)
    if not found:
        return []
    most = max(found, key=lambda name: found[name])
    ours = {name: value for name, value in found.items() if name in OURS}
    said = f"Logits differ from the fp32 graph's by at most {found[most]:.2g} ({most})"
    if ours:
        said += f", ours by at most {max(ours.values()):.2g}"
    return [f"{said}, on the first {len(bench.measured[most].logits)} windows."]


def _noise(bench: Bench) -> list[str]:
    """Whether the machine was quiet, by plain onnxruntime's own tail and the spread of its rounds."""
    name = bare_of(bench) or next(iter(bench.measured), "")
    if not name:
        return []
    times = np.array(bench.measured[name].rounds)
    tail = float(np.quantile(times, 0.99) / np.median(times))
    medians = np.median(times, axis=1)
    drift = float(np.quantile(medians, 0.9) / np.quantile(medians, 0.1))
    figures = f"p99 is {tail:.2f} times the median of {name}, and its rounds differ by {drift:.2f} times"
    if tail <= _NOISY_TAIL and drift <= _NOISY_ROUNDS:
        return [f"The machine was quiet: {figures}."]
    return [
        f"The machine was busy: {figures}. Ratios hold, since all arms met the same load in turns; run again when it "
        "is quiet before you quote milliseconds."
    ]


def _p50(measured: Measured) -> float:
    return float(np.median(measured.rounds))


def _percent(factor: float) -> str:
    return f"{100 * (factor - 1):.1f} %"


def cpu_flags(info: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets as Linux names them; empty where that is not known."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    words = [line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return frozenset(words[0]) if words and platform.system() == "Linux" else frozenset()
