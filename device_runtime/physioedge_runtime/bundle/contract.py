"""Everything needed to use a model rightly.

The contract travels inside the signed manifest and, as JSON, in the metadata of every graph. Schema 1, with one sensor
and labels only, is read and converted; schema 2 is what is written, and schema 3 or 4 where there are step graphs.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any, cast

from physioedge_runtime.bundle.plain import build, build_all
from physioedge_runtime.bundle.schema1 import to_schema_2
from physioedge_runtime.bundle.specs import (
    COLUMNS,
    ROWS,
    SensorSpec,
    SlotSpec,
    StepSpec,
    StepStream,
    Thresholds,
    TriggerSpec,
    ValueSpec,
    WindowSpec,
)
from physioedge_runtime.bundle.tensors import MAX_RANK
from physioedge_runtime.errors import ContractError, SchemaTooNew, UnknownSensor

__all__ = [
    "Contract", "SensorSpec", "SlotSpec", "StepSpec", "StepStream", "Thresholds", "TriggerSpec", "ValueSpec",
    "WindowSpec",
]  # fmt: skip

SCHEMA_VERSION, STEP_SCHEMA_VERSION, ROWS_SCHEMA_VERSION = 2, 3, 4
"""Without step graphs, with them, and with such whose keys and values lie in rows."""
METADATA_KEY = "physioedge.contract"
TRIGGERS = ("beat", "hop")
INPUT, LOGITS, VALUES, EMBEDDING = "signal", "logits", "values", "embedding"
MAX_SENSORS = 16
MAX_OUTPUTS = 1000
MAX_INPUT_SAMPLES = 1_000_000
MAX_STATE_NUMBERS = 50_000_000
"""That a step graph may remember."""
MAX_SLOT_VALUES = 10_000_000
MIN_FS_HZ, MAX_FS_HZ = 0.001, 1_000_000.0
_SENSOR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The whole agreement between a model and whoever runs it.

    Attributes
    ----------
    schema_version : int
        That of `step_schema`.
    task : str
    labels : tuple of str
        Of a model that classifies; empty for one that gives values.
    values : tuple of ValueSpec
        Of a model that gives numbers; empty for one that classifies.
    sensors : tuple of SensorSpec
        The first leads: its samples drive the trigger. The windows of all end at the same instant.
    trigger : TriggerSpec
    thresholds : Thresholds
    embedding_dim : int
    backbone_digest : str
        Which backbone adapters must be made for.
    slots : tuple of SlotSpec
    step : StepSpec or None
        Of graphs that go on from one window to the next.
    """

    schema_version: int
    task: str
    labels: tuple[str, ...] = ()
    values: tuple[ValueSpec, ...] = ()
    sensors: tuple[SensorSpec, ...]
    trigger: TriggerSpec
    thresholds: Thresholds
    embedding_dim: int
    backbone_digest: str
    slots: tuple[SlotSpec, ...] = ()
    step: StepSpec | None = None

    @property
    def sensor(self) -> SensorSpec:
        """The leading sensor."""
        return self.sensors[0]

    @property
    def window(self) -> WindowSpec:
        """Cut of the leading sensor."""
        return self.window_of(self.sensors[0].name)

    def sensor_named(self, name: str) -> SensorSpec:
        """The sensor of this name; UnknownSensor where there is none."""
        for sensor in self.sensors:
            if sensor.name == name:
                return sensor
        names = ", ".join(repr(sensor.name) for sensor in self.sensors)
        raise UnknownSensor(f"sensor {name!r}", names, "Name a sensor of the contract.")

    def window_of(self, sensor_name: str) -> WindowSpec:
        """Cut of any sensor, in its own samples; UnknownSensor where there is none of this name.

        A look-ahead that is no whole number of a companion's samples is 0 for it.
        """
        sensor = self.sensor_named(sensor_name)
        return WindowSpec(
            context_samples=sensor.context_samples,
            window_samples=sensor.window_samples,
            lookahead_samples=self._in_samples_of(sensor, self.trigger.lookahead_samples) or 0,
            trigger=self.trigger.kind,
            hop_samples=self._in_samples_of(sensor, self.trigger.hop_samples) or 0,
        )

    @property
    def input_shapes(self) -> dict[str, tuple[int, int]]:
        """Signal inputs of the graph by name, in order: (channel, sample) of each sensor."""
        shapes = [(len(sensor.channels), sensor.input_samples) for sensor in self.sensors]
        if len(shapes) == 1:
            return {INPUT: shapes[0]}
        return {f"{INPUT}.{sensor.name}": shape for sensor, shape in zip(self.sensors, shapes, strict=True)}

    @property
    def output_name(self) -> str:
        """Name of the graph's first output: ``logits``, or ``values`` for a model that gives values."""
        return LOGITS if self.labels else VALUES

    @property
    def n_outputs(self) -> int:
        """Numbers in the graph's first output."""
        return len(self.labels or self.values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = cast(dict[str, Any], json.loads(json.dumps(asdict(self))))
        if self.step is None:
            del values["step"]  # schema 2 has no such field
        elif self.step.layout == COLUMNS:
            del values["step"]["layout"]  # nor schema 3 this one
        return values

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, values: Any) -> Contract:
        """Checked inverse of `to_dict`; takes schema 1 as well and gives schema 2.

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
        if isinstance(version, int) and version > ROWS_SCHEMA_VERSION:
            raise SchemaTooNew(
                f"contract schema {version}", f"at most {ROWS_SCHEMA_VERSION}", "Update physioedge on this machine."
            )
        try:
            parts = to_schema_2(values) if type(version) is int and version == 1 else dict(values)
            parts["sensors"] = build_all(SensorSpec, parts["sensors"])
            parts["trigger"] = build(TriggerSpec, parts["trigger"])
            parts["thresholds"] = build(Thresholds, parts["thresholds"])
            parts["values"] = build_all(ValueSpec, parts.get("values", ()))
            parts["slots"] = build_all(SlotSpec, parts.get("slots", ()))
            parts["step"] = _step(parts.get("step"))
            contract = build(cls, parts)
        except (KeyError, TypeError, OverflowError) as error:
            raise _bad(f"a contract with {error}", "all fields of its schema and no others") from error
        contract._check()
        return contract

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Checked inverse of `to_json`."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise _bad(f"text that is no JSON ({type(error).__name__})", "a JSON object") from error

    def _in_samples_of(self, sensor: SensorSpec, lead_samples: int) -> int | None:
        """The same time in samples of another sensor; None where they are no whole number."""
        exact = lead_samples * (sensor.fs_hz / self.sensors[0].fs_hz)
        nearest = round(exact)
        return nearest if abs(exact - nearest) <= 1e-9 * max(1.0, exact) else None

    def _check(self) -> None:
        _require(self.schema_version == step_schema(self.step), "schema_version", self.schema_version)
        self._check_outputs()
        self._check_sensors()
        self._check_trigger()
        for name, value in asdict(self.thresholds).items():
            _require(0.0 <= value <= 1.0, f"thresholds.{name}", value)
        _require(1 <= self.embedding_dim <= 1_000_000, "embedding_dim", self.embedding_dim)
        if self.step is not None:
            self._check_step(self.step)
        taken = [slot.name for slot in self.slots] + list(self.input_shapes)
        _require(len(set(taken)) == len(taken), "slots", "a name twice, or the name of a signal input")
        for slot in self.slots:
            bounded = len(slot.shape) <= MAX_RANK and all(1 <= n <= MAX_SLOT_VALUES for n in slot.shape)
            _require(bounded and math.prod(slot.shape) <= MAX_SLOT_VALUES, slot.name, slot.shape)

    def _check_outputs(self) -> None:
        names = list(self.labels) or [value.name for value in self.values]
        both = bool(self.labels and self.values)
        _require(not both and bool(names), "labels and values", f"{len(self.labels)} and {len(self.values)}")
        _require(len(names) <= MAX_OUTPUTS and len(set(names)) == len(names), f"names of {self.output_name}", names)
        _require(len(self.labels) != 1, "labels", self.labels)
        for value in self.values:
            _require(value.name != "", "a value's name", value.name)
            _require(-math.inf < value.low < value.high < math.inf, f"range of {value.name}", (value.low, value.high))
        meant = not self.values or self.thresholds.min_probability == 0
        _require(meant, "thresholds.min_probability of a model without labels", self.thresholds.min_probability)

    def _check_sensors(self) -> None:
        names = [sensor.name for sensor in self.sensors]
        _require(1 <= len(names) <= MAX_SENSORS, "number of sensors", len(names))
        _require(len(set(names)) == len(names), "names of sensors", names)
        for s in self.sensors:
            _require(len(names) == 1 or _SENSOR_NAME.fullmatch(s.name) is not None, "a sensor's name", s.name)
            _require(MIN_FS_HZ <= s.fs_hz <= MAX_FS_HZ, f"fs_hz of {s.name}", s.fs_hz)
            _require(len(s.channels) >= 1, f"channels of {s.name}", s.channels)
            _require(-math.inf < s.low < s.high < math.inf, f"range of {s.name}", (s.low, s.high))
            _require(s.context_samples >= 0 and s.window_samples >= 1, f"window of {s.name}", s)
            _require(s.input_samples <= MAX_INPUT_SAMPLES, f"window of {s.name}", s)

    def _check_trigger(self) -> None:
        t = self.trigger
        _require(t.kind in TRIGGERS, "trigger.kind", t.kind)
        _require(t.hop_samples >= (1 if t.kind == "hop" else 0), "trigger.hop_samples", t.hop_samples)
        _require(max(t.hop_samples, t.lookahead_samples) <= MAX_INPUT_SAMPLES, "trigger", t)
        _require(0 <= t.lookahead_samples < self.sensor.input_samples, "trigger.lookahead_samples", t.lookahead_samples)
        for sensor in self.sensors[1:]:
            for name in ("lookahead_samples", "hop_samples"):
                samples = self._in_samples_of(sensor, getattr(t, name))
                _require(samples is not None, f"trigger.{name}, no whole number of samples of {sensor.name}", t)

    def step_samples(self, sensor_name: str) -> int:
        """Samples of a sensor that one step covers; 0 without step graphs."""
        hops = 0 if self.step is None else self.step.hops
        return hops * self.window_of(sensor_name).hop_samples

    def _check_step(self, step: StepSpec) -> None:
        _require(self.trigger.kind == "hop" and self.trigger.lookahead_samples == 0, "step of a trigger", self.trigger)
        sizes = (step.hops, step.layers, step.heads, step.head_dim, step.reach_tokens, len(step.streams))
        _require(all(n >= 1 for n in sizes) and step.head_dim % 2 == 0, "step", sizes)
        known = step.layout == COLUMNS or (step.layout == ROWS and len(step.streams) == 1)
        _require(known, "step.layout", step.layout)
        _require(0 < step.position_s < math.inf and 1 < step.rotary_base < math.inf, "step.position_s", step)
        for s in step.streams:
            _require(1 <= s.new_tokens <= s.past_tokens and s.pooled_past >= 0, "step.streams", s)
            _require(s.past_tokens % s.new_tokens == 0 == s.pooled_past % s.new_tokens, "step.streams", s)
            covered = s.new_tokens * s.token_s * self.sensor.fs_hz
            _require(abs(covered - step.hops * self.trigger.hop_samples) < 1e-6, "step.streams", s)
        numbers = 2 * step.layers * step.heads * step.head_dim * (step.past_tokens + step.new_tokens)
        _require(numbers + step.pooled_past * step.heads * step.head_dim <= MAX_STATE_NUMBERS, "step's state", numbers)
        steps = self.sensor.window_samples // max(1, self.step_samples(self.sensor.name))
        for sensor in self.sensors:
            samples = self.step_samples(sensor.name)
            _require(steps >= 1 and sensor.window_samples == steps * samples, f"step of {sensor.name}", samples)


def step_schema(step: StepSpec | None) -> int:
    """Schema of a contract with these step graphs."""
    if step is None:
        return SCHEMA_VERSION
    return STEP_SCHEMA_VERSION if step.layout == COLUMNS else ROWS_SCHEMA_VERSION


def _step(values: Any) -> StepSpec | None:
    if values is None:
        return None
    parts = dict(values)
    parts["streams"] = build_all(StepStream, parts["streams"])
    return build(StepSpec, parts)


def _require(holds: bool, name: str, value: object) -> None:
    if not holds:
        raise _bad(f"{name} = {value!r:.200}", "a value the runtime can use")


def _bad(came: str, expected: str) -> ContractError:
    return ContractError(came, expected, "Export the bundle again with this version of physioedge.")
