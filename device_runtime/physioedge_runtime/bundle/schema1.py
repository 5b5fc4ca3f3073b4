"""Contracts of schema 1, which knew one sensor and labels only, as values of schema 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from physioedge_runtime.bundle.plain import build

_MOVED = ("context_samples", "window_samples")


@dataclass(frozen=True, kw_only=True)
class _Sensor:
    name: str
    modality: str
    fs_hz: float
    units: str
    channels: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class _Window:
    context_samples: int
    window_samples: int
    lookahead_samples: int
    trigger: str
    hop_samples: int = 0


def to_schema_2(values: dict[str, Any]) -> dict[str, Any]:
    """The same agreement in the fields of schema 2.

    Raises
    ------
    TypeError, KeyError
        A field that is converted is missing, unknown or of the wrong kind; the others are left to the caller.
    """
    sensor, window = build(_Sensor, values["sensor"]), build(_Window, values["window"])
    lengths = {name: getattr(window, name) for name in _MOVED}
    known = {key: value for key, value in values.items() if key not in ("sensor", "window")}
    for key in ("sensors", "trigger", "values"):
        if key in known:
            raise TypeError(f"unknown field {key!r} in a contract of schema 1")
    return {
        **known,
        "schema_version": 2,
        "sensors": [{**vars(sensor), **lengths}],
        "trigger": {
            "kind": window.trigger,
            "lookahead_samples": window.lookahead_samples,
            "hop_samples": window.hop_samples,
        },
    }
