"""The network of a bundle as plain arrays in one file, from which every rival is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physioedge.bench.numpy_arm import CONFIG_KEY, read_weights
from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.heads import Classifier, PrototypeHead

SEED = 0


def write_weights(classifier: Classifier, path: Path) -> Path:
    """Write a classifier's state as float32 arrays beside its shape, ``.npz``, never a pickle."""
    config = {**classifier.backbone.config.to_dict(), "temperature": classifier.head.temperature}
    arrays: dict[str, Any] = {name: value.detach().numpy() for name, value in classifier.state_dict().items()}
    arrays[CONFIG_KEY] = np.frombuffer(json.dumps(config, sort_keys=True).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def torch_network(path: Path) -> Classifier:
    """The classifier of such a file, in evaluation mode."""
    config, arrays = read_weights(path)
    temperature = config.pop("temperature")
    n_labels, dim = arrays["head.prototypes"].shape
    backbone = Backbone(BackboneConfig.from_dict(config))
    model = Classifier(backbone, PrototypeHead(backbone.config.d_model, n_labels, dim=dim, temperature=temperature))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    return model.eval()


def random_network(config: BackboneConfig, n_labels: int, seed: int = SEED) -> Classifier:
    """A classifier with the weights that training would begin from."""
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        return Classifier(Backbone(config), PrototypeHead(config.d_model, n_labels)).eval()
    finally:
        torch.random.set_rng_state(generator_state)
