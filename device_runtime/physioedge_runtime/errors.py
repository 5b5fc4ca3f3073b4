"""The one error tree.

::

    PhysioEdgeError
    ├── SignalError            what came in from a sensor or a file
    │   ├── SampleRateMismatch, UnitMismatch, ChannelMismatch, ShapeError, UnknownSensor
    │   ├── RecordError        a file that cannot be read as a recording
    │   └── SourceError        a live sensor that cannot be opened, or went away for good
    ├── SinkError              a place for results that cannot be opened or takes no more
    ├── BundleError
    │   ├── FormatError        truncated, not a bundle, over a limit
    │   ├── DigestMismatch, SignatureInvalid, SchemaTooNew
    │   ├── UntrustedKey       among them KeyRevoked: it was trusted once
    │   ├── ContractError      the contract inside does not hold together
    │   └── GoldenMismatch     the engine computes something else than the exporter did
    ├── EngineError, SnapshotError, MissingExtra
    ├── AdapterError
    │   ├── SlotMismatch, NonFiniteAdapter, TaskMismatch, BackboneMismatch
    │   ├── BundleMismatch, WrongBinding  made for one other bundle; for another device or fleet
    │   ├── AdapterExpired, AdapterReplayed
    │   └── FastForwarded      a counter or a time too far ahead to be true
    ├── ConditionError         too little of a person yet, or bytes that are no condition
    ├── StoreError             the adapter store on disk cannot be read or written
    │   ├── StoreLocked        another process has it
    │   └── StoreRefused       not in this state of the store
    ├── LinkError              the host cannot be reached now, or asks to wait
    ├── HostError              the host cannot serve a request
    │   ├── RequestInvalid     not of the form it must have
    │   └── TokenRefused, HostBusy
    ├── DatasetError           recordings that are not here, or not as expected
    ├── EvaluationRefused      a figure that would be wrong, such as test subjects seen in training
    └── ExportError            an exported graph that cannot be made, or is out of tolerance

Every message says what came, what was expected and what to do. Each class has a ``code`` for programs to match on.
"""

from __future__ import annotations


class PhysioEdgeError(Exception):
    """Root of every error this project raises on purpose.

    Parameters
    ----------
    came : str
        What came.
    expected : str
        What was expected.
    do : str
        What to do about it.
    """

    code = "error"

    def __init__(self, came: str, expected: str, do: str) -> None:
        self.came, self.expected, self.do = came, expected, do
        super().__init__(came, expected, do)

    def __str__(self) -> str:
        return f"{self.came}; expected {self.expected}. {self.do}"


class SignalError(PhysioEdgeError):
    """Something is wrong with samples or their description."""

    code = "signal"


class SampleRateMismatch(SignalError):
    """The sampling rate is not the contract's."""

    code = "sample-rate"


class UnitMismatch(SignalError):
    """The physical unit is not the contract's."""

    code = "unit"


class ChannelMismatch(SignalError):
    """The channels are not the contract's."""

    code = "channels"


class ShapeError(SignalError):
    """An array has the wrong shape or kind of number."""

    code = "shape"


class UnknownSensor(SignalError):
    """The contract has no sensor of this name."""

    code = "sensor"


class RecordError(SignalError):
    """A file cannot be read as a recording."""

    code = "record"


class SourceError(SignalError):
    """A live sensor cannot be opened, or went away for good."""

    code = "source"


class SinkError(PhysioEdgeError):
    """A place for results cannot be opened, or takes no more."""

    code = "sink"


class BundleError(PhysioEdgeError):
    """A bundle, or another signed file, cannot be used."""

    code = "bundle"


class FormatError(BundleError):
    """Not a bundle, truncated, or over a limit."""

    code = "bundle-format"


class DigestMismatch(BundleError):
    """The bytes of a file in the bundle are not those the manifest names."""

    code = "digest"


class SignatureInvalid(BundleError):
    """The signature does not fit the manifest."""

    code = "signature"


class UntrustedKey(BundleError):
    """The bundle is signed by a key that was not named as trusted."""

    code = "untrusted-key"


class KeyRevoked(UntrustedKey):
    """The file is signed by a key that was trusted and is not any more."""

    code = "revoked-key"


class SchemaTooNew(BundleError):
    """The bundle was written for a newer runtime."""

    code = "schema"


class ContractError(BundleError):
    """The contract is incomplete or contradicts itself or the graph."""

    code = "contract"


class GoldenMismatch(BundleError):
    """The engine's outputs on the golden vectors are out of tolerance on this machine."""

    code = "golden"


class EngineError(PhysioEdgeError):
    """The inference engine cannot load or run a graph."""

    code = "engine"


class AdapterError(PhysioEdgeError):
    """An adapter cannot be used."""

    code = "adapter"


class SlotMismatch(AdapterError):
    """Names, shapes or types of the arrays are not those of the slots."""

    code = "slots"


class BackboneMismatch(AdapterError):
    """The adapter was made for another backbone."""

    code = "backbone"


class NonFiniteAdapter(AdapterError):
    """The adapter holds NaN, infinities or an excessive norm."""

    code = "adapter-values"


class TaskMismatch(AdapterError):
    """The adapter was made for another task."""

    code = "adapter-task"


class BundleMismatch(AdapterError):
    """The adapter names one bundle, and it is not this one."""

    code = "adapter-bundle"


class WrongBinding(AdapterError):
    """The adapter was signed for another device or fleet."""

    code = "binding"


class AdapterExpired(AdapterError):
    """The adapter's time is over, by the latest time that was ever signed or by a clock that can be right."""

    code = "expired"


class AdapterReplayed(AdapterError):
    """The adapter's counter is not above the last one accepted."""

    code = "replayed"


class FastForwarded(AdapterError):
    """The adapter's counter or time is so far ahead that it would lock later ones out."""

    code = "fast-forward"


class ConditionError(PhysioEdgeError):
    """A condition cannot be made, or is not one."""

    code = "condition"


class StoreError(PhysioEdgeError):
    """The adapter store cannot be read or written; what served before keeps serving."""

    code = "store"


class StoreLocked(StoreError):
    """Another process, or another part of this one, has the store open."""

    code = "store-locked"


class StoreRefused(StoreError):
    """The store is not in a state that allows this."""

    code = "store-state"


class LinkError(PhysioEdgeError):
    """The host gave no answer, or asks to wait; the same request may succeed after `retry_after_s`."""

    code = "link"
    retry_after_s = 0.0


class HostError(PhysioEdgeError):
    """The host does not serve a request. From a `Link`, all but `LinkError` are for good: do not send it again."""

    code = "host"


class RequestInvalid(HostError):
    """A request for an adapter, or a file of one, is not of the form it must have."""

    code = "request"


class TokenRefused(HostError):
    """The device is unknown to the host, or its token is another one."""

    code = "token"


class HostBusy(HostError):
    """The host is asked too often, has too much to do, or is about to stop."""

    code = "busy"


class SnapshotError(PhysioEdgeError):
    """A saved stream state does not fit this stream."""

    code = "snapshot"


class MissingExtra(PhysioEdgeError):
    """An optional part of the package is needed and not installed."""

    code = "missing-extra"


class DatasetError(PhysioEdgeError):
    """A public dataset is not where it was looked for, or not as expected."""

    code = "dataset"


class EvaluationRefused(PhysioEdgeError):
    """A figure was asked for that would be wrong."""

    code = "refused"


class ExportError(PhysioEdgeError):
    """An exported graph cannot be made, or is out of tolerance."""

    code = "export"
