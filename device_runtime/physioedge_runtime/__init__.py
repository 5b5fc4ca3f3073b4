"""physioedge on a device: verified bundles, streams, results. Needs numpy, onnxruntime and PyNaCl only.

Names are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# onnxruntime's own wheels report usage to their maker; nothing that runs here may open a socket that nobody asked for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from physioedge_runtime.bundle.container import Bundle
    from physioedge_runtime.errors import (
        AdapterError,
        AdapterExpired,
        AdapterReplayed,
        BackboneMismatch,
        BundleError,
        BundleMismatch,
        ChannelMismatch,
        ConditionError,
        ContractError,
        DatasetError,
        DevelopmentKey,
        DigestMismatch,
        EngineError,
        EvaluationRefused,
        ExportError,
        FastForwarded,
        FormatError,
        GoldenMismatch,
        HostBusy,
        HostError,
        KeyRevoked,
        LinkError,
        MissingExtra,
        NonFiniteAdapter,
        PhysioEdgeError,
        RecordError,
        RequestInvalid,
        SampleRateMismatch,
        SchemaTooNew,
        ShapeError,
        SignalError,
        SignatureInvalid,
        SinkError,
        SlotMismatch,
        SnapshotError,
        SourceError,
        StoreError,
        StoreLocked,
        StoreRefused,
        TaskMismatch,
        TokenRefused,
        UnitMismatch,
        UnknownSensor,
        UntrustedKey,
        WrongBinding,
    )
    from physioedge_runtime.result import Result
    from physioedge_runtime.stream import Stream

__all__ = [
    "AdapterError",
    "AdapterExpired",
    "AdapterReplayed",
    "BackboneMismatch",
    "Bundle",
    "BundleError",
    "BundleMismatch",
    "ChannelMismatch",
    "ConditionError",
    "ContractError",
    "DatasetError",
    "DevelopmentKey",
    "DigestMismatch",
    "EngineError",
    "EvaluationRefused",
    "ExportError",
    "FastForwarded",
    "FormatError",
    "GoldenMismatch",
    "HostBusy",
    "HostError",
    "KeyRevoked",
    "LinkError",
    "MissingExtra",
    "NonFiniteAdapter",
    "PhysioEdgeError",
    "RecordError",
    "RequestInvalid",
    "Result",
    "SampleRateMismatch",
    "SchemaTooNew",
    "ShapeError",
    "SignalError",
    "SignatureInvalid",
    "SinkError",
    "SlotMismatch",
    "SnapshotError",
    "SourceError",
    "StoreError",
    "StoreLocked",
    "StoreRefused",
    "Stream",
    "TaskMismatch",
    "TokenRefused",
    "UnitMismatch",
    "UnknownSensor",
    "UntrustedKey",
    "WrongBinding",
]

_HOMES = {"Bundle": "bundle.container", "Result": "result", "Stream": "stream"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
