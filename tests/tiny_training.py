"""A backbone of some thousand weights and recordings that nobody had, so that fits in tests take a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ACC, ECG, PPG
from physioedge.tasks.arrhythmia import BeatRecord
from synthetic_ecg import synthetic_ecg

SYMBOLS = "NNNANVNNFN"
CLASS_OF = {"N": 0, "A": 1, "V": 2, "F": 3}


LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=8, pool_tokens=4),))
"""One lead: 274 samples in, of them 200 in 8 tokens."""
WRIST = Layout(
    sensors=(
        SensorLayout(sensor="ppg", kind="ppg", channels=2, n_tokens=8),
        SensorLayout(sensor="acc", kind="acc", channels=3, n_tokens=4),
    )
)
"""Four seconds of two PPG channels and three axes: three streams, 20 tokens."""
FS_HZ = ECG.fs_hz
INPUT_SAMPLES = 274


def tiny_config(**changes: Any) -> BackboneConfig:
    """A backbone for ECG, PPG and accelerometer."""
    parts: dict[str, Any] = {
        "name": "test",
        "d_model": 16,
        "n_heads": 2,
        "n_layers": 2,
        "modalities": (replace(ECG, norm_patches=3), PPG, ACC),
    }
    return BackboneConfig(**{**parts, **changes})


def tiny_backbone(seed: int = 0, layout: Layout = LAYOUT, **changes: Any) -> Backbone:
    torch.manual_seed(seed)
    return Backbone(tiny_config(**changes), layout).eval()


def random_signals(layout: Layout, n: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Raw samples of every sensor, (n, channel, input_samples) each: slow sines with noise."""
    rng = np.random.default_rng(seed)
    out = []
    for (channels, samples), one in zip(layout.input_shapes(tiny_config()), layout.sensors, strict=True):
        t = np.arange(samples) / tiny_config().modality(one.kind).fs_hz
        x = np.sin(2 * np.pi * t * rng.uniform(1, 3, (n, channels, 1))) + 0.2 * rng.standard_normal(
            (n, channels, t.size)
        )
        out.append(torch.from_numpy(x.astype(np.float32)))
    return tuple(out)


def random_windows(n: int, seed: int = 0) -> torch.Tensor:
    """Raw samples (n, 1, input_samples): a slow sine with noise, as large as an ECG."""
    rng = np.random.default_rng(seed)
    t = np.arange(INPUT_SAMPLES) / FS_HZ
    x = np.sin(2 * np.pi * t * rng.uniform(1, 3, (n, 1, 1))) + 0.2 * rng.standard_normal((n, 1, t.size))
    return torch.from_numpy(x.astype(np.float32))


def write_backbone(path: Path, *, seed: int = 0, seen: tuple[str, ...] = (), **changes: Any) -> str:
    provenance = Provenance(training_subjects=seen, datasets=("mitbih",), objective="none")
    return save_backbone(path, tiny_backbone(seed, **changes), provenance)


def beat_record(name: str = "101", *, seed: int = 0, duration_s: float = 40.0) -> BeatRecord:
    """Two leads at 125 Hz; beats of V are larger and upside down, so that there is something to learn."""
    samples, peaks = synthetic_ecg(125.0, duration_s, seed=seed)
    anchor = np.rint(peaks * 125.0).astype(np.int64)
    label = np.array([CLASS_OF[SYMBOLS[i % len(SYMBOLS)]] for i in range(len(anchor))], np.int64)
    signal = samples[0].copy()
    for i in np.flatnonzero(label == 2):
        signal[anchor[i] - 20 : anchor[i] + 20] *= -1.5
    return BeatRecord(
        name=name,
        subject=f"mitbih:{name}",
        signal=np.stack([signal, -0.5 * signal]).astype(np.float32),
        anchor=anchor,
        label=label,
    )


def write_mitbih(root: Path, records: tuple[str, ...], *, duration_s: float = 25.0) -> NDArray[np.float64]:
    """Synthetic records in the layout of the packed MIT-BIH set, under ``root/mitbih``; R peaks of the last one."""
    (root / "mitbih").mkdir(exist_ok=True)
    for record in records:
        samples, peaks = synthetic_ecg(360.0, duration_s, seed=int(record))
        both = np.concatenate([samples, -0.5 * samples])
        symbols = np.array([SYMBOLS[i % len(SYMBOLS)] for i in range(len(peaks))])
        np.savez(
            root / "mitbih" / f"{record}.npz",
            sig=np.rint(both * 200 + 1024).astype(np.int16),
            gain=np.array([200.0, 200.0]),
            baseline=np.array([1024, 1024]),
            fs=np.array(360),
            ch_names=np.array(["MLII", "V1"]),
            ann_sample=np.concatenate([[5], np.rint(peaks * 360).astype(int)]),
            ann_symbol=np.concatenate([["+"], symbols]),
            ann_aux=np.array(["(N"] + [""] * len(symbols)),
        )
    return peaks
