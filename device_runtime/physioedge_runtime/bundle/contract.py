"""Everything needed to use a model rightly.

The contract travels inside the signed manifest and, as JSON, in the metadata of every graph.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, cast

from physioedge_runtime.errors import ContractError, SchemaTooNew

SCHEMA_VERSION = 1
METADATA_KEY = "physioedge.contract"
TRIGGERS = ("beat", "hop")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class SensorSpec:
    """One sensor as the graph takes it.

    Attributes
    ----------
    name : str
        Name used in ``Stream.push(chunk, t, sensor)``.
    modality : str
        ``ecg``, ``ppg``, ``acc``, ``eda``, ...
    fs_hz : float
        Canonical rate.
    units : str
        ``mV``, ``g``, ``uS``, ... or ``a.u.``.
    channels : tuple of str
        Channel names in order.
    low, high : float
        Plausible range in `units`; samples outside are flagged, never clipped silently.
    """

    name: str
    modality: str
    fs_hz: float
    units: str
    channels: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """What is cut out of the signal for one judgement, in samples at the canonical rate.

    The graph's input is ``context_samples + window_samples`` long. For a beat trigger the R peak is the sample with
    ``lookahead_samples`` samples after it; for a hop trigger the look-ahead is 0 and a window ends every
    ``hop_samples``.
    """

    context_samples: int
    window_samples: int
    lookahead_samples: int
    trigger: str
    hop_samples: int = 0

    @property
    def input_samples(self) -> int:
        """Length of the graph's input."""
        return self.context_samples + self.window_samples

    @property
    def anchor_index(self) -> int:
        """Index of the judged instant (the R peak, or the last sample) inside the graph's input."""
        return self.input_samples - 1 - self.lookahead_samples


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """When a result is given rather than withheld.

    Attributes
    ----------
    min_quality : float
        Windows with a lower signal-quality index are not judged.
    min_probability : float
        Judgements with a lower probability of the best label are withheld.
    """

    min_quality: float
    min_probability: float


@dataclass(frozen=True, kw_only=True)
class SlotSpec:
    """A graph input that takes one LoRA array (B, alpha folded in; A is a constant of the graph)."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The whole agreement between a model and whoever runs it."""

    schema_version: int
    task: str
    labels: tuple[str, ...]
    sensor: SensorSpec
    window: WindowSpec
    thresholds: Thresholds
    embedding_dim: int
    backbone_digest: str
    slots: tuple[SlotSpec, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return cast(dict[str, Any], json.loads(json.dumps(asdict(self))))

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, values: Any) -> Contract:
        """Checked inverse of `to_dict`.

        Raises
        ------
        SchemaTooNew
            Written for a newer runtime.
        ContractError
            A field is missing, unknown, of the wrong kind or out of range.
        """
        if not isinstance(values, dict):
            raise _bad(f"a {type(values).__name__}", "an object")
        version = values.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise SchemaTooNew(
                f"contract schema {version}", f"at most {SCHEMA_VERSION}", "Update physioedge on this machine."
            )
        try:
            parts = dict(values)
            parts["sensor"] = _build(SensorSpec, parts["sensor"])
            parts["window"] = _build(WindowSpec, parts["window"])
            parts["thresholds"] = _build(Thresholds, parts["thresholds"])
            parts["slots"] = tuple(_build(SlotSpec, slot) for slot in parts.get("slots", ()))
            contract = _build(cls, parts)
        except (KeyError, TypeError, OverflowError) as error:
            raise _bad(f"a contract with {error}", "all fields of schema 1 and no others") from error
        contract._check()
        return contract

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Checked inverse of `to_json`."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise _bad(f"text that is no JSON ({type(error).__name__})", "a JSON object") from error

    def _check(self) -> None:
        s, w = self.sensor, self.window
        _require(self.schema_version == SCHEMA_VERSION, "schema_version", self.schema_version)
        _require(len(self.labels) >= 2 and len(set(self.labels)) == len(self.labels), "labels", self.labels)
        _require(math.isfinite(s.fs_hz) and s.fs_hz > 0, "sensor.fs_hz", s.fs_hz)
        _require(len(s.channels) >= 1, "sensor.channels", s.channels)
        _require(-math.inf < s.low < s.high < math.inf, "sensor range", (s.low, s.high))
        _require(w.trigger in TRIGGERS, "window.trigger", w.trigger)
        _require(w.trigger != "hop" or w.hop_samples >= 1, "window.hop_samples", w.hop_samples)
        _require(0 <= w.lookahead_samples < w.input_samples <= 1_000_000, "window", w)
        _require(w.context_samples >= 0 and w.window_samples >= 1, "window", w)
        for name, value in asdict(self.thresholds).items():
            _require(0.0 <= value <= 1.0, f"thresholds.{name}", value)
        _require(1 <= self.embedding_dim <= 1_000_000, "embedding_dim", self.embedding_dim)
        _require(len({slot.name for slot in self.slots}) == len(self.slots), "slots", "a name twice")
        for slot in self.slots:
            _require(all(n >= 1 for n in slot.shape) and math.prod(slot.shape) <= 10_000_000, slot.name, slot.shape)


def _build(kind: type[_T], values: Any) -> _T:
    """Dataclass of plain JSON values, with every field's kind checked."""
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} given as {type(values).__name__}")
    known = {f.name: str(f.type) for f in fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - set(known)
    if unknown:
        raise TypeError(f"unknown field {sorted(unknown)[0]!r} in {kind.__name__}")
    return kind(**{key: _typed(f"{kind.__name__}.{key}", known[key], value) for key, value in values.items()})


def _typed(name: str, kind: str, value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "str" and not isinstance(value, str):
        raise TypeError(f"{name} = {value!r} where text belongs")
    if kind == "int" and not (number and isinstance(value, int)):
        raise TypeError(f"{name} = {value!r} where a whole number belongs")
    if kind == "float":
        if not number:
            raise TypeError(f"{name} = {value!r} where a number belongs")
        return float(value)
    if kind.startswith("tuple["):
        item = kind[len("tuple[") :].split(",")[0]
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{name} = {value!r} where a list belongs")
        return tuple(_typed(name, item, v) if item in ("str", "int", "float") else v for v in value)
    return value


def _require(holds: bool, name: str, value: object) -> None:
    if not holds:
        raise _bad(f"{name} = {value!r}", "a value the runtime can use")


def _bad(came: str, expected: str) -> ContractError:
    return ContractError(came, expected, "Export the bundle again with this version of physioedge.")
