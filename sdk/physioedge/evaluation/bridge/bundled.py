"""A bridged model as a bundle: int8 beside float on judged people, streams, and what it costs beside two models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge import results
from physioedge.bridge.directions import Direction, folds_of
from physioedge.bridge.files import bridged_network
from physioedge.bridge.labelled import folder_of
from physioedge.bridge.module import BridgedNetwork, Positions
from physioedge.bridge.pairs import PairStore, Strip, load_store
from physioedge.evaluation import metrics
from physioedge.evaluation.bridge.levelled import PERSONAL, levelled_rows, logits_of
from physioedge.evaluation.bundled import Replay, live
from physioedge.models.checkpoint import load_backbone
from physioedge.models.network import Network
from physioedge.results import Row
from physioedge.signals.recording import Recording
from physioedge_export.quantize import QuantizeConfig, quantize
from physioedge_export.runners import of_two, onnx_call
from physioedge_export.speed import measure
from physioedge_export.to_onnx import to_onnx, with_metadata
from physioedge_runtime import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.engine import load_engine

FILE = "bridge-bundle.json"
JUDGED, STREAMED_S, PEOPLE_STREAMED = 2000, 180.0, 5
TIMED = 25
GROUP, STREAM, COST = "test", "streamed", "cost"
SECTIONS = (GROUP, STREAM, COST, PERSONAL)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured.

    Attributes
    ----------
    direction : Direction
    bridge : Path
        Folder of the bridge.
    bundle : Path
    trust : Path
        Public key.
    work, backbone : Path
    """

    direction: Direction
    bridge: Path
    bundle: Path
    trust: Path
    work: Path
    backbone: Path


def write_bundle_rows(case: Case, out: Path, command: str, sections: tuple[str, ...] = SECTIONS) -> list[Row]:
    """Rows of ``bridge-bundle.json``, written with its page; the bundle's digests are checked on the way.

    Sections that are not asked for keep the rows that the file has of the same bundle.
    """
    bundle = Bundle.open(case.bundle, trust=case.trust)
    labelled = folder_of(case.direction, 0, case.work)
    network, old, note, _ = bridged_network(case.bridge, case.backbone, labelled)
    store = load_store(case.work / f"{case.direction.store}.npz")
    people = folds_of(case.direction, store)[0]
    made = {
        GROUP: lambda: parity_rows(case.direction, store, people.test, network, bundle),
        STREAM: lambda: stream_rows(case.direction, store, people.test, bundle),
        COST: lambda: _all_costs(case, store, people.test, network, old, bundle),
        PERSONAL: lambda: levelled_rows(
            case.direction, store, people.pairs, people.test, {"bridged": network, "old": old}
        ),
    }
    facts = {"direction": note.direction, "positions": [note.positions.new, note.positions.old],
             "bridge": note.bridge_digest, "bundle": bundle.digest}  # fmt: skip
    kept = _kept(out / FILE, bundle.digest)
    rows = [row for group in SECTIONS
            for row in (made[group]() if group in sections else [r for r in kept if r.group == group])]  # fmt: skip
    results.write(out / FILE, command, rows, **facts)
    (out / FILE).with_suffix(".md").write_text(page(rows, facts, command), encoding="utf-8")
    return rows


def _kept(path: Path, digest: str) -> list[Row]:
    same = path.exists() and json.loads(path.read_text()).get("bundle") == digest
    return results.read(path) if same else []


def _all_costs(
    case: Case, store: PairStore, people: tuple[str, ...], network: BridgedNetwork, old: Network, bundle: Bundle
) -> list[Row]:
    """`cost_rows` of the bridged network and of one with all blocks of both models, and the bundle's size."""
    whole = load_backbone(case.backbone, network.lower.layout)[0]
    layers, contract = whole.config.n_layers, bundle.contract
    both = BridgedNetwork(whole, network.bridge, old.backbone, old.head, Positions(new=layers, old=0)).eval()
    windows, _ = some_windows(store, case.direction, people, contract.sensor.input_samples, TIMED)
    rows = cost_rows(case.direction, windows, {"bridged": network, "both_whole": both}, contract)
    blocks = {"bridged_int8": len(network.lower.blocks) + len(network.upper.blocks), "both_whole_int8": 2 * layers}
    rows += [_row(case.direction, arm, COST, "blocks", "1", count, 1) for arm, count in blocks.items()]
    return [*rows, _row(case.direction, "bundle", COST, "bundle_kb", "kB", case.bundle.stat().st_size / 1e3, 1)]


def some_windows(
    store: PairStore, direction: Direction, people: tuple[str, ...], length: int, most: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Windows of the new sensor, spread over some people's judged ones, and their targets."""
    windows, target = [], []
    for strip in store.strips:
        if strip.subject in people and strip.judged.any():
            windows.append(strip.windows(direction.new.sensor, length)[strip.judged])
            target.append(strip.targets[direction.target][strip.judged])
    every = np.concatenate(target)
    rows = np.unique(np.linspace(0, len(every) - 1, min(most, len(every))).astype(np.int64))
    return np.concatenate(windows)[rows], every[rows]


def parity_rows(
    direction: Direction, store: PairStore, people: tuple[str, ...], network: BridgedNetwork, bundle: Bundle
) -> list[Row]:
    """How often int8 says what float32 says, on people nobody has learned from; and how well both do there."""
    windows, target = some_windows(store, direction, people, bundle.contract.sensor.input_samples, JUDGED)
    engine = load_engine(bundle)
    exact = logits_of(network, windows)
    shipped = np.concatenate([engine.run((np.ascontiguousarray(w[None]),))[0] for w in windows])
    same = float((exact.argmax(1) == shipped.argmax(1)).mean())
    rows = [_row(direction, "int8", GROUP, "same_label_as_fp32", "1", same, len(windows))]
    for arm, logits in (("fp32", exact), ("int8", shipped)):
        counts = np.zeros((logits.shape[1],) * 2)
        np.add.at(counts, (target, logits.argmax(1)), 1)
        found = metrics.from_confusion(counts, direction.labels)
        rows += [_row(direction, arm, GROUP, name, "1", float(found[name]), len(windows))
                 for name in ("balanced_accuracy", "macro_f1")]  # fmt: skip
    return rows


def stream_rows(direction: Direction, store: PairStore, people: tuple[str, ...], bundle: Bundle) -> list[Row]:
    """The new sensor's recordings in chunks: what is judged, and how far from the same windows cut out at once."""
    engine = load_engine(bundle)
    strips = [strip for strip in store.strips if strip.subject in people and strip.judged.any()][:PEOPLE_STREAMED]
    lived = [live(bundle, engine, _replay(strip, direction, bundle.contract)) for strip in strips]
    asked = [(r, t) for one in lived for r, t in zip(one.results, one.truth, strict=True) if t is not None and t >= 0]
    known = [(r, t) for r, t in asked if r.judged]
    far = np.concatenate([one.difference for one in lived])
    right = float(np.mean([r.label == direction.labels[int(t)] for r, t in known])) if known else 0.0
    return [
        _row(direction, "int8", STREAM, "coverage", "1", len(known) / max(1, len(asked)), len(asked)),
        _row(direction, "int8", STREAM, "accuracy", "1", right, len(known)),
        _row(direction, "int8", STREAM, "difference_max", "1", float(far.max()), len(far)),
        _row(direction, "int8", STREAM, "recordings", "1", len(strips), sum(len(one.results) for one in lived)),
    ]


def _replay(strip: Strip, direction: Direction, contract: Contract) -> Replay:
    sensor, spec = direction.new.sensor, contract.sensor
    samples = strip.signals[sensor][:, : round(STREAMED_S * spec.fs_hz)]
    end_s = strip.ends[sensor] / spec.fs_hz
    inside = end_s <= samples.shape[1] / spec.fs_hz
    recording = Recording(samples=samples, fs_hz=spec.fs_hz, units=spec.units, channels=spec.channels,
                          name=strip.record, subject=strip.subject)  # fmt: skip
    hop_s = 0.2 if contract.trigger.kind == "beat" else contract.trigger.hop_samples / spec.fs_hz
    return Replay(recordings={spec.name: recording}, end_s=end_s[inside],
                  target=strip.targets[direction.target][inside], hop_s=hop_s)  # fmt: skip


def cost_rows(
    direction: Direction, windows: NDArray[np.float32], networks: Mapping[str, BridgedNetwork], contract: Contract
) -> list[Row]:
    """Milliseconds a window, in turns, and kilobytes of each network's graphs in both precisions."""
    graphs: dict[str, bytes] = {}
    for name, module in networks.items():
        fp32 = to_onnx(module, contract)
        graphs[f"{name}_fp32"] = with_metadata(fp32, contract, {})
        graphs[f"{name}_int8"] = with_metadata(quantize(fp32, QuantizeConfig()), contract, {})
    (graph_input,) = contract.input_shapes
    runners: dict[str, Any] = {name: (of_two(onnx_call(data)), {}) for name, data in graphs.items()}
    rows = []
    for speed in measure(runners, {graph_input: windows}):
        for metric, value in (("p50_ms", speed.p50_ms), ("p90_ms", speed.p90_ms)):
            rows.append(_row(direction, speed.file, COST, metric, "ms", value, len(windows)))
        rows.append(_row(direction, speed.file, COST, "graph_kb", "kB", len(graphs[speed.file]) / 1e3, 1))
    return rows


def page(rows: list[Row], facts: Mapping[str, Any], command: str) -> str:
    """The rows as a readable page."""
    new, old = facts["positions"]
    lines = ["# A bridged model as a bundle", "", f"Generated by `{command}` from [{FILE}]({FILE}): "
             f"{facts['direction']}, from block {new} of the new model to block {old} of the old one."]  # fmt: skip
    for group in dict.fromkeys(row.group for row in rows):
        here = [row for row in rows if row.group == group]
        lines += ["", f"## {group.capitalize()}", "", "| arm | metric | value | unit | n |", "|---|---|--:|---|--:|"]
        lines += [f"| {r.arm} | {r.metric} | {_text(r)} | {r.unit} | {r.n} |" for r in here]
    return "\n".join(lines) + "\n"


def _text(row: Row) -> str:
    text = f"{row.value:.4g}"
    return text if row.low is None or row.high is None else f"{text} ({row.low:.3f} to {row.high:.3f})"


def _row(direction: Direction, arm: str, group: str, metric: str, unit: str, value: float, n: int) -> Row:
    return Row(task=direction.name, arm=arm, group=group, metric=metric, unit=unit, value=float(value), low=None,
               high=None, n=n, seeds=1)  # fmt: skip
