"""The run in words: is int8 faster here, by how much, and if not, why."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from physioedge.bench.arms import REFERENCE, TITLES
from physioedge.bench.figures import ratio
from physioedge.bench.measure import Bench, Measured

_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "avxvnniint8", "asimddp", "i8mm", "amx_int8"}
_NOISY = 1.5


def answer(bench: Bench) -> list[str]:
    """Sentences for people, the first one the verdict."""
    found = bench.measured
    said = []
    base = found.get(REFERENCE) or found.get("ours_fp32")
    if "ours_int8" in found and base is not None:
        said.append(_verdict(found["ours_int8"], base))
    if {"ours_int8", "ort_int8"} <= set(found):
        said.append(_beside(found["ours_int8"], found["ort_int8"]))
    if {"ours_int8", "ours_slots"} <= set(found):
        cost, low, high = ratio(found["ours_slots"], found["ours_int8"])
        said.append(f"Slots cost {_percent(cost)} over merged ({_percent(low)} to {_percent(high)}).")
    if bench.stream:
        s = bench.stream
        said.append(
            f"From samples to result a beat costs {s['per_beat_ms']:.2f} ms, of which the engine takes "
            f"{s['engine_ms']:.2f} ms: {s['real_time_factor']:.0f} times as fast as life on one thread."
        )
    noisy = [name for name, m in found.items() if _spread(m) > _NOISY]
    if noisy:
        said.append(f"The machine was busy: p90 is more than {_NOISY} times p50 for {', '.join(noisy)}.")
    return said or ["The bundle holds no int8 graph for onnxruntime to compare."]


def _verdict(int8: Measured, base: Measured) -> str:
    times, low, high = ratio(base, int8)
    size = base.file_bytes / int8.file_bytes
    figures = (
        f"{_p50(int8):.2f} ms against {_p50(base):.2f} ms for {TITLES[base.arm.name]}; ratio {times:.2f}, "
        f"95 % interval {low:.2f} to {high:.2f}; the file is {size:.1f} times smaller"
    )
    if low > 1:
        return f"Yes, int8 is {times:.1f} times as fast here ({figures})."
    if high >= 1:
        return f"int8 is neither faster nor slower here beyond the noise ({figures}). {_reason()}"
    return f"No, int8 is slower here ({figures}). {_reason()}"


def _reason() -> str:
    flags = cpu_flags()
    if not flags:
        return "What integer instructions this processor has is not known; the fp32 graph is the safe choice."
    if not flags & _DOT_PRODUCTS:
        return "This processor has no int8 dot products (VNNI, dotprod), so int8 saves memory but no time: use fp32."
    return "The processor has int8 dot products, so this may be load on the machine or a very small model: run again."


def _beside(ours: Measured, plain: Measured) -> str:
    times, low, high = ratio(plain, ours)
    if low > 1:
        how = f"{times:.2f} times as fast as"
    elif high < 1:
        how = f"{1 / times:.2f} times as slow as"
    else:
        how = "as fast as"
    return (
        f"With its checks of every window this runtime is {how} plain onnxruntime with its own int8 "
        f"(ratio {times:.2f}, {low:.2f} to {high:.2f})."
    )


def _p50(measured: Measured) -> float:
    return float(np.median(measured.rounds))


def _spread(measured: Measured) -> float:
    times = np.array(measured.rounds)
    return float(np.quantile(times, 0.9) / np.median(times))


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
