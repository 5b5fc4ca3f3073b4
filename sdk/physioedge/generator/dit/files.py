"""A diffusion transformer as named arrays and plain values; `physioedge.generator.files` writes and reads the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.generator.adapter_set import Origin
from physioedge.generator.dit.config import DitConfig
from physioedge.generator.dit.model import Dit
from physioedge.generator.dit.network import DitNetwork

SCALES = ("middle", "size", "level", "spread")
PREFIX = "network."


def pack(dit: Dit) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Header values and arrays."""
    arrays = {name: np.asarray(getattr(dit, name), np.float32) for name in SCALES}
    weights = {PREFIX + name: value.detach().float().numpy() for name, value in dit.network.named_parameters()}
    return {"config": asdict(replace(dit.config, sampling=dit.sampling))}, {**arrays, **weights}


def unpack(origin: Origin, head: Mapping[str, Any], arrays: Mapping[str, NDArray[np.floating]]) -> Dit:
    """Inverse of `pack`.

    Raises
    ------
    KeyError, TypeError, ValueError, PhysioEdgeError
        Something is missing, too much, of another shape, or outside what a configuration may be.
    """
    config = DitConfig.from_dict(head["config"])
    scales = {name: np.asarray(arrays[name], np.float64) for name in SCALES}
    with torch.device("meta"):  # shapes only: a file's header alone must not make us take memory
        network = DitNetwork(config, origin.slots, len(scales["middle"]))
    wanted = {PREFIX + name: tuple(value.shape) for name, value in network.named_parameters()}
    wanted |= {"size": scales["middle"].shape, "level": (origin.width,), "spread": (origin.width,)}
    found = {name: array.shape for name, array in arrays.items() if name != "middle"}
    if found != wanted or scales["middle"].ndim != 1:
        wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise ValueError(f"arrays {', '.join(wrong or ['middle'])[:200]}")
    weights = {
        name[len(PREFIX) :]: torch.from_numpy(np.array(array, np.float32))
        for name, array in arrays.items()
        if name.startswith(PREFIX)
    }
    network.load_state_dict(weights, assign=True)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return Dit(config=config, network=network.eval(), sampling=config.sampling, **scales)
