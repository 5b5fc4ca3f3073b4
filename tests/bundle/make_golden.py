"""Golden bundles of the schemas that this checkout writes: python make_golden.py FOLDER, with tests/ on the path.

Run once for each schema, by the version that brought it; see golden/README.md. The files are never made again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tiny_bundle
from physioedge_runtime.bundle import contract as contracts

if TYPE_CHECKING:
    from physioedge.models.config import BackboneConfig
    from physioedge.models.network import Network

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
    from export_small import SEVERAL, several_contract

    from physioedge.models.backbone import Backbone
    from physioedge.models.network import network_on
    from physioedge.models.stepping import step_spec

    torch.manual_seed(SEED)
    config = _config(d_model=8, n_heads=1)
    network = network_on(Backbone(config, SEVERAL), 2, classes=False, head_seed=0).eval()
    network.head.offset.copy_(torch.tensor([80.0, 15.0]))
    network.head.scale.copy_(torch.tensor([20.0, 4.0]))
    spec = step_spec(network.backbone, 1.0)
    contract = replace(several_contract(), step=spec, embedding_dim=SEVERAL.embedding_dim(config))
    return _export(folder, network, replace(contract, schema_version=contracts.STEP_SCHEMA_VERSION))


def write_rows(folder: Path) -> Path:
    """A network of two layers for three labels of one lead, judged every second; its step graph keeps rows."""
    import torch
    from export_small import LAYOUT

    from physioedge.models.backbone import Backbone
    from physioedge.models.network import network_on
    from physioedge.models.stepping import step_spec
    from physioedge.tasks.arrhythmia import contract_for

    torch.manual_seed(SEED)
    config = _config(d_model=16, n_heads=1, attention_window=13)
    layout = replace(LAYOUT, sensors=(replace(LAYOUT.sensors[0], n_tokens=10, spread=True),))
    network = network_on(Backbone(config, layout), 3, classes=True, head_seed=0).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    contract, spec = contract_for("0" * 64, config, layout), step_spec(network.backbone, 1.0)
    every_second = replace(contract.trigger, kind="hop", lookahead_samples=0, hop_samples=125)
    return _export(
        folder,
        network,
        replace(contract, schema_version=contracts.ROWS_SCHEMA_VERSION, trigger=every_second, step=spec),
    )


def _config(**changed: Any) -> BackboneConfig:
    from export_small import CONFIG

    return replace(CONFIG, name="golden", **changed)


def _export(folder: Path, network: Network, contract: contracts.Contract) -> Path:
    """Window graph and step graph of a network, with golden windows of noise."""
    from export_small import KEY

    from physioedge.models.stepping import StepNetwork
    from physioedge_export.forms import Choice
    from physioedge_export.pipeline import export_bundle
    from physioedge_export.request import Card, Destination, Windows

    rng = np.random.default_rng(SEED)
    windows = {
        s.name: rng.standard_normal((WINDOWS, len(s.channels), s.input_samples)).astype(np.float32)
        for s in contract.sensors
    }
    path = folder / f"schema{contract.schema_version}.physio"
    export_bundle(
        network,
        contract=contract,
        windows=Windows(calibration=windows, golden=windows),
        card=Card(name="golden", version="1", model_card="# A model for tests\n", licence_text="Apache-2.0\n"),
        destination=Destination(bundle=path, signing_key=KEY),
        choice=Choice(precisions=("fp32",), adapters=("merged",), step=StepNetwork(network, contract.step)),
    )
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1])
    made = [write_plain(target)]
    if hasattr(contracts, "STEP_SCHEMA_VERSION"):
        made.append(write_steps(target))
    if hasattr(contracts, "ROWS_SCHEMA_VERSION"):
        made.append(write_rows(target))
    sys.stdout.write("".join(f"{path.name}: {path.stat().st_size} bytes\n" for path in made))
