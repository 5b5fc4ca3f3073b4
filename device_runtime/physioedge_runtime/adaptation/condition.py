"""The condition: what may leave the device of a person's signal, and nothing else does.

Of every window that the model was asked about, a fixed number of features is taken: the embedding, or distances to
public shapelets. Each is clipped to a range that the bundle states, and mean and standard deviation over windows are
kept; windows, their order and their times are not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.plain import check_kinds, load_object
from physioedge_runtime.errors import ConditionError, FormatError

FILE = "condition.json"
SCHEMA = 1
EMBEDDING, SHAPELETS = "embedding", "shapelets"
KINDS = (EMBEDDING, SHAPELETS)
MAX_FEATURES = 1536
MAX_BYTES = 8192
MAX_FILE_VALUES = 200_000
"""Of `FILE`: features of both kinds, and those of all golden windows."""
MIN_WINDOWS = 30
MAX_COUNT = 10**9
MAX_NOISE = 1e9
ADJACENCY = "one window"
"""What the optional noise hides: whether any one window was among those the statistics are of."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ConditionSpec:
    """Features of one kind, as a bundle states them.

    Attributes
    ----------
    kind : str
        ``embedding`` or ``shapelets``.
    low, high : float64 (feature,)
        Every feature is clipped to this range.
    source : str
        Digest of what gives the features: the backbone's, or the shapelet bank's.
    graph : str or None
        Of ``shapelets``: the extractor's file.
    golden : float32 (window, feature) or None
        Of ``shapelets``: what it gave for the golden windows.
    """

    kind: str
    low: Floats
    high: Floats
    source: str
    graph: str | None = None
    golden: NDArray[np.float32] | None = None

    @classmethod
    def all_of(cls, bundle: Bundle) -> dict[str, ConditionSpec]:
        """By kind, what a bundle offers; empty where it holds no `FILE`.

        Raises
        ------
        FormatError
            The file is not as docs/condition.md says.
        """
        if FILE not in bundle.manifest.files:
            return {}
        try:
            values = load_object(bundle.read(FILE), _unusable, MAX_FILE_VALUES)
            check_kinds(FILE, values, {"schema": int, "kinds": dict}, _unusable)
            if values["schema"] != SCHEMA or not set(values["kinds"]) <= set(KINDS):
                raise ValueError(f"schema {values['schema']}, kinds {sorted(values['kinds'])}")
            return {kind: _spec(kind, row) for kind, row in values["kinds"].items()}
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise FormatError(f"{FILE} ({error!s:.200})", f"schema {SCHEMA}", "Export the bundle again.") from error


def _spec(kind: str, row: Mapping[str, Any]) -> ConditionSpec:
    low, high = (np.array(row[name], np.float64) for name in ("low", "high"))
    if not (low.ndim == 1 and low.shape == high.shape and 1 <= len(low) <= MAX_FEATURES):
        raise ValueError(f"{kind} of {low.shape} and {high.shape}")
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(f"{kind} with an empty range")
    parts: dict[str, Any] = {"kind": kind, "low": low, "high": high, "source": str(row["source"])}
    if kind == EMBEDDING:
        return ConditionSpec(**parts)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        golden = np.array(row["golden"], np.float64).astype(np.float32)
    if golden.ndim != 2 or golden.shape[1] != len(low) or not np.isfinite(golden).all():
        raise ValueError(f"golden {kind} of {golden.shape}")
    return ConditionSpec(**parts, graph=str(row["graph"]), golden=golden)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is sent: its bytes are `to_bytes`, all of them.

    Attributes
    ----------
    kind, source : str
        As `ConditionSpec`.
    task : mapping
        Descriptor: name, labels or values, sensors with kind and rate.
    backbone : str
        Digest.
    adapter : str
        Under which adapter the features were taken; distances do not depend on it.
    windows : int
        How many the statistics are of.
    mean, deviation : float32 (feature,)
        Of the clipped features.
    noise : float
        Noise multiplier, see `noised`; 0 for none.
    """

    kind: str
    source: str
    task: Mapping[str, Any]
    backbone: str
    adapter: str
    windows: int
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    noise: float = 0.0

    def to_bytes(self) -> bytes:
        """A line of JSON, then mean and deviation as float16, little-endian: at most 8192 bytes.

        Raises
        ------
        ConditionError
            It would be longer.
        """
        head = {
            "schema": SCHEMA, "kind": self.kind, "source": self.source, "task": dict(self.task),
            "backbone": self.backbone, "adapter": self.adapter, "windows": self.windows, "features": len(self.mean),
            "noise": self.noise, "adjacency": ADJACENCY,
        }  # fmt: skip
        text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode("ascii")
        data = text + b"\n" + np.concatenate([self.mean, self.deviation]).astype("<f2").tobytes()
        if len(data) > MAX_BYTES:
            raise ConditionError(f"a condition of {len(data)} bytes", f"at most {MAX_BYTES}", "Use fewer features.")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Condition:
        """Checked inverse of `to_bytes`, to the precision of float16.

        Raises
        ------
        ConditionError
            It is not such a condition.
        """
        try:
            if len(data) > MAX_BYTES:
                raise ValueError(f"{len(data)} bytes")
            text, _, body = data.partition(b"\n")
            head = load_object(text, _unusable)
            check_kinds("a head", head, _HEAD, _unusable)
            if head.pop("schema") != SCHEMA or head.pop("adjacency") != ADJACENCY or head["kind"] not in KINDS:
                raise ValueError("another schema, adjacency or kind")
            n = head.pop("features")
            numbers = np.frombuffer(body, "<f2").astype(np.float32)
            if not 1 <= n <= MAX_FEATURES or len(numbers) != 2 * n:
                raise ValueError(f"{n} features, {len(body)} bytes")
            if not np.isfinite(numbers).all() or (numbers[n:] < 0).any():
                raise ValueError("statistics that no signal has")
            found = cls(**head, mean=numbers[:n], deviation=numbers[n:])
            found._check()
            return found
        except ValueError as error:
            raise ConditionError(
                f"a condition ({error!s:.300})", "one that a device made", "Send it as it was made."
            ) from error

    def preview(self) -> str:
        """Every byte that would be sent, for people to read."""
        head = {k: v for k, v in vars(self).items() if k not in ("mean", "deviation")}
        lines = [f"{len(self.to_bytes())} bytes of {self.kind}", *(f"{k}: {v}" for k, v in head.items())]
        rows = zip(self.mean.astype(np.float16), self.deviation.astype(np.float16), strict=True)
        return "\n".join([*lines, "feature mean deviation", *(f"{i} {m:.4g} {d:.4g}" for i, (m, d) in enumerate(rows))])

    def _check(self) -> None:
        texts = (self.kind, self.source, self.backbone, self.adapter)
        if max(map(len, texts)) > 200 or not 0 < self.windows <= MAX_COUNT or not 0 <= self.noise <= MAX_NOISE:
            raise ValueError("fields out of range")


class Accumulator:
    """Running statistics of clipped features; the same code makes conditions for training.

    Parameters
    ----------
    spec : ConditionSpec
    """

    def __init__(self, spec: ConditionSpec) -> None:
        self.spec = spec
        self.windows = 0
        self._mean = np.zeros(len(spec.low))
        self._spread = np.zeros(len(spec.low))

    def add(self, features: NDArray[np.floating]) -> None:
        """One window's features (feature,); what is not finite is left out.

        Notes
        -----
        Source of the update: Welford, Technometrics 4(3), 1962.
        """
        if features.shape != self._mean.shape or not np.isfinite(features).all():
            return
        clipped = np.clip(features.astype(np.float64), self.spec.low, self.spec.high)
        self.windows += 1
        before = clipped - self._mean
        self._mean += before / self.windows
        self._spread += before * (clipped - self._mean)

    def reset(self) -> None:
        """Forget the person."""
        self.windows = 0
        self._mean[:] = 0.0
        self._spread[:] = 0.0

    def snapshot(self) -> dict[str, Any]:
        """State for `restore`."""
        return {"windows": self.windows, "mean": self._mean.copy(), "spread": self._spread.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `snapshot`; ValueError where it does not fit."""
        arrays = {name: np.array(state[name], np.float64) for name in ("mean", "spread")}
        if any(a.shape != self._mean.shape or not np.isfinite(a).all() for a in arrays.values()):
            raise ValueError("statistics of another length, or not finite")
        self.windows, self._mean, self._spread = int(state["windows"]), arrays["mean"], arrays["spread"]

    def condition(self, contract: Contract, adapter: str) -> Condition:
        """The statistics so far.

        Raises
        ------
        ConditionError
            Of fewer than `MIN_WINDOWS` windows.
        """
        if self.windows < MIN_WINDOWS:
            raise ConditionError(
                f"a condition of {self.windows} windows", f"at least {MIN_WINDOWS}", "Stream more of the person first."
            )
        return Condition(
            kind=self.spec.kind, source=self.spec.source, task=task_of(contract), backbone=contract.backbone_digest,
            adapter=adapter, windows=self.windows, mean=self._mean.astype(np.float32),
            deviation=np.sqrt(self._spread / self.windows).astype(np.float32),
        )  # fmt: skip


def task_of(contract: Contract) -> dict[str, Any]:
    """A task's descriptor: the same signal asks for another adapter where the task is another."""
    return {
        "name": contract.task,
        "outputs": list(contract.labels) or [value.name for value in contract.values],
        "sensors": [[sensor.modality, sensor.fs_hz, len(sensor.channels)] for sensor in contract.sensors],
    }


def noised(condition: Condition, spec: ConditionSpec, multiplier: float, rng: np.random.Generator) -> Condition:
    """A condition with Gaussian noise on every number.

    Adding or taking away one window moves a mean over n by at most the clipped range over n, and a deviation by at most
    the range over the root of n; noise of `multiplier` times that is added to each. Numbers are noised one by one: for
    a guarantee over all of them the multipliers add up in quadrature.

    Parameters
    ----------
    condition : Condition
    spec : ConditionSpec
        Whose ranges bound what one window can move.
    multiplier : float
        Standard deviation of the noise in units of the largest change by one window.
    rng : numpy.random.Generator
        The device's own.

    Notes
    -----
    Source: Dwork and Roth, The algorithmic foundations of differential privacy, 2014, appendix A (Gaussian mechanism);
    the adjacency unit is one window, not one person.
    """
    if not 0 <= multiplier <= MAX_NOISE:
        raise ConditionError(f"noise multiplier {multiplier}", f"0 to {MAX_NOISE:g}", "State one.")
    width = (spec.high - spec.low) * multiplier
    n = condition.windows
    mean = condition.mean + rng.standard_normal(len(width)) * width / n
    deviation = np.maximum(condition.deviation + rng.standard_normal(len(width)) * width / math.sqrt(n), 0.0)
    changed = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32), "noise": float(multiplier)}
    return Condition(**{**vars(condition), **changed})


_HEAD: dict[str, type] = {
    "schema": int,
    "kind": str,
    "source": str,
    "task": dict,
    "backbone": str,
    "adapter": str,
    "windows": int,
    "features": int,
    "noise": float,
    "adjacency": str,
}


def _unusable(came: str, expected: str) -> NoReturn:
    raise ValueError(came)
