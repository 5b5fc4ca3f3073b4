"""Golden bundles of the schemas that this checkout writes: python make_golden.py FOLDER, with tests/ on the path.

Run once for each schema, by the version that brought it; see golden/README.md. The files are never made again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import tiny_bundle
from physioedge_runtime.bundle import contract as contracts

SEED, WINDOWS = 5, 2


def write_plain(folder: Path) -> Path:
    """One convolution and one product: of several sensors and for values, where the schema knows these."""
    several = getattr(tiny_bundle, "tiny_pair", tiny_bundle.tiny_contract)
    contract = several()
    if several is not tiny_bundle.tiny_contract:  # a quarter of the weights
        cut = {"context_samples": 4, "window_samples": 4}
        sensors = [replace(s, **{name: getattr(s, name) // by for name, by in cut.items()}) for s in contract.sensors]
        contract = replace(contract, sensors=tuple(sensors))
    path = folder / f"schema{contract.schema_version}.physio"
    tiny_bundle.write_tiny_bundle(path, contract=contract)
    return path


def write_steps(folder: Path) -> Path:
    """A network of two layers for two values, as a window graph and as a step graph."""
    import torch
    from export_small import CONFIG, KEY, SEVERAL, several_contract

    from physioedge.models.backbone import Backbone
    from physioedge.models.network import network_on
    from physioedge.models.stepping import StepNetwork, step_spec
    from physioedge_export.forms import Choice
    from physioedge_export.pipeline import export_bundle
    from physioedge_export.request import Card, Destination, Windows

    torch.manual_seed(SEED)
    config = replace(CONFIG, name="golden", d_model=8, n_heads=1)
    network = network_on(Backbone(config, SEVERAL), 2, classes=False, head_seed=0).eval()
    network.head.offset.copy_(torch.tensor([80.0, 15.0]))
    network.head.scale.copy_(torch.tensor([20.0, 4.0]))
    spec, version = step_spec(network.backbone, 1.0), contracts.STEP_SCHEMA_VERSION
    contract = replace(
        several_contract(), schema_version=version, step=spec, embedding_dim=SEVERAL.embedding_dim(config)
    )
    rng = np.random.default_rng(SEED)
    windows = {
        s.name: rng.standard_normal((WINDOWS, len(s.channels), s.input_samples)).astype(np.float32)
        for s in contract.sensors
    }
    path = folder / f"schema{version}.physio"
    export_bundle(
        network,
        contract=contract,
        windows=Windows(calibration=windows, golden=windows),
        card=Card(name="golden", version="1", model_card="# A model for tests\n", licence_text="Apache-2.0\n"),
        destination=Destination(bundle=path, signing_key=KEY),
        choice=Choice(precisions=("fp32",), adapters=("merged",), step=StepNetwork(network, spec)),
    )
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1])
    made = [write_plain(target)]
    if hasattr(contracts, "STEP_SCHEMA_VERSION"):
        made.append(write_steps(target))
    sys.stdout.write("".join(f"{path.name}: {path.stat().st_size} bytes\n" for path in made))
