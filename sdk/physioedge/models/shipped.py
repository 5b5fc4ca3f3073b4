"""Where what ships lies: the bundle in the runtime, the weights in a package of their own.

A device has no use for the weights, so its install is without them. They come with ``physioedge-weights``, which the
extras `train`, `export` and `host` bring; whoever asks for a path without it is told so.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import physioedge_runtime
from physioedge_runtime.errors import MissingExtra

BUNDLE = Path(physioedge_runtime.__file__).parent / "assets" / "arrhythmia.physio"


def folder() -> Path:
    """Folder of the shipped weights; all paths here but `BUNDLE` lie in it.

    Raises
    ------
    MissingExtra
        The package ``physioedge-weights`` is not installed.
    """
    try:
        from physioedge_weights import FOLDER
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "no shipped weights, for want of the package 'physioedge-weights'",
            "it, as the extras 'train', 'export' and 'host' bring it",
            "Install it with: pip install physioedge-weights (from a checkout: pip install -e ./weights)",
        ) from error
    return FOLDER / "tiny"


def backbone() -> Path:
    """The pre-trained backbone."""
    return folder() / "backbone.safetensors"


def shapelets() -> Path:
    """The bank of shapelets."""
    return folder() / "shapelets.safetensors"


def adapter_of(task: str) -> Path:
    """Folder of a task's global adapter, whether or not it is there."""
    return folder() / task


def generator_of(task: str) -> Path:
    """A task's generator, whether or not it is there: an MLP on a set of docs/personalisation.md."""
    return folder() / "generators" / f"{task}.safetensors"


class Hour(NamedTuple):
    """An hour with a wristband, the bundle of stress that judges it, and the key that bundle is signed by."""

    record: Path
    bundle: Path
    trust: Path


def stress_hour() -> Hour:
    """What the demo and the live page make personal beside heart beats.

    Raises
    ------
    MissingExtra
        A file is not there: the weights are of another version, or not installed.
    """
    place = folder() / "demo"
    found = Hour(place / "wrist_hour.npz", place / "stress.physio", place / "stress.pem")
    for path in found:
        if not path.exists():
            do = "Install others with: pip install -U physioedge-weights"
            raise MissingExtra(f"weights without {path.name}", "the demo's files", do)
    return found
