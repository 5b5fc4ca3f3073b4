"""A fitted bridge on disk: its arrays, and what it stands between, by digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_arrays
from safetensors.torch import save as save_arrays

from physioedge.adapters.lora.files import load_note, merged_network
from physioedge.bridge.module import BridgedNetwork, Ends, Positions, PrototypeBridge
from physioedge.models.checkpoint import Provenance, load_backbone
from physioedge.models.layout import Layout
from physioedge.models.network import Network
from physioedge_export.merge import WEIGHTS_FILE
from physioedge_runtime.errors import AdapterError, BackboneMismatch

ARRAYS_FILE, NOTE_FILE = "bridge.safetensors", "bridge.json"
_DO = "Fit it with `physioedge train bridge`."


@dataclass(frozen=True, kw_only=True)
class BridgeNote:
    """What a bridge is for, and whom it has seen.

    Attributes
    ----------
    direction, task : str
    labels : tuple of str
    new, old : Layout
        What the two models take.
    positions : Positions
    rank, prototypes, tokens : int
        Shape of the bridge; `tokens` are those it writes.
    backbone_digest : str
        Both halves are of this backbone.
    adapter_digest : str
        sha256 of the arrays of the old model's adapter.
    bridge_digest : str
        sha256 of the bridge's own arrays.
    training_subjects, datasets : tuple of str
        Whose pairs it was fitted on.
    alignment : mapping
        Lag between the two sensors, and how sure it is.
    fit : mapping
        How it was fitted and what came of it.
    """

    direction: str
    task: str
    labels: tuple[str, ...]
    new: Layout
    old: Layout
    positions: Positions
    rank: int
    prototypes: int
    tokens: int
    backbone_digest: str
    adapter_digest: str
    bridge_digest: str = ""
    training_subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    alignment: dict[str, float] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)


def adapter_digest(folder: Path) -> str:
    """sha256 of the arrays of an adapter.

    Raises
    ------
    AdapterError
        They cannot be read.
    """
    try:
        return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    except OSError as error:
        raise AdapterError(f"{folder.name} ({error})", f"a folder with {WEIGHTS_FILE}", "Name one.") from error


def save_bridge(folder: Path, bridge: PrototypeBridge, note: BridgeNote) -> BridgeNote:
    """Write arrays and then, in one step, the note: where that is, the arrays are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    data = save_arrays({name: value.detach().cpu().contiguous() for name, value in bridge.state_dict().items()})
    (folder / ARRAYS_FILE).write_bytes(data)
    values = {**asdict(note), "new": note.new.to_dict(), "old": note.old.to_dict()}
    values["bridge_digest"] = hashlib.sha256(data).hexdigest()
    part = folder / f"{NOTE_FILE}.part"
    part.write_text(json.dumps(values, indent=1) + "\n")
    part.replace(folder / NOTE_FILE)
    return load_bridge(folder)[1]


def load_bridge(folder: Path) -> tuple[PrototypeBridge, BridgeNote]:
    """Inverse of `save_bridge`.

    Raises
    ------
    AdapterError
        Files are missing or damaged, or do not belong together.
    """
    try:
        values = json.loads((folder / NOTE_FILE).read_text())
        data = (folder / ARRAYS_FILE).read_bytes()
        lists = ("labels", "training_subjects", "datasets")
        parts: dict[str, Any] = {name: tuple(v) if name in lists else v for name, v in values.items()}
        parts |= {name: Layout.from_dict(parts[name]) for name in ("new", "old")}
        note = BridgeNote(**{**parts, "positions": Positions(**parts["positions"])})
        if hashlib.sha256(data).hexdigest() != note.bridge_digest:
            raise ValueError(f"{ARRAYS_FILE} is not the one that {NOTE_FILE} was written for")
        state = load_arrays(data)
        n_in, n_out = len(state["middle"]), state["start"].shape[-1]
        ends = Ends(middle=torch.zeros(n_in), size=torch.ones(n_in), start=torch.zeros(note.tokens, n_out))
        bridge = PrototypeBridge(ends, torch.zeros(note.prototypes, n_out), rank=note.rank, seed=0)
        bridge.load_state_dict(state)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise AdapterError(f"{folder.name} ({error})", f"{NOTE_FILE} and {ARRAYS_FILE} of a bridge", _DO) from error
    return bridge.eval(), note


def bridged_network(
    folder: Path, backbone_file: Path, adapter_folder: Path
) -> tuple[BridgedNetwork, Network, BridgeNote, Provenance]:
    """The network of a bridge between a backbone for the new sensor and the labelled model.

    Parameters
    ----------
    folder : Path
        Of the bridge.
    backbone_file : Path
    adapter_folder : Path
        Of the old model.

    Returns
    -------
    network : BridgedNetwork
        In evaluation mode.
    old : Network
        The whole labelled model, adapter merged.
    note : BridgeNote
    provenance : Provenance
        Of the backbone.

    Raises
    ------
    BackboneMismatch, AdapterError
        The bridge was fitted between others.
    """
    bridge, note = load_bridge(folder)
    new, seen, digest = load_backbone(backbone_file, note.new)
    if digest != note.backbone_digest:
        came = f"a bridge for backbone {note.backbone_digest[:12]}"
        raise BackboneMismatch(came, f"one for {digest[:12]}", "Fit it on this backbone.")
    found = adapter_digest(adapter_folder)
    if found != note.adapter_digest:
        came = f"a bridge to an adapter with digest {note.adapter_digest[:12]}"
        raise AdapterError(came, f"one to {found[:12]}", "Name the adapter it was fitted to, or fit it again.")
    old, _, _ = merged_network(new.laid_out(load_note(adapter_folder).layout), digest, adapter_folder)
    if not isinstance(old, Network):
        raise AdapterError("a network that reads spectra", "one whose head reads the embedding", "Take another task.")
    network = BridgedNetwork(new, bridge, old.backbone, old.head, note.positions)
    return network.eval(), old, note, seen
