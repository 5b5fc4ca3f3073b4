"""Which weights is a bundle made of? Those whose torch outputs are its golden vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import PhysioEdgeError

if TYPE_CHECKING:
    from physioedge.models.network import Network


def own_network(bundle: Bundle, folder: Path) -> Network | None:
    """The network whose torch outputs are the bundle's golden ones, from a folder of backbones and adapters.

    Parameters
    ----------
    bundle : Bundle
        Of one sensor.
    folder : Path
        Searched with all folders below it.
    """
    import torch

    golden, entry = bundle.golden(), _merged(bundle)
    if entry is None:
        return None
    (signal,) = (golden[name] for name in bundle.contract.input_shapes)
    wanted = golden[f"{entry.file}/{bundle.contract.output_name}"]
    for model in _candidates(bundle, folder):
        with torch.inference_mode():
            found = np.concatenate([model(torch.from_numpy(signal[i : i + 1]))[0].numpy() for i in range(len(signal))])
        if _near(found, wanted, entry.tolerance_logits):
            return model
    return None


def _merged(bundle: Bundle) -> Any:
    graphs = [g for g in bundle.manifest.graphs if g.adapters == "merged"]
    return min(graphs, key=lambda g: g.tolerance_logits, default=None)


def _near(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> bool:
    # int8 is off by up to its tolerance on its own; other weights are off by far more
    return a.shape == b.shape and float(np.abs(a - b).max()) <= max(2 * tolerance, 1e-3)


def _candidates(bundle: Bundle, folder: Path) -> Iterator[Network]:
    """Every backbone with every adapter for it, where both are for this bundle's backbone and inputs."""
    from physioedge.adapters.lora.files import TASK_FILE, load_network, load_note
    from physioedge.models.network import Network

    adapters = sorted(path.parent for path in folder.rglob(TASK_FILE))
    for path in sorted(folder.rglob("*.safetensors")):
        if path.parent in adapters:
            continue
        for adapter in adapters:
            try:
                if load_note(adapter).backbone_digest != bundle.contract.backbone_digest:
                    continue
                network = load_network(path, adapter)[0]
            except PhysioEdgeError:  # another backbone, or no weights at all
                continue
            if not isinstance(network, Network):  # the bench judges beats, not spectra
                continue
            backbone = network.backbone
            if backbone.layout.input_shapes(backbone.config) == list(bundle.contract.input_shapes.values()):
                yield network
