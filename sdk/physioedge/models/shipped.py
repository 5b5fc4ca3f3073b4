"""Where the shipped weights lie."""

from __future__ import annotations

from pathlib import Path

import physioedge_runtime

ASSETS = Path(__file__).parent.parent / "assets"
BACKBONE = ASSETS / "tiny-ecg" / "backbone.safetensors"
ARRHYTHMIA_ADAPTER = ASSETS / "tiny-ecg" / "arrhythmia-global"
BUNDLE = Path(physioedge_runtime.__file__).parent / "assets" / "arrhythmia.physio"
