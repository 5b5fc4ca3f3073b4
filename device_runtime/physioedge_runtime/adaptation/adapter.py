"""An adapter file: LoRA arrays and perhaps a bias, signed by the host for whom and for what they are.

``docs/adapter.md`` is the specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.freshness import Freshness
from physioedge_runtime.adaptation.manifest import ARRAYS, AdapterManifest
from physioedge_runtime.bundle.archive import bad_format
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.signed import open_signed, read_once
from physioedge_runtime.bundle.tensors import ADAPTER_TYPES, read_tensors
from physioedge_runtime.engine.slots import BIAS, MAX_SLOT_NORM, split_adapter
from physioedge_runtime.errors import (
    BackboneMismatch,
    BundleMismatch,
    NonFiniteAdapter,
    TaskMismatch,
    WrongBinding,
)

SUFFIX = ".adapter"
MAX_ADAPTER_BYTES = 4 * 1024 * 1024
MAX_ADAPTER_MANIFEST_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an adapter must have been made for, to be used here.

    Attributes
    ----------
    contract : Contract
        Of the bundle in use.
    bundle_digest : str
        Its digest.
    device, fleet : str, optional
        Who this device is, and the fleet it belongs to; None: nobody in particular.
    """

    contract: Contract
    bundle_digest: str
    device: str | None = None
    fleet: str | None = None

    @classmethod
    def of(cls, bundle: Bundle, *, device: str | None = None, fleet: str | None = None) -> Target:
        """The target that a bundle makes on this device."""
        return cls(contract=bundle.contract, bundle_digest=bundle.digest, device=device, fleet=fleet)


@dataclass(frozen=True, eq=False)
class AdapterFile:
    """A verified adapter file. Nothing of it can be changed.

    Attributes
    ----------
    manifest : AdapterManifest
        What was signed.
    arrays : mapping of str to float32
        For `Stream.set_adapter`; read-only.
    digest : str
        SHA-256 of ``manifest.json``: the identity of the adapter.
    key_id : str
        Id of the trusted key that signed it.
    """

    manifest: AdapterManifest
    arrays: Mapping[str, NDArray[np.float32]]
    digest: str
    key_id: str

    @classmethod
    def open(cls, source: bytes | Path | str, *, trust: Path | str | bytes | None = None) -> AdapterFile:
        """An adapter verified in itself: limits, structure, signature, manifest, digest, arrays, in that order.

        Whether it may be used here is another question, see `check_fits`.

        Parameters
        ----------
        source : bytes or path
            The file's bytes, or where it is.
        trust : path, 32 raw bytes or None
            Public key (PEM file, a folder of them, or raw) that must have signed it; None takes the keys shipped with
            the runtime.

        Raises
        ------
        FormatError, UntrustedKey, SignatureInvalid, SchemaTooNew, DigestMismatch, NonFiniteAdapter
            The adapter is refused; nothing of it has been used.
        BundleError
            The file or a key cannot be read.
        """
        archive = open_signed(read_adapter(source), trust, max_manifest_bytes=MAX_ADAPTER_MANIFEST_BYTES)
        manifest = AdapterManifest.from_bytes(archive.manifest)
        archive.check_files(manifest.files)
        arrays = read_tensors(archive.files[ARRAYS].data, ADAPTER_TYPES)
        found = {name: array.shape for name, array in arrays.items()}
        if found != dict(manifest.arrays):
            raise bad_format(f"arrays {found!r:.200}", f"those of the manifest, {dict(manifest.arrays)!r:.200}")
        if BIAS in arrays and arrays[BIAS].dtype != np.float32:
            raise bad_format(f"{BIAS} of type {arrays[BIAS].dtype}", "float32")
        loaded = {name: _loaded(name, array) for name, array in arrays.items()}
        return cls(manifest, MappingProxyType(loaded), archive.digest, archive.signer)

    def check_fits(self, target: Target, *, freshness: Freshness, clock_s: float) -> None:
        """Passes an adapter that may be accepted now, on this device, for this bundle.

        Parameters
        ----------
        target : Target
            Bundle and device.
        freshness : Freshness
            What the device remembers of earlier adapters.
        clock_s : float
            Unix seconds of the device's clock, as wrong as it may be.

        Raises
        ------
        TaskMismatch, BackboneMismatch, BundleMismatch, WrongBinding, SlotMismatch, NonFiniteAdapter
            As `check_made_for`.
        AdapterReplayed, FastForwarded, AdapterExpired
            As `Freshness.check`.
        """
        self.check_made_for(target)
        freshness.check(self.manifest, clock_s)

    def check_made_for(self, target: Target) -> None:
        """Passes an adapter that was made for this task, backbone, bundle and device, and that fits its slots.

        Raises
        ------
        TaskMismatch, BackboneMismatch, BundleMismatch, WrongBinding
            It was made for something else.
        SlotMismatch, NonFiniteAdapter
            As `split_adapter`.
        """
        m, contract = self.manifest, target.contract
        if m.task != contract.task:
            raise TaskMismatch(f"adapter {m.id} for task {m.task}", contract.task, _ASK)
        if m.backbone_digest != contract.backbone_digest:
            came = f"adapter {m.id} for backbone {m.backbone_digest[:16]}..."
            raise BackboneMismatch(came, f"{contract.backbone_digest[:16]}...", _ASK)
        if m.bundle_digest not in ("", target.bundle_digest):
            came = f"adapter {m.id} for bundle {m.bundle_digest[:16]}..."
            raise BundleMismatch(came, f"{target.bundle_digest[:16]}..., or any", _ASK)
        ours = {"device": target.device, "fleet": target.fleet, "any": ""}[m.binding.kind]
        if m.binding.id != ours:
            held = [f"{kind} {name}" for kind, name in (("device", target.device), ("fleet", target.fleet)) if name]
            raise WrongBinding(
                f"adapter {m.id} for {m.binding}",
                " or ".join([*held, "any"]),
                "Ask the host for one that is signed for this device.",
            )
        split_adapter(self.arrays, contract.slots, contract.n_outputs)


_ASK = "Ask the host for one that is made for this bundle."


def read_adapter(source: bytes | Path | str) -> bytes:
    """Bytes of an adapter file, within the limit; FormatError or BundleError where there are none."""
    if not isinstance(source, bytes):
        return read_once(Path(source), what="an adapter", max_bytes=MAX_ADAPTER_BYTES)
    if not 0 < len(source) <= MAX_ADAPTER_BYTES:
        raise bad_format(f"an adapter of {len(source)} bytes", f"1 to {MAX_ADAPTER_BYTES}")
    return source


def _loaded(name: str, array: NDArray[Any]) -> NDArray[np.float32]:
    """The array as it is used: float32, finite, of bounded norm, read-only."""
    norm = float(np.linalg.norm(array.astype(np.float64)))
    if not norm <= MAX_SLOT_NORM:  # also true for NaN
        raise NonFiniteAdapter(
            f"{name} with norm {norm:.4g}", f"finite values of norm at most {MAX_SLOT_NORM:g}", "Reject the adapter."
        )
    loaded = array.astype(np.float32)
    loaded.flags.writeable = False
    return loaded
