"""Peak memory of the runtime beside bare onnxruntime, stage by stage, and what each option of a session is worth.

``python benchmarks/footprint.py --out results/footprint.json [--before DIR]``: DIR is ``device_runtime`` of an earlier
commit, measured in the same rounds. Every figure is the median over fresh processes that take turns; ratios are medians
of ratios within a round. Then bytes allocated on the way of a window (`footprint_stream`), and memory over windows.
"""

from __future__ import annotations

import argparse
import ast
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from footprint_graph import large_graph
from footprint_pages import draw_flat, write_page
from footprint_stream import allocations, flat_memory
from physioedge import results
from physioedge.cli.console import SHIPPED_BUNDLE
from physioedge.results import Row
from physioedge_runtime import Bundle

HERE = Path(__file__).parent
RUNTIME = HERE.parent / "device_runtime"
CHOICES = (
    (), ("bytes",), ("dropped",), ("sealed",), ("dropped", "arena_off"), ("dropped", "pattern_off"),
    ("dropped", "arena_off", "pattern_off"), ("dropped", "device_allocator"), ("dropped", "prepacking_off"),
    ("dropped", "optimise_extended"), ("dropped", "optimise_basic"), ("dropped", "optimise_none"),
)  # fmt: skip
ORT_CHOICES = (("dropped",), ("direct",), ("direct", "direct_weights"), ("direct", "direct_weights", "prepacking_off"))


@dataclass(frozen=True)
class Arm:
    """One way of loading: a name for rows, and the child's arguments."""

    name: str
    arguments: tuple[str, ...]
    runtime: Path = RUNTIME


@dataclass
class Measured:
    """What the children of one arm said, one value a round; a child that died said nothing."""

    peaks: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    died: int = 0


def run_arms(arms: list[Arm], rounds: int) -> dict[str, Measured]:
    """All arms in turns, each time in a fresh process."""
    found = {arm.name: Measured() for arm in arms}
    for turn in range(rounds):
        for arm in arms[turn % len(arms) :] + arms[: turn % len(arms)]:
            environment = os.environ | {"PYTHONPATH": str(arm.runtime), "OMP_NUM_THREADS": "1"}
            child = subprocess.run(
                [sys.executable, str(HERE / "footprint_stage.py"), *arm.arguments],
                capture_output=True, text=True, env=environment, check=False,
            )  # fmt: skip
            measured = found[arm.name]
            if child.returncode > 0:
                raise SystemExit(f"{arm.name}: {child.stderr[-2000:]}")
            if child.returncode < 0:  # onnxruntime itself crashed
                measured.died += 1
                continue
            said = ast.literal_eval(child.stdout.splitlines()[-1])
            for stage, (peak, resident) in said["stages"].items():
                measured.peaks[stage].append(peak / 1e6)
                measured.values["resident_mb"][turn:] = [resident / 1e6]
            measured.values["load_ms"].append(said["load_ms"])
            measured.values["p50_ms"].append(said["p50_ms"])
    return found


def rows_of(found: dict[str, Measured], base: str, group: str) -> list[Row]:
    """Medians, and medians of ratios to the arm `base` in the same round."""
    rows = []
    for name, measured in found.items():
        values = {"died": [float(measured.died)]}
        if not measured.died:
            values |= {f"peak_rss_mb:{stage}": peaks for stage, peaks in measured.peaks.items()}
            values |= measured.values | {"peak_rss_mb": measured.peaks["runs"]}
            for metric in ("peak_rss_mb", "load_ms", "p50_ms", "resident_mb"):
                of = found[base].peaks["runs"] if metric == "peak_rss_mb" else found[base].values[metric]
                values[f"{metric}_over_{base}"] = [a / b for a, b in zip(values[metric], of, strict=True)]
        rows += [_row(name, group, metric, numbers) for metric, numbers in values.items()]
    return rows


def _row(arm: str, group: str, metric: str, numbers: list[float]) -> Row:
    stem = metric.partition(":")[0]
    unit = "MB" if stem.endswith("_mb") else "ms" if stem.endswith("_ms") else "1"
    return Row(
        task="footprint", arm=arm, group=group, metric=metric, unit=unit, value=statistics.median(numbers),
        low=min(numbers), high=max(numbers), n=len(numbers), seeds=1,
    )  # fmt: skip


def stage_arms(graph: str, window: str, before: Path | None) -> list[Arm]:
    """Bare onnxruntime, ours on both engines, and ours as it was."""
    bundle = str(SHIPPED_BUNDLE)
    arms = [Arm("bare", ("bare", graph, window)), Arm("ours", ("ours", bundle, window))]
    arms += [Arm("ours_et", ("executorch", bundle, window))]
    if before is not None:
        arms += [Arm("ours_before", ("ours", bundle, window), before)]
        arms += [Arm("ours_et_before", ("executorch", bundle, window), before)]
    return arms


def option_arms(graph: str, window: str, ort_graph: str) -> list[Arm]:
    """Every choice of options on one graph, and some of them on the same graph in onnxruntime's own format."""
    arms = [Arm("+".join(chosen) or "path", ("bare", graph, window, *chosen)) for chosen in CHOICES]
    for chosen in ORT_CHOICES if ort_graph else ():
        arms.append(Arm("+".join(("ort_format", *chosen)), ("bare", ort_graph, window, *chosen)))
    return arms


def in_ort_format(graph: str) -> str:
    """The graph, optimised as at load, in onnxruntime's own format."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(Path(graph).with_suffix(".ort"))
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return options.optimized_model_filepath


def measure(args: argparse.Namespace, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """All rows, and the curve of memory over windows."""
    bundle = Bundle.open(SHIPPED_BUNDLE)
    graph, window = str(folder / "graph.onnx"), str(folder / "window.npy")
    Path(graph).write_bytes(bundle.read(bundle.graph().file))
    np.save(window, bundle.golden()["signal"][:1])
    rows = rows_of(run_arms(stage_arms(graph, window, args.before), args.rounds), "bare", "tiny")
    rows += rows_of(run_arms(option_arms(graph, window, in_ort_format(graph)), args.rounds), "path", "options:tiny")
    large, vector = large_graph(folder)
    arms = option_arms(str(large), str(vector), in_ort_format(str(large)))
    rows += rows_of(run_arms(arms, max(1, args.rounds // 2)), "path", "options:large")
    rows += allocations(RUNTIME, "ours") + (allocations(args.before, "ours_before") if args.before else [])
    flat_rows, curves = flat_memory(args.windows, args.most_s)
    return rows + flat_rows, {"curves": curves}


def main() -> int:
    """Measure and write; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--most-s", type=float, default=80.0, help="seconds for each of the two long streams")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, extra = measure(args, Path(folder))
    command = f"python benchmarks/footprint.py --rounds {args.rounds} --windows {args.windows}"
    results.write(args.out, command, rows, onnxruntime=onnxruntime.__version__, numpy=np.__version__, **extra)
    write_page(args.out.with_suffix(".md"), rows)
    draw_flat(args.out.with_suffix(".png"), extra["curves"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
