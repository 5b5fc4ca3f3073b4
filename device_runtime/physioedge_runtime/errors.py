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
    │   ├── UntrustedKey       among them KeyRevoked (was trusted once), DevelopmentKey
    │   ├── ContractError      the contract inside does not hold together
    │   └── GoldenMismatch     the engine computes something else than the exporter did
    ├── EngineError, SnapshotError, MissingExtra
    ├── AdapterError
    │   ├── SlotMismatch, NonFiniteAdapter, TaskMismatch, BackboneMismatch, AdapterExpired, AdapterReplayed
    │   ├── BundleMismatch, WrongBinding  made for one other bundle; for another device or fleet
    │   └── FastForwarded      a counter or a time too far ahead to be true
    ├── ConditionError         too little of a person yet, or bytes that are no condition
    ├── StoreError             the adapter store on disk cannot be read or written
    │   ├── StoreLocked        another process has it
    │   └── StoreRefused       not in this state of the store
    ├── LinkError              the host cannot be reached now, or asks to wait
    ├── HostError              the host cannot serve a request
    │   └── RequestInvalid (not of the form it must have), TokenRefused, HostBusy
    ├── DatasetError           recordings that are not here, or not as expected
    ├── EvaluationRefused      a figure that would be wrong, such as test subjects seen in training
    └── ExportError            an exported graph that cannot be made, or is out of tolerance

Messages say what came, what was expected, what to do. Classes have a ``code`` and a ``fix``, listed in docs/errors.md.
"""

from __future__ import annotations


class PhysioEdgeError(Exception):
    """Root of every error this project raises on purpose.

    Parameters
    ----------
    came, expected, do : str
        What came, what was expected, and what to do about it.
    """

    code, fix = "error", "Read the message: it says what came, what was expected and what to do."

    def __init__(self, came: str, expected: str, do: str) -> None:
        self.came, self.expected, self.do = came, expected, do
        super().__init__(came, expected, do)

    def __str__(self) -> str:
        return f"{self.came}; expected {self.expected}. {self.do}"


class SignalError(PhysioEdgeError):
    """Something is wrong with samples or their description."""

    code, fix = "signal", "State what the sensor really gives; the message names what does not fit."


class SampleRateMismatch(SignalError):
    """The sampling rate is not the contract's."""

    code, fix = "sample-rate", "State the sensor's own rate; to convert it, ask for resample='polyphase'."


class UnitMismatch(SignalError):
    """The physical unit is not the contract's."""

    code, fix = "unit", "Convert the samples to the contract's unit, or state the right one."


class ChannelMismatch(SignalError):
    """The channels are not the contract's."""

    code, fix = "channels", "Name the rows as the contract does, or choose another lead."


class ShapeError(SignalError):
    """An array has the wrong shape or kind of number."""

    code, fix = "shape", "Pass float arrays (channel, sample), in physical units."


class UnknownSensor(SignalError):
    """The contract has no sensor of this name."""

    code, fix = "sensor", "Name the sensor as the contract does; physioedge inspect lists them."


class RecordError(SignalError):
    """A file cannot be read as a recording."""

    code, fix = "record", "Check path and format; docs/sources.md lists what is read. Convert or split the file."


class SourceError(SignalError):
    """A live sensor cannot be opened, or went away for good."""

    code, fix = "source", "Look at the sensor: worn, charged, near, paired; then start again."


class SinkError(PhysioEdgeError):
    """A place for results cannot be opened, or takes no more."""

    code, fix = "sink", "Look at the place: broker reachable, folder writable, room left."


class BundleError(PhysioEdgeError):
    """A bundle, or another signed file, cannot be used."""

    code, fix = "bundle", "Get the file again from its maker."


class FormatError(BundleError):
    """Not a bundle, truncated, or over a limit."""

    code, fix = "bundle-format", "Get the file again; it is cut short, changed, or no file of this kind."


class DigestMismatch(BundleError):
    """The bytes of a file in the bundle are not those the manifest names."""

    code, fix = "digest", "Get the file again; do not use it. If it comes again, ask its maker."


class SignatureInvalid(BundleError):
    """The signature does not fit the manifest."""

    code, fix = "signature", "Do not use it. Get it from its maker, and check their key with physioedge keys show."


class UntrustedKey(BundleError):
    """The bundle is signed by a key that was not named as trusted."""

    code, fix = "untrusted-key", "If you know whose key it is, name it with trust= or --trust; else leave the file."


class KeyRevoked(UntrustedKey):
    """The file is signed by a key that was trusted and is not any more."""

    code, fix = "revoked-key", "Get the file signed anew, with a key that holds."


class DevelopmentKey(UntrustedKey):
    """A key is for development, and was not asked for."""

    code, fix = "development-key", "Use the product's key; to try things out, say development: before the path."


class SchemaTooNew(BundleError):
    """The bundle was written for a newer runtime."""

    code, fix = "schema", "Update physioedge on this device, or have the bundle exported for its version."


class ContractError(BundleError):
    """The contract is incomplete or contradicts itself or the graph."""

    code, fix = "contract", "Export the bundle again; the message names what contradicts what."


class GoldenMismatch(BundleError):
    """The engine's outputs on the golden vectors are out of tolerance on this machine."""

    code, fix = "golden", "Use the bundle's other graph or engine on this device; report which processor it is."


class EngineError(PhysioEdgeError):
    """The inference engine cannot load or run a graph."""

    code, fix = "engine", "physioedge doctor says which engines work here; choose one that does."


class AdapterError(PhysioEdgeError):
    """An adapter cannot be used."""

    code, fix = "adapter", "Ask the host for another adapter; what served before goes on serving."


class SlotMismatch(AdapterError):
    """Names, shapes or types of the arrays are not those of the slots."""

    code, fix = "slots", "Open the stream with adapters='slots', and an adapter made for this bundle."


class BackboneMismatch(AdapterError):
    """The adapter was made for another backbone."""

    code, fix = "backbone", "Ask for an adapter of this bundle's backbone."


class NonFiniteAdapter(AdapterError):
    """The adapter holds NaN, infinities or an excessive norm."""

    code, fix = "adapter-values", "Ask for another adapter; if it comes again, tell whoever runs the host."


class TaskMismatch(AdapterError):
    """The adapter was made for another task."""

    code, fix = "adapter-task", "Ask for an adapter of this bundle's task."


class BundleMismatch(AdapterError):
    """The adapter names one bundle, and it is not this one."""

    code, fix = "adapter-bundle", "Ask for an adapter of this bundle."


class WrongBinding(AdapterError):
    """The adapter was signed for another device or fleet."""

    code, fix = "binding", "Ask for one with this device's own name; adapters are not passed on."


class AdapterExpired(AdapterError):
    """The adapter's time is over, by the latest time that was ever signed or by a clock that can be right."""

    code, fix = "expired", "Ask for a new adapter; check the device's clock."


class AdapterReplayed(AdapterError):
    """The adapter's counter is not above the last one accepted."""

    code, fix = "replayed", "Ask for a new adapter; this one, or a newer, was accepted before."


class FastForwarded(AdapterError):
    """The adapter's counter or time is so far ahead that it would lock later ones out."""

    code, fix = "fast-forward", "Check the host's clock and counters, then ask again."


class ConditionError(PhysioEdgeError):
    """A condition cannot be made, or is not one."""

    code, fix = "condition", "Stream more of the person, with collect= on; the message says how much is lacking."


class StoreError(PhysioEdgeError):
    """The adapter store cannot be read or written; what served before keeps serving."""

    code, fix = "store", "Check that the folder is there, writable and not full; then try again."


class StoreLocked(StoreError):
    """Another process, or another part of this one, has the store open."""

    code, fix = "store-locked", "Close the other program that has the store open, or choose another folder."


class StoreRefused(StoreError):
    """The store is not in a state that allows this."""

    code, fix = "store-state", "Do first what the message names: end the trial, unpin, or stage an adapter."


class LinkError(PhysioEdgeError):
    """The host gave no answer, or asks to wait; the same request may succeed after `retry_after_s`."""

    code, fix = "link", "Nothing is lost: try again later. Check the network and the host's address."
    retry_after_s = 0.0


class HostError(PhysioEdgeError):
    """The host does not serve a request. From a `Link`, all but `LinkError` are for good: do not send it again."""

    code, fix = "host", "The message says what the host, or this command, cannot do; correct that."


class RequestInvalid(HostError):
    """A request for an adapter, or a file of one, is not of the form it must have."""

    code, fix = "request", "Send what docs/host.md describes; update the device if it is older than the host."


class TokenRefused(HostError):
    """The device is unknown to the host, or its token is another one."""

    code, fix = "token", "Check the device's name and token with whoever runs the host."


class HostBusy(HostError):
    """The host is asked too often, has too much to do, or is about to stop."""

    code, fix = "busy", "Come back after the time that the host names."


class SnapshotError(PhysioEdgeError):
    """A saved stream state does not fit this stream."""

    code, fix = "snapshot", "Restore it into a stream of the same bundle and rates, or start anew."


class MissingExtra(PhysioEdgeError):
    """An optional part of the package is needed and not installed."""

    code, fix = "missing-extra", "Install the extra that the message names, as pip install 'physioedge[view]'."


class DatasetError(PhysioEdgeError):
    """A public dataset is not where it was looked for, or not as expected."""

    code, fix = "dataset", "See docs/datasets.md for where the recordings are had; name their folder with --data."


class EvaluationRefused(PhysioEdgeError):
    """A figure was asked for that would be wrong."""

    code, fix = "refused", "Choose people whom the weights have not seen, or say what the message asks for."


class ExportError(PhysioEdgeError):
    """An exported graph cannot be made, or is out of tolerance."""

    code, fix = "export", "See the report beside the bundle: which stage is out of tolerance, and which layers."
