"""Global adapters on disk: a folder any peft can read, and what the task needs to know beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, load_backbone
from physioedge.models.heads import PrototypeHead
from physioedge.models.layout import Layout
from physioedge.models.network import Network, network_on
from physioedge.models.rate import RateNetwork, SpectralRate
from physioedge_export.merge import CONFIG_FILE, WEIGHTS_FILE, LoraAdapter, merged_state, read_adapter
from physioedge_runtime.errors import AdapterError, BackboneMismatch

TASK_FILE = "physioedge.json"
LEVELS_FILE = "levels.json"
"""Beside an adapter for which an adapter set was made: where everybody's level lies."""
POOLED, RATE = "pooled", "spectral_rate"


@dataclass(frozen=True, kw_only=True)
class TaskNote:
    """What a fitted adapter is for, and whom it has seen.

    Attributes
    ----------
    task : str
    labels : tuple of str
        Classes in order; empty for values.
    values : tuple of str
        Names of the values in order; empty for classes.
    layout : Layout
        Sensors and lengths it was fitted on.
    backbone_digest : str
    head_seed : int
        Orientation of the prototypes.
    head : mapping
        Constants of the head by name: ``log_prior``, or ``offset`` and ``scale``.
    training_subjects, datasets : tuple of str
    fit : mapping
        How it was fitted.
    network : str
        `POOLED`, or `RATE` for the heart rate network that reads spectra as well.
    """

    task: str
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    layout: Layout
    backbone_digest: str
    head_seed: int = 0
    head: dict[str, list[float]] = field(default_factory=dict)
    training_subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    fit: dict[str, Any]
    network: str = POOLED


def head_constants(network: Network) -> dict[str, list[float]]:
    """Constants of a head that a fit has set."""
    names = ("log_prior",) if isinstance(network.head, PrototypeHead) else ("offset", "scale")
    return {name: [round(float(v), 6) for v in getattr(network.head, name)] for name in names}


def save_adapter(folder: Path, wrapped: Any, note: TaskNote) -> None:
    """Write a fitted ``peft.PeftModel`` around a `Network`, in peft's own format.

    Parameters
    ----------
    folder : Path
        Gets ``adapter_config.json``, ``adapter_model.safetensors`` and, last and in one step, ``physioedge.json``:
        where that is, the others are whole.
    wrapped : peft.PeftModel
    note : TaskNote
    """
    folder.mkdir(parents=True, exist_ok=True)
    wrapped.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["target_modules"] = sorted(config["target_modules"])  # a set in peft: sorted, so that a rerun gives the same
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    write_note(folder, note)


def write_note(folder: Path, note: TaskNote) -> None:
    """Write what an adapter is for beside it, in one step."""
    values = {**{key: getattr(note, key) for key in note.__dataclass_fields__}, "layout": note.layout.to_dict()}
    part = folder / f"{TASK_FILE}.part"
    part.write_text(json.dumps(values, indent=1) + "\n")
    part.replace(folder / TASK_FILE)


def load_note(folder: Path) -> TaskNote:
    """What the adapter in `folder` is for.

    Raises
    ------
    AdapterError
        The note is missing or incomplete.
    """
    try:
        values = json.loads((folder / TASK_FILE).read_text())
        lists = ("labels", "values", "training_subjects", "datasets")
        parts: dict[str, Any] = {key: tuple(v) if key in lists else v for key, v in values.items()}
        return TaskNote(**{**parts, "layout": Layout.from_dict(parts["layout"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AdapterError(
            f"{folder.name} without a usable {TASK_FILE} ({error})", f"{CONFIG_FILE}, {WEIGHTS_FILE} and {TASK_FILE}",
            "Name a folder that `physioedge train global` wrote.",
        ) from error  # fmt: skip


def save_levels(folder: Path, level: NDArray[np.floating], people: int) -> None:
    """Write everybody's level (class,), the median over so many people, beside an adapter."""
    values = {"level": [round(float(v), 4) for v in level], "people": people}
    (folder / LEVELS_FILE).write_text(json.dumps(values) + "\n")


def load_levels(folder: Path) -> NDArray[np.float64] | None:
    """Everybody's level (class,) beside an adapter; None where there is none.

    Raises
    ------
    AdapterError
        The file is damaged.
    """
    path = folder / LEVELS_FILE
    if not path.exists():
        return None
    try:
        found = np.array(json.loads(path.read_text())["level"], np.float64)
        if found.ndim != 1 or not np.isfinite(found).all():
            raise ValueError(f"levels of shape {found.shape}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AdapterError(
            f"{LEVELS_FILE} ({error})", "a list of numbers, one a class", "Make it with `physioedge train adapters`."
        ) from error
    return found


def merged_network(
    backbone: Backbone, digest: str, folder: Path
) -> tuple[Network | RateNetwork, LoraAdapter, TaskNote]:
    """The task's network with the adapter of `folder` merged in float, in evaluation mode.

    Raises
    ------
    BackboneMismatch
        The adapter was fitted on another backbone.
    AdapterError
        It cannot be read.
    """
    note, adapter = load_note(folder), read_adapter(folder)
    if note.backbone_digest != digest:
        raise BackboneMismatch(
            f"an adapter for backbone {note.backbone_digest[:12]}", f"one for {digest[:12]}", "Fit it on this backbone."
        )
    network = _bare(backbone.laid_out(note.layout), note)
    network.load_state_dict(merged_state(network.state_dict(), adapter))
    for name, value in note.head.items():
        network.get_buffer(f"head.{name}").copy_(torch.tensor(value))
    return network.eval(), adapter, note


def _bare(backbone: Backbone, note: TaskNote) -> Network | RateNetwork:
    """The network of a note, without what was fitted."""
    if note.network == RATE:
        return RateNetwork(backbone, SpectralRate(acc="acc" in note.layout.names))
    n_outputs = len(note.labels or note.values)
    return network_on(
        backbone, n_outputs, classes=bool(note.labels), head_seed=note.head_seed,
        temperature=note.fit.get("temperature", 1.0), prototypes=note.fit.get("prototypes", True),
    )  # fmt: skip


def load_network(backbone_file: Path, folder: Path) -> tuple[Network | RateNetwork, LoraAdapter, TaskNote, Provenance]:
    """The network of a backbone file and a global adapter's folder, with everything to say about it.

    Returns
    -------
    network : Network or RateNetwork
        Adapter merged in float, evaluation mode.
    adapter : LoraAdapter
        Its arrays; A is what slots share.
    note : TaskNote
    provenance : Provenance
        Of the backbone.
    """
    backbone, provenance, digest = load_backbone(backbone_file, load_note(folder).layout)
    network, adapter, note = merged_network(backbone, digest, folder)
    return network, adapter, note, provenance
