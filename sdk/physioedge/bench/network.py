"""The network of a bundle as plain arrays in one file, from which every rival is made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physioedge.bench.numpy_arm import CONFIG_KEY, KERNEL_KEY, read_weights
from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.heads import PrototypeHead
from physioedge.models.layout import Layout
from physioedge.models.network import Network, network_on

SEED = 0


def write_weights(network: Network, path: Path) -> Path:
    """Write a network's state as float32 arrays beside its shape, ``.npz``, never a pickle.

    Patch embeddings of kinds of sensor that it does not take are left out; coefficients of filters, which the state
    lacks, are put in.
    """
    backbone, head = network.backbone, network.head
    kinds = {one.kind for one in backbone.layout.sensors}
    config = replace(backbone.config, modalities=tuple(m for m in backbone.config.modalities if m.kind in kinds))
    shape = {
        "backbone": config.to_dict(),
        "layout": backbone.layout.to_dict(),
        "temperature": head.temperature if isinstance(head, PrototypeHead) else None,
    }
    unused = tuple(f"backbone.embed.{m.kind}." for m in backbone.config.modalities if m.kind not in kinds)
    state = {name: value for name, value in network.state_dict().items() if not name.startswith(unused)}
    arrays: dict[str, Any] = {name: value.detach().numpy() for name, value in state.items()}
    for name, buffer in backbone.frontends.named_buffers():
        if name.endswith(".kernel"):
            kind = backbone.streams[int(name.partition(".")[0])].kind
            arrays[f"{KERNEL_KEY}{kind}"] = buffer.numpy()
    arrays[CONFIG_KEY] = np.frombuffer(json.dumps(shape, sort_keys=True).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def torch_network(path: Path) -> Network:
    """The network of such a file, in evaluation mode."""
    shape, arrays = read_weights(path)
    backbone = Backbone(BackboneConfig.from_dict(shape["backbone"]), Layout.from_dict(shape["layout"]))
    classes, temperature = shape["temperature"] is not None, shape["temperature"] or 1.0
    outputs = len(arrays["head.log_prior" if classes else "head.offset"])
    model = network_on(backbone, outputs, classes=classes, head_seed=SEED, temperature=temperature)
    state = {name: torch.from_numpy(value) for name, value in arrays.items() if not name.startswith(KERNEL_KEY)}
    model.load_state_dict(state)
    return model.eval()


def random_network(config: BackboneConfig, layout: Layout, n_labels: int, seed: int = SEED) -> Network:
    """A classifier with the weights that training would begin from."""
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        return network_on(Backbone(config, layout), n_labels, classes=True, head_seed=seed).eval()
    finally:
        torch.random.set_rng_state(generator_state)
