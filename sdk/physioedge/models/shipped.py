"""Where the shipped weights lie."""

from __future__ import annotations

from pathlib import Path

import physioedge_runtime

ASSETS = Path(__file__).parent.parent / "assets"
BACKBONE = ASSETS / "tiny" / "backbone.safetensors"
SHAPELETS = ASSETS / "tiny" / "shapelets.safetensors"
ARRHYTHMIA_ADAPTER = ASSETS / "tiny" / "arrhythmia"
BUNDLE = Path(physioedge_runtime.__file__).parent / "assets" / "arrhythmia.physio"


def adapter_of(task: str) -> Path:
    """Folder of a task's global adapter, whether or not it is there."""
    return ASSETS / "tiny" / task


def generator_of(task: str) -> Path:
    """A task's generator, whether or not it is there: kernel ridge regression on the set docs/personalisation.md names."""
    return ASSETS / "tiny" / "generators" / f"{task}.safetensors"
