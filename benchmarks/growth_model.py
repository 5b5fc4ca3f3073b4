"""How time and memory of an inference grow with the network: window length, width, rank of slots, number of sensors.

``python benchmarks/growth_model.py --out results/growth-model.json``. The `tiny` shape with random weights, one thing
changed at a time, exported in int8 with slots and run by onnxruntime on one thread; what the weights are makes no
difference to time. Each point is a fresh process in each round, which imports numpy and onnxruntime alone. Times are of
the processor, and the shortest of all rounds, each the median of its calls: what takes longer is other programs' and
the clock's; the longest stands beside it. Memory is the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

POINTS = {
    "window_tokens": (8, 16, 32, 64, 128),
    "width": (64, 128, 256, 384),
    "rank": (0, 2, 4, 8, 16, 32),
    "sensors": (1, 2, 3, 4),
}
"""A token is 0.2 s; rank 0 is a graph without slots."""
BASE = {"window_tokens": 32, "width": 128, "rank": 8, "sensors": 1}
CALLS, WARM_UP = 150, 20
SLOT_SIZE = 0.02
"""Deviation of what is in the slots, as adapters have it: far larger ones make shares of attention that are slow."""
METRICS = {"ms_per_window": "ms", "over_base": "1", "peak_rss_mb": "MB", "file_mb": "MB"}
LABELS = 3


def graph_of(window_tokens: int, width: int, rank: int, sensors: int) -> bytes:
    """An int8 ONNX file of this shape."""
    from dataclasses import replace

    from physioedge.bench.network import random_network
    from physioedge.models.config import TINY
    from physioedge.models.layout import Layout, SensorLayout
    from physioedge.tasks.arrhythmia import contract_for
    from physioedge_export.forms import Choice, contract_with_slots, forms
    from physioedge_export.merge import LoraAdapter, LoraPair
    from physioedge_export.quantize import QuantizeConfig, quantize
    from physioedge_export.to_onnx import to_onnx

    config = replace(TINY, d_model=width)
    names = [f"lead{i}" for i in range(sensors)]
    one = Layout(sensors=(SensorLayout(sensor=names[0], kind="ecg", channels=1, n_tokens=window_tokens),))
    layout = Layout(sensors=tuple(replace(one.sensors[0], sensor=name) for name in names))
    network = random_network(config, layout, LABELS)
    base = contract_for("0" * 64, config, one)
    leads = tuple(replace(base.sensor, name=name) for name in names)
    contract = replace(base, sensors=leads, embedding_dim=layout.embedding_dim(config))
    rng = np.random.default_rng(0)
    pairs = {
        f"backbone.blocks.{i}.attention.{part}": LoraPair(
            a=rng.standard_normal((rank, width)).astype(np.float32), b=np.zeros((width, rank), np.float32), scale=1.0
        )
        for i in range(config.n_layers) for part in "qv"
    }  # fmt: skip
    adapter = LoraAdapter(pairs=pairs) if rank else None
    found = forms(network, contract, adapter, Choice(adapters=("slots" if rank else "merged",)))
    fp32 = to_onnx(found[0].model, contract_with_slots(contract, found), slots=found[0].slots)
    return bytes(quantize(fp32, QuantizeConfig()).SerializeToString())


def measure(file: str) -> dict[str, float]:
    """Processor time of a window, and the process's highest memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    binding = session.io_binding()  # as the runtime does: what is in the slots is not handed over at every call
    for one in session.get_inputs():
        size = SLOT_SIZE if one.name.endswith(".B") else 1.0
        binding.bind_cpu_input(one.name, (size * rng.standard_normal(one.shape)).astype(np.float32))
    for one in session.get_outputs():
        binding.bind_output(one.name, "cpu")
    times = []
    for _ in range(CALLS + WARM_UP):
        began = time.process_time()
        session.run_with_iobinding(binding)
        times.append(time.process_time() - began)
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    peak = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return {"ms_per_window": 1e3 * statistics.median(times[WARM_UP:]), "peak_rss_mb": peak / 1e6}


def run_points(folder: Path, rounds: int) -> dict[tuple[str, int], dict[str, list[float]]]:
    """Figures of every point, in turns; points that are one and the same network are measured once."""
    points = [(what, value) for what, values in POINTS.items() for value in values]
    files: dict[tuple[int, ...], Path] = {}
    for what, value in points:
        shape = BASE | {what: value}
        key = tuple(shape.values())
        if key not in files:
            sys.stderr.write(f"exporting {what} {value}\n")
            files[key] = folder / f"{'-'.join(map(str, key))}.onnx"
            files[key].write_bytes(graph_of(**shape))
    taken: dict[tuple[int, ...], dict[str, list[float]]] = {key: defaultdict(list) for key in files}
    order = list(files)
    for turn in range(rounds):
        for key in order[turn % len(order) :] + order[: turn % len(order)]:
            child = subprocess.run(
                [sys.executable, __file__, "--point", str(files[key])],
                capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
            )  # fmt: skip
            if child.returncode:
                raise SystemExit(child.stderr[-2000:])
            for name, number in json.loads(child.stdout).items():
                taken[key][name].append(number)
    base = min(taken[tuple(BASE.values())]["ms_per_window"])
    for key, values in taken.items():
        values["over_base"] = [own / base for own in values["ms_per_window"]]
        values["file_mb"] = [files[key].stat().st_size / 1e6]
    return {(what, value): taken[tuple((BASE | {what: value}).values())] for what, value in points}


def told(metric: str, found: Sequence[float]) -> float:
    """One figure of all rounds."""
    return statistics.median(found) if metric.endswith("_mb") else min(found)


def draw(path: Path, found: dict[tuple[str, int], dict[str, list[float]]]) -> None:
    """Time above, memory below, a column for each thing that grows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(2, len(POINTS))
    for column, (what, values) in enumerate(POINTS.items()):
        for line, metrics in enumerate((("ms_per_window",), ("peak_rss_mb", "file_mb"))):
            place = places[line][column]
            for metric in metrics:
                heights = [told(metric, found[what, value][metric]) for value in values]
                place.plot(values, heights, marker="o", markersize=3, label=metric)
            place.set_xlabel(what.replace("_", " "))
            place.set_ylim(bottom=0)
            place.grid(alpha=0.3)
            place.legend(fontsize=8)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and draw; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--point", help="a graph to measure in this process, as one line of JSON")
    args = parser.parse_args(arguments)
    if args.point:
        sys.stdout.write(json.dumps(measure(args.point)) + "\n")
        return 0
    from physioedge import results
    from physioedge.results import Row

    with tempfile.TemporaryDirectory() as name:
        found = run_points(Path(name), args.rounds)
    rows = [
        Row(
            task="growth", arm="ours_slots" if what != "rank" or value else "ours_int8", group=f"{what}={value}",
            metric=metric, unit=unit, value=told(metric, figures[metric]), low=min(figures[metric]),
            high=max(figures[metric]), n=CALLS, seeds=1,
        )
        for (what, value), figures in found.items() for metric, unit in METRICS.items()
    ]  # fmt: skip
    results.write(args.out, f"python benchmarks/growth_model.py --rounds {args.rounds}", rows)
    draw(args.out.with_suffix(".png"), found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
