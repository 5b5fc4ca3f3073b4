"""What each way to quantise is worth: size, time, labels and macro-F1 of the shipped network, side by side.

``python benchmarks/quantisation.py --data DIR --out results/quantisation.json``. The network is the shipped one of
arrhythmia with its global adapter merged; every eighth annotated beat of DS1 is judged. It has been fitted on most of
those people, so macro-F1 is not what it would be on others: read what is lost of it. Graphs are run in turns on one
thread; a graph's time is held against the fp32 graph of the same engine. Graphs that cannot be made are named with
the reason.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from physioedge import results
from physioedge.adapters.lora.files import load_network
from physioedge.datasets import mitbih
from physioedge.evaluation.metrics import confusion, from_confusion
from physioedge.models.shipped import adapter_of, backbone
from physioedge.results import Row
from physioedge.tasks.arrhythmia import LABELS, NAME, contract_for, load_records
from physioedge_export.feeds import Feeds, by_window, one_window
from physioedge_export.quantize import KEEP_FLOAT, QuantizeConfig, kept_float, quantize
from physioedge_export.runners import Runner, onnx_runner, run_windows
from physioedge_export.sqnr import layer_sqnr, worst_within
from physioedge_export.to_executorch import executorch_runner, to_executorch
from physioedge_export.to_onnx import linear_nodes, to_onnx
from physioedge_runtime.bundle.contract import INPUT, Contract

EVERY, CALIBRATION, CALLS = 8, 256, 10
BUDGETS = (200_000, 600_000)
"""Bytes by which a file may grow for its least exact layers to stay in fp32."""
UNITS = {"file_mb": "MB", "p50_ms": "ms", "speedup_over_fp32": "1", "same_label": "1", "macro_f1": "1",
         "macro_f1_drop_points": "1", "logit_difference_p50": "1"}  # fmt: skip
KEPT = ("ours_fp32", "ours_int8", "ours_int8_static", "ours_et_fp32", "ours_et_int8", "ours_et_int8_static")
ABOUT = {
    "ours_fp32": "fp32",
    "ours_int8": "int8, activations scaled window by window, weights by output",
    "ours_int8_tensor": "the same, weights by layer",
    "ours_int8_7bit": "the same by output, weights of 7 bits",
    "ours_int8_all": "the same, patch embedding and head in int8 too",
    "ours_int8_static": "int8, activations scaled by calibration",
    "ours_int8_static_tensor": "the same, weights by layer",
    "ours_int8_qdq": "onnxruntime's static form, Q/DQ pairs",
    "ours_int8_qoperator": "onnxruntime's static form, QLinearMatMul",
    "ours_int4_32": "weights of 4 bits in blocks of 32 (MatMulNBits)",
    "ours_int4_128": "weights of 4 bits in blocks of 128 (MatMulNBits)",
    **{f"ours_mixed_{b // 1000}kb": f"int8, the least exact layers in fp32 within {b // 1000} kB" for b in BUDGETS},
    "ours_et_fp32": "fp32",
    "ours_et_int8": "int8, activations scaled window by window, weights by output",
    "ours_et_int8_tensor": "the same, weights by layer",
    "ours_et_int8_static": "int8, activations scaled by calibration",
    "ours_et_int4": "weights of 4 bits by output",
}


@dataclass(frozen=True, kw_only=True)
class Beats:
    """Windows of the judged beats by input, and their classes."""

    feeds: Feeds
    label: NDArray[np.int64]


def judged(contract: Contract, data: Path | None) -> Beats:
    """Every `EVERY`-th beat of each record that is of a class the network knows."""
    windows, labels = [], []
    for record in load_records(mitbih.FIT, contract.sensor.fs_hz, data):
        found, kept = record.windows(contract.window)
        label = record.label[kept]
        here = np.flatnonzero(label < len(LABELS))[::EVERY]
        windows.append(found[here])
        labels.append(label[here])
    return Beats(feeds={INPUT: np.concatenate(windows)}, label=np.concatenate(labels))


def onnx_graphs(fp32: ModelProto, few: Feeds) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name of each ONNX graph, and what makes it."""
    inputs = list(by_window(few))
    configs = {
        "int8": QuantizeConfig(),
        "int8_tensor": QuantizeConfig(per_channel=False),
        "int8_7bit": QuantizeConfig(weight_bits=7),
        "int8_all": QuantizeConfig(keep_float=()),
        "int8_static": QuantizeConfig(scheme="static"),
        "int8_static_tensor": QuantizeConfig(scheme="static", per_channel=False),
        "int8_qdq": QuantizeConfig(scheme="static-qdq"),
        "int8_qoperator": QuantizeConfig(scheme="static-qoperator"),
    }
    yield "ours_fp32", fp32.SerializeToString
    for name, config in configs.items():
        yield f"ours_{name}", lambda config=config: quantize(fp32, config, inputs).SerializeToString()
    for budget in BUDGETS:
        yield f"ours_mixed_{budget // 1000}kb", lambda budget=budget: mixed(fp32, inputs, budget)
    for size in (32, 128):
        yield f"ours_int4_{size}", lambda size=size: four_bits(fp32, size)


def mixed(fp32: ModelProto, inputs: Sequence[dict[str, Any]], budget: int) -> bytes:
    """Int8 with the layers of most noise in fp32, as ``--float-budget`` makes it."""
    noise = layer_sqnr(fp32, quantize(fp32, QuantizeConfig()), inputs[:48])
    keep = (*KEEP_FLOAT, *worst_within(noise, fp32, budget))
    return bytes(quantize(fp32, QuantizeConfig(keep_float=keep)).SerializeToString())


def four_bits(fp32: ModelProto, block: int) -> bytes:
    """Onnxruntime's own 4-bit weights, of the layers that int8 takes; activations in 8 bits where its kernel can."""
    import logging

    from onnxruntime.quantization import matmul_nbits_quantizer as tool

    logging.getLogger(tool.__name__).setLevel(logging.WARNING)
    model = ModelProto()
    model.CopyFrom(fp32)
    left = [node.name for layer, node in linear_nodes(model).items() if kept_float(layer, KEEP_FLOAT)]
    made = tool.MatMulNBitsQuantizer(
        model, block_size=block, is_symmetric=True, accuracy_level=4, nodes_to_exclude=left
    )
    made.process()
    return bytes(made.model.model.SerializeToString())


def executorch_graphs(
    network: torch.nn.Module, contract: Contract, few: Feeds
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name of each program, and what makes it."""
    examples = [(torch.from_numpy(window[INPUT].copy()),) for window in by_window(few, 64)]
    options: dict[str, dict[str, Any]] = {
        "fp32": {},
        "int8": {"scheme": "dynamic"},
        "int8_tensor": {"scheme": "dynamic", "per_channel": False},
        "int8_static": {"scheme": "static", "calibration": examples},
        "int4": {"scheme": "dynamic", "weight_bits": 4},
    }
    for name, given in options.items():
        yield (
            f"ours_et_{name}",
            lambda given=given: to_executorch(network, contract, examples[0], notes={}, **given).data,
        )


def made(
    graphs: Iterator[tuple[str, Callable[[], bytes]]], loaded: Callable[[bytes], Runner], window: dict[str, Any]
) -> tuple[dict[str, bytes], dict[str, Runner], dict[str, str]]:
    """Files and what runs them by arm, and the reasons why others are missing."""
    files, runners, missing = {}, {}, {}
    for name, make in graphs:
        sys.stderr.write(f"making {name}\n")
        try:
            data = make()
            run = loaded(data)
            run(window)
        except Exception as error:  # noqa: BLE001 - whatever a tool refuses with is its answer
            missing[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            continue
        files[name], runners[name] = data, run
    return files, runners, missing


def seconds_of(runners: dict[str, Runner], feeds: Feeds, rounds: int) -> dict[str, list[float]]:
    """Median time of a call in each round, graphs in turns."""
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(rounds):
        window = one_window(feeds, turn % len(feeds[INPUT]))
        for name, run in runners.items():
            times = []
            for _ in range(CALLS + 2):
                began = time.perf_counter()
                run(window)
                times.append(time.perf_counter() - began)
            taken[name].append(statistics.median(times[2:]))
    return taken


def rows_of(files: dict[str, bytes], runners: dict[str, Runner], beats: Beats, rounds: int) -> list[Row]:
    """All figures; the fp32 graph of the same engine is what labels, scores and times are held against."""
    logits = {}
    for name, run in runners.items():
        sys.stderr.write(f"judging with {name}\n")
        logits[name] = run_windows(run, beats.feeds).first
    taken = seconds_of(runners, beats.feeds, rounds)
    found = []
    for name, mine in logits.items():
        base = "ours_et_fp32" if name.startswith("ours_et_") else "ours_fp32"
        exact = logits[base]
        score, whole = (macro_f1(beats.label, one) for one in (mine, exact))
        ratios = np.array(taken[base]) / np.array(taken[name])
        low, high = np.quantile(ratios, [0.25, 0.75])
        figures: dict[str, tuple[float, float | None, float | None]] = {
            "file_mb": (len(files[name]) / 1e6, None, None),
            "p50_ms": (1e3 * statistics.median(taken[name]), None, None),
            "speedup_over_fp32": (float(np.median(ratios)), float(low), float(high)),
            "same_label": (float((mine.argmax(1) == exact.argmax(1)).mean()), None, None),
            "macro_f1": (score, None, None),
            "macro_f1_drop_points": (100 * (whole - score), None, None),
            "logit_difference_p50": (float(np.median(np.abs(mine - exact).max(1))), None, None),
        }
        found += [
            Row(task=NAME, arm=name, group="DS1", metric=metric, unit=UNITS[metric], value=value, low=low, high=high,
                n=len(beats.label), seeds=1)
            for metric, (value, low, high) in figures.items()
        ]  # fmt: skip
    return found


def macro_f1(label: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
    """Of all beats together."""
    return float(from_confusion(confusion(label, logits.argmax(1), len(LABELS)), LABELS)["macro_f1"])


def page(rows: Sequence[Row], missing: dict[str, str], command: str) -> str:
    """The rows as a Markdown table."""
    by_arm: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, {})[row.metric] = row
    lines = []
    for arm, found in by_arm.items():
        value = {metric: row.value for metric, row in found.items()}
        times = found["speedup_over_fp32"]
        lines.append(
            f"| `{arm}` | {ABOUT[arm]} | {value['file_mb']:.2f} "
            f"| {times.value:.2f} [{times.low:.2f}, {times.high:.2f}] "
            f"| {100 * value['same_label']:.2f} % | {value['macro_f1_drop_points']:+.2f} "
            f"| {value['logit_difference_p50']:.2g} | {'yes' if arm in KEPT else ''} |"
        )
    gone = [f"- `{arm}` could not be made: {reason}" for arm, reason in missing.items()]
    beats = rows[0].n if rows else 0
    return "\n".join([
        "# Ways to quantise", "",
        f"Written by `{command}` beside the JSON of the same name; not edited by hand. {beats} beats of the records "
        "of DS1, most of whose people the network was fitted on, judged one by one on one thread. Everything is held "
        "against the fp32 graph of the same engine; brackets hold the middle half of the rounds.", "",
        "| graph | what | MB | times as fast as fp32 | same label | macro-F1 lost, points | logits off by | kept |",
        "|---|---|--:|--:|--:|--:|--:|---|", *lines, "", *gone, "",
    ])  # fmt: skip


def main() -> int:
    """Measure and write; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds the datasets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--engines", default="onnxruntime,executorch")
    args = parser.parse_args()
    network, _, note, _ = load_network(backbone(), adapter_of(NAME))
    contract = contract_for(note.backbone_digest, network.backbone.config, note.layout)
    beats = judged(contract, args.data)
    few = {INPUT: beats.feeds[INPUT][:: max(1, len(beats.label) // CALIBRATION)]}
    one, parts = one_window(few, 0), []
    if "onnxruntime" in args.engines:
        parts.append(made(onnx_graphs(to_onnx(network, contract), few), onnx_runner, one))
    if "executorch" in args.engines:
        graphs = executorch_graphs(network, contract, few)
        parts.append(made(graphs, lambda data: executorch_runner(data, [INPUT]), one))
    files, runners, missing = ({k: v for part in parts for k, v in part[i].items()} for i in range(3))
    rows = rows_of(files, runners, beats, args.rounds)
    command = f"python benchmarks/quantisation.py --engines {args.engines} --rounds {args.rounds}"
    results.write(args.out, command, rows, missing=missing)
    args.out.with_suffix(".md").write_text(page(rows, missing, command), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
