"""What incremental inference is measured on: the `tiny` preset, windows of 10 s of ECG, one each second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.bench.network import random_network
from physioedge.models.checkpoint import state_digest
from physioedge.models.config import TINY
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ECG
from physioedge.models.network import Network
from physioedge.models.stepping import step_spec
from physioedge.signals.read import read_recording
from physioedge_runtime.bundle.contract import Contract, step_schema
from physioedge_runtime.signal.resample import resample

WINDOW_S, HOP_S = 10.0, 1.0
LABELS = ("one", "other", "third", "fourth")


def hop_network() -> tuple[Network, Contract]:
    """The network with random weights, and its contract with steps of a hop."""
    from physioedge.tasks.arrhythmia import contract_for

    tokens = round(WINDOW_S / ECG.patch_s)
    layout = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=tokens, spread=True),))
    network = random_network(TINY, layout, len(LABELS))
    digest = state_digest(TINY, dict(network.state_dict()))
    base = contract_for(digest, TINY)
    lead = replace(base.sensor, window_samples=tokens * ECG.patch_samples, context_samples=ECG.context_samples)
    trigger = replace(base.trigger, kind="hop", lookahead_samples=0, hop_samples=round(HOP_S * ECG.fs_hz))
    spec = step_spec(network.backbone, HOP_S)
    contract = replace(
        base,
        schema_version=step_schema(spec),
        task="hops",
        labels=LABELS,
        sensors=(lead,),
        trigger=trigger,
        embedding_dim=layout.embedding_dim(TINY),
        step=spec,
    )
    return network, Contract.from_dict(contract.to_dict())


def hop_windows(contract: Contract, record: Path) -> tuple[NDArray[np.float32], str]:
    """Windows (window, 1, sample) of a recording, one each hop, and what they are."""
    recording = read_recording(record)
    signal = resample(recording.samples[:1], recording.fs_hz, contract.sensor.fs_hz)
    size, hop = contract.sensor.input_samples, contract.trigger.hop_samples
    starts = range(0, signal.shape[1] - size + 1, hop)
    windows = np.stack([signal[:, start : start + size] for start in starts]).astype(np.float32)
    return windows, f"{len(windows)} windows of {WINDOW_S:g} s, one each {HOP_S:g} s, of {recording.name}"
