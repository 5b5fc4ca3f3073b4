"""Levelling and centring of a person's answers, through a bridge and on the old sensor, after their first minutes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from physioedge.bridge.directions import Direction
from physioedge.bridge.module import BridgedNetwork
from physioedge.bridge.pairs import PairStore, Strip
from physioedge.bridge.stores import rate_of
from physioedge.evaluation import metrics
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.models.network import Network
from physioedge.results import Row
from physioedge.tasks.levels import rule_of
from physioedge_runtime.adaptation.levelling import relative

FIRST_S, KNOWN, ASKED = 300.0, 40, 150
"""Minutes that a person is known by, and so many windows, spread, of these and of the rest."""
SHARE = 0.5
PERSONAL = "personal, after 5 min"
_AT_ONCE = 64
Floats = NDArray[np.float64]


def logits_of(network: nn.Module, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (window, class) in float32."""
    return outputs_of(network, windows)[0]


def outputs_of(network: nn.Module, windows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits and embeddings, (window, ...)."""
    logits, embeddings = [], []
    with torch.no_grad():
        for first in range(0, len(windows), _AT_ONCE):
            one, other = network(torch.from_numpy(np.ascontiguousarray(windows[first : first + _AT_ONCE])))
            logits.append(one.numpy())
            embeddings.append(other.numpy())
    return np.concatenate(logits), np.concatenate(embeddings)


def levelled_rows(
    direction: Direction,
    store: PairStore,
    learned: tuple[str, ...],
    judged: tuple[str, ...],
    networks: Mapping[str, BridgedNetwork | Network],
) -> list[Row]:
    """Balanced accuracy of each network's plain, levelled and centred answers on the rest of everybody's record.

    Parameters
    ----------
    learned : tuple of str
        People whose pairs were fitted on: their levels and means are everybody's.
    judged : tuple of str
    networks : mapping of name to network
        ``bridged`` reads the new sensor, ``old`` its own.
    """
    rows = []
    for name, network in networks.items():
        sensor = (direction.new if name == "bridged" else direction.old).sensor
        everybody = _everybody(network, sensor, _strips(store, learned, direction))
        counts: dict[str, list[Floats]] = {}
        for strip in _strips(store, judged, direction):
            for way, found in _ways(network, sensor, strip, direction, everybody).items():
                counts.setdefault(f"{name}{way}", []).append(found)
        for arm, people in counts.items():
            value, low, high = subject_bootstrap(
                np.stack(people).reshape(1, len(people), -1), lambda sums: _balanced(sums, direction.labels)
            )
            rows.append(Row(task=direction.name, arm=arm, group=PERSONAL, metric="balanced_accuracy",
                            unit="1", value=value, low=low, high=high, n=len(people), seeds=1))  # fmt: skip
    return rows


def _everybody(network: Any, sensor: str, strips: list[Strip]) -> tuple[Floats, Floats]:
    """Level (class,) and mean embedding (dim,) of everybody who was learned from."""
    length, levels, means = _length(network), [], []
    for strip in strips:
        logits, embedding = outputs_of(network, strip.windows(sensor, length)[_spread(len(strip.judged), KNOWN)])
        levels.append(np.median(relative(logits), axis=0))
        means.append(embedding.mean(0, dtype=np.float64))
    return np.median(np.stack(levels), axis=0), np.mean(np.stack(means), axis=0)


def _ways(
    network: Any, sensor: str, strip: Strip, direction: Direction, everybody: tuple[Floats, Floats]
) -> dict[str, Floats]:
    """Confusion matrices of a person's later windows by way; nothing where there are none."""
    first, rest = _parts(strip, sensor)
    if len(first) < 2 or not len(rest):
        return {}
    windows, target = strip.windows(sensor, _length(network)), strip.targets[direction.target][rest]
    before, known = outputs_of(network, windows[first])
    after, embedding = outputs_of(network, windows[rest])
    n, (level, mean) = len(direction.labels), everybody
    bias = rule_of(direction.task, n).bias(np.median(relative(before), axis=0), level)
    moved = embedding - SHARE * (known.mean(0) - mean)
    said: dict[str, NDArray[np.floating]] = {
        "": after,
        " levelled": after + bias,
        f" centred {SHARE:g}": _headed(network, moved),
    }
    return {way: _counted(answers, target, n) for way, answers in said.items()}


def _strips(store: PairStore, people: tuple[str, ...], direction: Direction) -> list[Strip]:
    both = {direction.old.sensor, direction.new.sensor}
    return [s for s in store.strips if s.subject in people and both <= set(s.signals) and len(s.judged)]


def _length(network: BridgedNetwork | Network) -> int:
    backbone = network.lower if isinstance(network, BridgedNetwork) else network.backbone
    return backbone.layout.input_shapes(backbone.config)[0][1]


def _spread(n: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64)) if n else np.empty(0, np.int64)


def _parts(strip: Strip, sensor: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Judged windows of the first minutes, and of the rest; spread."""
    end = strip.ends[sensor] - strip.ends[sensor][0]
    early = end < FIRST_S * rate_of(sensor)
    first, rest = np.flatnonzero(strip.judged & early), np.flatnonzero(strip.judged & ~early)
    return first[_spread(len(first), KNOWN)], rest[_spread(len(rest), ASKED)]


def _headed(network: Any, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        logits: NDArray[np.float32] = network.head(torch.from_numpy(embedding.astype(np.float32))).numpy()
    return logits


def _counted(answers: NDArray[np.floating], target: NDArray[np.int64], n: int) -> Floats:
    counts = np.zeros((n, n))
    np.add.at(counts, (target, answers.argmax(1)), 1)
    return counts


def _balanced(sums: Floats, labels: tuple[str, ...]) -> Floats:
    matrix = sums.reshape(*sums.shape[:-1], len(labels), len(labels))
    return metrics.from_confusion(matrix, labels)["balanced_accuracy"]
