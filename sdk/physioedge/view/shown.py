"""What the page is told, as plain values for JSON."""

from __future__ import annotations

import base64
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from physioedge.view.feed import Feed, Piece
from physioedge_runtime import Bundle, Result
from physioedge_runtime.adaptation.own_signal import named_bias
from physioedge_runtime.adaptation.store import AdapterStore

LATEST = 200
"""Results that latency is told of."""


def about(bundle: Bundle, feed: Feed, *, title: str, speeds: tuple[float, ...], cannot: Mapping[str, str]) -> Any:
    """What does not change: bundle, sensors, labels, and which actions cannot be done and why."""
    contract, manifest = bundle.contract, bundle.manifest
    limits = contract.thresholds
    return {
        "title": title,
        "bundle": {"name": manifest.name, "version": manifest.version, "digest": bundle.digest},
        "sensors": [
            {
                "name": name,
                "modality": contract.sensor_named(name).modality,
                "fs_hz": signal.fs_hz,
                "judged_at_hz": contract.sensor_named(name).fs_hz,
                "units": signal.units,
                "channels": list(signal.channels),
                "judged": list(contract.sensor_named(name).channels),
            }
            for name, signal in feed.sensors.items()
        ],
        "labels": [{"label": label, "means": str(manifest.task_info.get(label, label))} for label in contract.labels],
        "values": [{"name": v.name, "units": v.units, "low": v.low, "high": v.high} for v in contract.values],
        "trigger": contract.trigger.kind,
        "window_s": contract.window.window_samples / contract.sensor.fs_hz,
        "min_quality": limits.min_quality,
        "min_probability": limits.min_probability,
        "live": feed.live,
        "speeds": list(speeds),
        "cannot": dict(cannot),
    }


def piece_of(piece: Piece) -> dict[str, Any]:
    """Samples as base64 of little-endian float32, one channel after the other: NaN is a number there, as in no JSON."""
    data = np.ascontiguousarray(piece.chunk, "<f4").tobytes()
    return {
        "sensor": piece.sensor,
        "start_s": round(piece.start_s, 6),
        "n": int(piece.chunk.shape[1]),
        "samples": base64.b64encode(data).decode("ascii"),
    }


def result_of(result: Result, origin_s: float, work_ms: float) -> dict[str, Any]:
    """One result, on the page's clock, which begins at 0."""
    return {
        "t_s": _rounded(result.t_anchor_s - origin_s, 4),
        "start_s": _rounded(result.t_start_s - origin_s, 4),
        "end_s": _rounded(result.t_end_s - origin_s, 4),
        "label": result.label,
        "probability": _rounded(result.probability, 4),
        "values": [_rounded(value, 3) for value in result.values],
        "quality": _rounded(result.quality, 3),
        "flags": list(result.flags),
        "adapter": result.adapter,
        "judged": result.judged,
        "delay_s": _rounded(result.delay_s, 3),
        "work_ms": _rounded(work_ms, 3),
    }


class Latency:
    """Work and delay of the latest judged results."""

    def __init__(self) -> None:
        self._work_ms: deque[float] = deque(maxlen=LATEST)
        self._delay_s: deque[float] = deque(maxlen=LATEST)

    def add(self, result: Result, work_ms: float) -> None:
        """One more; of a window that the model was not asked about, nothing is learnt."""
        if result.judged or result.probabilities:
            self._work_ms.append(work_ms)
            self._delay_s.append(result.delay_s)

    def told(self) -> dict[str, Any] | None:
        """Median and 99 of 100 of the work, median of the delay, and of how many; None of none."""
        if not self._work_ms:
            return None
        middle, high = (_rounded(float(q), 2) for q in np.quantile(self._work_ms, [0.5, 0.99]))
        delay_s = _rounded(float(np.median(self._delay_s)), 2)
        return {"p50_ms": middle, "p99_ms": high, "delay_s": delay_s, "of": len(self._work_ms)}


def adapter_of(store: AdapterStore) -> dict[str, Any]:
    """What serves, and how it came to."""
    serving = store.serving
    return {
        "id": "global" if serving is None else serving.manifest.id,
        "bias": {name: round(number, 3) for name, number in named_bias(store).items()},
        "phase": store.phase,
        "pinned": store.pinned,
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
