"""Whether a bundle's graphs are one network: every graph on the same real windows, on every engine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge.results import Row
from physioedge.tasks.arrhythmia import NAME, beat_record
from physioedge_runtime import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.manifest import STEP, GraphEntry
from physioedge_runtime.engine import Adapter, load_engine
from physioedge_runtime.signal.windows import cut_windows

EVERY = 4
"""Of the beats of a record, every fourth: more than 10^4 windows over the test records."""
_ARMS = {"onnxruntime": "ours", "executorch": "ours_et"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GraphOutputs:
    """What one graph gave for every window.

    Attributes
    ----------
    name : str
        Arm, as in the speed table: ``ours_int8``, ``ours_et_slots``, ...; ``+adapter`` where slots held an adapter.
    logits : float32 (window, class)
    embedding : float32 (window, dim)
    """

    name: str
    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]


def real_windows(contract: Contract, records: tuple[str, ...], data: Path | None) -> NDArray[np.float32]:
    """Windows float32 (window, 1, sample) around every `EVERY`-th annotated beat of the records."""
    found = []
    for name in records:
        beats = beat_record(mitbih.load(name, data), contract.sensor.fs_hz)
        found.append(cut_windows(beats.signal[:1], beats.anchor[::EVERY], contract.window)[0])
    return np.concatenate(found)


def arm_of(entry: GraphEntry) -> str:
    """A graph's name in tables: ``ours_et_int8``, ``ours_slots``, ``ours_slots_fp32``, ..."""
    form = entry.precision if entry.adapters == "merged" else "slots"
    suffix = f"_{entry.precision}" if entry.adapters == "slots" and entry.precision != "int8" else ""
    mode = "_step" if entry.mode == STEP else ""
    return f"{_ARMS[entry.engine]}_{form}{suffix}{mode}"


def outputs_of(
    bundle: Bundle, windows: NDArray[np.float32], engines: tuple[str, ...] = tuple(_ARMS)
) -> list[GraphOutputs]:
    """Every graph of the bundle for these engines on every window.

    Slots are both empty and holding the adapter of the golden vectors.
    """
    golden = bundle.golden()
    names = {slot.name: f"adapter/{slot.name}" for slot in bundle.contract.slots}
    probe = {slot: golden[name] for slot, name in names.items() if name in golden}
    found = []
    for entry in bundle.manifest.graphs:
        if entry.engine not in engines:
            continue
        engine = load_engine(
            bundle, engine=entry.engine, precision=entry.precision, adapters=entry.adapters, mode=entry.mode
        )
        variants: dict[str, Adapter | None] = {"": None}
        if engine.slots and probe:
            variants["+adapter"] = probe
        for suffix, adapter in variants.items():
            _log.info("%s%s on %d windows", arm_of(entry), suffix, len(windows))
            answers = [engine.run(window[None], adapter) for window in windows]
            found.append(
                GraphOutputs(
                    name=arm_of(entry) + suffix,
                    logits=np.concatenate([logits for logits, _ in answers]),
                    embedding=np.concatenate([embedding for _, embedding in answers]),
                )
            )
    return found


def agreement_rows(found: list[GraphOutputs]) -> list[Row]:
    """How far every graph is from every other that holds the same weights, pair by pair.

    Graphs whose slots hold an adapter are compared among themselves: theirs is another network.
    """
    rows = []
    for first, second in combinations(found, 2):
        if first.name.endswith("+adapter") != second.name.endswith("+adapter"):
            continue
        for metric, value in differences(first, second).items():
            rows.append(
                Row(
                    task=NAME,
                    arm=second.name,
                    group=f"against {first.name}",
                    metric=metric,
                    unit="1",
                    value=value,
                    low=None,
                    high=None,
                    n=len(first.logits),
                    seeds=1,
                )
            )
    return rows


def differences(first: GraphOutputs, second: GraphOutputs) -> Mapping[str, float]:
    """Largest and typical distance of outputs, and how often the labels are the same."""
    logits = np.abs(first.logits - second.logits).max(1)
    return {
        "same_label": float((first.logits.argmax(1) == second.logits.argmax(1)).mean()),
        "logit_difference_max": float(logits.max()),
        "logit_difference_p50": float(np.median(logits)),
        "embedding_difference_max": float(np.abs(first.embedding - second.embedding).max()),
    }


def page(rows: list[Row], command: str) -> str:
    """The rows as a Markdown table, one line a pair of graphs."""
    pairs: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        pairs.setdefault((row.group.removeprefix("against "), row.arm), {})[row.metric] = row.value
    lines = [
        f"| {first} | {second} | {100 * v['same_label']:.2f} % | {v['logit_difference_p50']:.2g} "
        f"| {v['logit_difference_max']:.2g} | {v['embedding_difference_max']:.2g} |"
        for (first, second), v in pairs.items()
    ]
    windows = rows[0].n if rows else 0
    return "\n".join(
        [
            "# The same network on both engines",
            "",
            f"Written by `{command}` beside the JSON of the same name; not edited by hand. {windows} windows of the "
            "test records of MIT-BIH, one by one. `+adapter`: the slots hold the adapter of the golden vectors.",
            "",
            "| graph | against | same label | logits, median | logits, largest | embedding, largest |",
            "|---|---|--:|--:|--:|--:|",
            *lines,
            "",
        ]
    )
