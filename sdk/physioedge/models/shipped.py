"""Where what ships lies: the bundle in the runtime, the weights in a package of their own.

A device has no use for the weights, so its install is without them. They come with ``physioedge-weights``, which the
extras `train`, `export` and `host` bring; whoever asks for a path without it is told so.
"""

from __future__ import annotations

from pathlib import Path

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


def demo_file(name: str) -> Path:
    """A file of the demo that comes with the weights: the bundle of stress, its public key, an hour with a wristband.

    Raises
    ------
    MissingExtra
        It is not there: the weights are of another version, or not installed.
    """
    path = folder() / "demo" / name
    if not path.exists():
        do = "Install others with: pip install -U physioedge-weights"
        raise MissingExtra(f"weights without {path.name}", "the demo's files", do)
    return path
