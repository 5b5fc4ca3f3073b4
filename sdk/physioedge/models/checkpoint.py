"""Weights on disk: one safetensors file with its shape and its provenance in the header; never a pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from physioedge.models import shipped
from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout
from physioedge_runtime.errors import PhysioEdgeError

HEADER = "physioedge"
WEIGHTS_FILE = "backbone.safetensors"
SHIPPED = "shipped"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Whom and what weights have seen; `evaluate` refuses an overlap with its test subjects."""

    training_subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    objective: str
    details: dict[str, Any] = field(default_factory=dict)


def state_digest(config: BackboneConfig, state: dict[str, Tensor]) -> str:
    """Digest of a backbone: sha256 over its shape and all tensors as float32, in name order."""
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().to(torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_backbone(path: Path, backbone: Backbone, provenance: Provenance) -> str:
    """Write a backbone in half precision and return its digest.

    The weights of the module passed in are rounded too, so that memory and disk hold the same network.
    """
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(parameter.to(torch.float16).to(torch.float32))
    state = {name: value.detach().to(torch.float16).contiguous() for name, value in backbone.named_parameters()}
    header = {"config": backbone.config.to_dict(), "provenance": asdict(provenance)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, metadata={HEADER: json.dumps(header, sort_keys=True)})
    return state_digest(backbone.config, state)


def save_pretrained(folder: Path, backbone: Backbone, provenance: Provenance | None) -> str:
    """`save_backbone` into a folder; weights of which nobody says whom they have seen are refused.

    Raises
    ------
    PhysioEdgeError
        There is no provenance.
    """
    if provenance is None:
        raise PhysioEdgeError(
            "a backbone without provenance", "whom and what it has seen", "Pass a Provenance to save_pretrained."
        )
    return save_backbone(folder / WEIGHTS_FILE, backbone, provenance)


def weights_file(place: Path | str) -> Path:
    """The weights file of a place: ``"shipped"``, a folder or a file.

    Raises
    ------
    MissingExtra
        The shipped ones are asked for and are not installed.
    """
    if place == SHIPPED:
        return shipped.backbone()
    return Path(place) / WEIGHTS_FILE if Path(place).is_dir() else Path(place)


def read_config(path: Path) -> BackboneConfig:
    """Shape of the backbone in a weights file.

    Raises
    ------
    PhysioEdgeError
        The file is missing, damaged, or no backbone.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return BackboneConfig.from_dict(json.loads((file.metadata() or {})[HEADER])["config"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _unusable(path, error) from error


def load_backbone(path: Path, layout: Layout) -> tuple[Backbone, Provenance, str]:
    """Backbone for the inputs of a layout, whom it has seen, and its digest.

    Raises
    ------
    PhysioEdgeError
        The file is missing, damaged, or no backbone.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        config = BackboneConfig.from_dict(header["config"])
        seen = header["provenance"]
        provenance = Provenance(
            training_subjects=tuple(seen["training_subjects"]),
            datasets=tuple(seen["datasets"]),
            objective=seen["objective"],
            details=seen["details"],
        )
        backbone = Backbone(config, layout)
        missing, unexpected = backbone.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
        wrong = [name for name in missing if name in dict(backbone.named_parameters())] + list(unexpected)
        if wrong:
            raise KeyError(wrong[0])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _unusable(path, error) from error
    return backbone.eval(), provenance, state_digest(config, state)


def _unusable(path: Path, error: Exception) -> PhysioEdgeError:
    return PhysioEdgeError(
        f"{path.name} ({type(error).__name__}: {error})", "backbone weights of this version", "Train or fetch it again."
    )
