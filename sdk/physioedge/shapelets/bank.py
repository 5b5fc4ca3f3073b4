"""The bank on disk: shapelets of every kind of sensor in one safetensors file, with whom they were found on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from physioedge.models.modality import Modality
from physioedge.models.shapelets import ShapeletTransform
from physioedge_runtime.errors import PhysioEdgeError

HEADER = "physioedge"


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Shapelets by kind of sensor.

    Attributes
    ----------
    transforms : mapping of kind to ShapeletTransform
    modalities : mapping of kind to Modality
        The frontends whose output they are of.
    training_subjects, datasets : tuple of str
        Whom and what they were found on.
    details : mapping
        How, by kind.
    """

    transforms: Mapping[str, ShapeletTransform]
    modalities: Mapping[str, Modality]
    training_subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    details: Mapping[str, Any]


def digest_of(bank: Bank) -> str:
    """SHA-256 over the frontends and all shapelets as float32, in the order of kinds and lengths."""
    shapes = {kind: asdict(bank.modalities[kind]) for kind in sorted(bank.transforms)}
    found = hashlib.sha256(json.dumps(shapes, sort_keys=True).encode())
    for kind in sorted(bank.transforms):
        for group in bank.transforms[kind].groups:
            found.update(kind.encode() + str(tuple(group.shape)).encode())
            found.update(group.detach().to(torch.float32).contiguous().numpy().tobytes())
    return found.hexdigest()


def save_bank(path: Path, bank: Bank) -> str:
    """Write a bank in half precision and return its digest; the shapelets passed in are rounded too."""
    arrays = {}
    with torch.no_grad():
        for kind, transform in bank.transforms.items():
            for index, group in enumerate(transform.groups):
                group.copy_(group.to(torch.float16).to(torch.float32))
                arrays[f"{kind}.{index}"] = group.detach().to(torch.float16).contiguous()
    header = {
        "modalities": {kind: one.to_dict() for kind, one in bank.modalities.items()},
        "training_subjects": bank.training_subjects,
        "datasets": bank.datasets,
        "details": dict(bank.details),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, path, metadata={HEADER: json.dumps(header, sort_keys=True)})
    return digest_of(bank)


def load_bank(path: Path) -> Bank:
    """The bank of a file.

    Raises
    ------
    PhysioEdgeError
        The file is missing, damaged, or no bank.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            arrays = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
        modalities = {kind: Modality.from_dict(one) for kind, one in header["modalities"].items()}
        transforms = {}
        for kind in modalities:
            count = sum(name.startswith(f"{kind}.") for name in arrays)
            groups = [arrays[f"{kind}.{index}"] for index in range(count)]
            transforms[kind] = ShapeletTransform(groups).eval().requires_grad_(False)
        return Bank(
            transforms=transforms, modalities=modalities, training_subjects=tuple(header["training_subjects"]),
            datasets=tuple(header["datasets"]), details=header["details"],
        )  # fmt: skip
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PhysioEdgeError(
            f"{path.name} ({type(error).__name__}: {error})", "a bank of shapelets of this version",
            "Learn it with `physioedge train shapelets`, or fetch it again.",
        ) from error  # fmt: skip
