"""The same model without this runtime: exported plainly, quantised by onnxruntime's own tool, and in torch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.bench.arms import RIVALS, Arm
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import PhysioEdgeError

ASSETS = Path(__file__).parents[1] / "assets"
_NEEDED = ("torch", "safetensors", "scipy", "onnx", "onnxscript")


@dataclass(frozen=True)
class LeftOut:
    """An arm that is not in the table, and why."""

    arm: str
    reason: str


def rival_arms(bundle: Bundle, weights: Path | None, work: Path) -> tuple[list[Arm], list[LeftOut]]:
    """Arms of the plain engines, and those that cannot run here.

    Parameters
    ----------
    bundle : Bundle
        Its golden vectors say which weights are its own.
    weights : Path or None
        Folder with backbones and adapters; None for the shipped ones.
    work : Path
        Folder for the plain graphs.
    """
    absent = [name for name in _NEEDED if find_spec(name) is None]
    if absent:
        reason = f"without {', '.join(absent)}: pip install 'physioedge[export]'"
        return [], [LeftOut(name, reason) for name in RIVALS]
    found = own_weights(bundle, weights or ASSETS)
    if found is None:
        reason = f"no weights of this bundle in {weights or 'the package'}: name their folder with --weights"
        return [], [LeftOut(name, reason) for name in RIVALS]
    backbone, adapter = found
    arms = [Arm(name="torch_eager", kind="torch", path=str(backbone), adapter_folder=str(adapter))]
    try:
        plain = _plain_graphs(bundle, backbone, adapter, work)
    except PhysioEdgeError as error:
        return arms, [LeftOut(name, str(error)) for name in ("ort_fp32", "ort_int8")]
    return [*(Arm(name=name, kind="onnx", path=str(path)) for name, path in plain.items()), *arms], []


def own_weights(bundle: Bundle, folder: Path) -> tuple[Path, Path] | None:
    """Backbone file and adapter folder whose torch outputs are the bundle's golden ones."""
    import torch

    golden, entry = bundle.golden(), _merged(bundle)
    if entry is None:
        return None
    signal, wanted = golden["signal"], golden[f"{entry.file}/logits"]
    for backbone, adapter, model in _candidates(bundle, folder):
        with torch.inference_mode():
            logits = np.concatenate([model(torch.from_numpy(signal[i : i + 1]))[0].numpy() for i in range(len(signal))])
        if _near(logits, wanted, entry.tolerance_logits):
            return backbone, adapter
    return None


def _merged(bundle: Bundle) -> Any:
    graphs = [g for g in bundle.manifest.graphs if g.adapters == "merged"]
    return min(graphs, key=lambda g: g.tolerance_logits, default=None)


def _near(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> bool:
    # int8 is off by up to its tolerance on its own; other weights are off by far more
    return a.shape == b.shape and float(np.abs(a - b).max()) <= max(2 * tolerance, 1e-3)


def _candidates(bundle: Bundle, folder: Path) -> Iterator[tuple[Path, Path, Any]]:
    from physioedge.adapters.lora.files import TASK_FILE, merged_classifier
    from physioedge.models.checkpoint import load_backbone

    adapters = sorted(path.parent for path in folder.rglob(TASK_FILE))
    for path in sorted(folder.rglob("*.safetensors")):
        if path.parent in adapters:
            continue
        try:
            _, _, digest = load_backbone(path)
        except PhysioEdgeError:
            continue
        if digest != bundle.contract.backbone_digest:
            continue
        for adapter in adapters:
            try:
                model, _, _ = merged_classifier(load_backbone(path)[0], digest, adapter)
            except PhysioEdgeError:
                continue
            yield path, adapter, model


def _plain_graphs(bundle: Bundle, backbone: Path, adapter: Path, work: Path) -> dict[str, Path]:
    import onnx

    from physioedge.adapters.lora.files import merged_classifier
    from physioedge.models.checkpoint import load_backbone
    from physioedge_export.to_onnx import linear_nodes, to_onnx

    network, _, digest = load_backbone(backbone)
    model, _, _ = merged_classifier(network, digest, adapter)
    paths = {name: work / f"{name}.onnx" for name in ("ort_fp32", "ort_int8")}
    with _quiet():
        graph = to_onnx(model, bundle.contract)
        onnx.save(graph, paths["ort_fp32"])
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            paths["ort_fp32"],
            paths["ort_int8"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            # left to itself it also takes the constant products of the rotary positions, and the graph then fails
            nodes_to_quantize=[node.name for node in linear_nodes(graph).values()],
        )
    return paths


@contextmanager
def _quiet() -> Iterator[None]:
    """Mute the exporter's and the quantiser's advice, which goes through loggers that are not ours."""
    root, torch_logger = logging.getLogger(), logging.getLogger("torch")
    handlers, level = list(root.handlers), torch_logger.level
    root.handlers = [logging.NullHandler()]
    torch_logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.handlers = handlers
        torch_logger.setLevel(level)
