"""One export of a small network by the real exporter, in a process of its own; see `reproducible`.

``python -m physioedge.faults.reexport FOLDER TARGETS`` writes ``small.physio`` and ``small.adapter``.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.faults.fuzz_seeds import KEY
from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ECG
from physioedge.models.network import Network, network_on
from physioedge.tasks.arrhythmia import contract_for
from physioedge_export.adapters import write_adapter
from physioedge_export.forms import Choice
from physioedge_export.merge import LoraAdapter, LoraPair, merged_state
from physioedge_export.pipeline import export_bundle
from physioedge_export.request import Card, Destination, Windows
from physioedge_runtime.adaptation.manifest import AdapterManifest
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import public_key

BUNDLE, ADAPTER = "small.physio", "small.adapter"
CONFIG = BackboneConfig(name="small", d_model=32, n_heads=2, n_layers=1, modalities=(replace(ECG, norm_patches=3),))
LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=8),))
RANK = 4


def network() -> tuple[Network, LoraAdapter]:
    """One layer of random weights, with an adapter merged, as a fit would leave them."""
    torch.manual_seed(11)
    rng = np.random.default_rng(3)
    model = network_on(Backbone(CONFIG, LAYOUT), 3, classes=True, head_seed=0)
    pairs = {}
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear) and ".blocks." in name:
            a = rng.standard_normal((RANK, layer.in_features)).astype(np.float32) / layer.in_features**0.5
            b = 0.05 * rng.standard_normal((layer.out_features, RANK)).astype(np.float32)
            pairs[name] = LoraPair(a=a, b=b, scale=2.0)
    adapter = LoraAdapter(pairs=pairs)
    model.load_state_dict(merged_state(model.state_dict(), adapter))
    return model.eval(), adapter


def windows(n: int, seed: int) -> NDArray[np.float32]:
    """Windows (n, 1, samples) with spikes, in mV."""
    rng = np.random.default_rng(seed)
    ((_, samples),) = LAYOUT.input_shapes(CONFIG)
    t = np.arange(samples) / CONFIG.modality("ecg").fs_hz
    beats_s = np.arange(0.3, t[-1], 0.8) + rng.uniform(-0.1, 0.1, (n, 1))
    spikes = np.exp(-0.5 * ((t[None, :, None] - beats_s[:, None]) / 0.02) ** 2).sum(2)
    return np.asarray((spikes + 0.02 * rng.standard_normal((n, samples)))[:, None], np.float32)


def main(folder: str, targets: str) -> None:
    """Export once."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    model, adapter = network()
    export_bundle(
        model,
        contract=contract_for("0" * 64, CONFIG, LAYOUT),
        windows=Windows(calibration={"ecg": windows(24, 0)}, golden={"ecg": windows(3, 1)}),
        card=Card(name="small", version="1", model_card="# small\n", licence_text="Apache-2.0\n"),
        destination=Destination(bundle=Path(folder, BUNDLE), signing_key=KEY, report=Path(folder, "report")),
        adapter=adapter,
        choice=Choice(targets=tuple(targets.split(",")), precisions=("int8",)),
    )
    contract = Bundle.open(Path(folder, BUNDLE), trust=public_key(KEY)).contract
    rng = np.random.default_rng(5)
    said = AdapterManifest(
        id="again", task=contract.task, backbone_digest=contract.backbone_digest, counter=1, issued_s=1_800_000_000,
        expires_s=1_900_000_000,
    )  # fmt: skip
    arrays = {slot.name: 0.01 * rng.standard_normal(slot.shape).astype(np.float32) for slot in contract.slots}
    write_adapter(Path(folder, ADAPTER), said, arrays, signing_key=KEY)


if __name__ == "__main__":
    main(*sys.argv[1:])
