"""What is compared: each arm is one way to run the same model, in a process of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from physioedge_runtime.bundle.container import Bundle

REFERENCE = "ort_fp32"
"""The arm that int8 has to beat: onnxruntime on the exported graph, nothing around it."""
_OURS = {
    "ours_int8": ("int8", "merged"),
    "ours_slots": ("int8", "slots"),
    "ours_fp32": ("fp32", "merged"),
}
RIVALS = ("ort_fp32", "ort_int8", "torch_eager")
TITLES = {
    "ours_int8": "this runtime, int8",
    "ours_slots": "this runtime, int8 with slots",
    "ours_fp32": "this runtime, fp32",
    "ort_fp32": "plain onnxruntime, fp32",
    "ort_int8": "plain onnxruntime, its own dynamic int8",
    "torch_eager": "torch eager, fp32",
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One process to start.

    Attributes
    ----------
    name : str
        As in the results files.
    kind : str
        ``bundle``, ``onnx`` or ``torch``.
    path : str
        The bundle, the graph, or the backbone's weights.
    trust : str or None
        Public key of the bundle; None for the shipped keys.
    precision, adapters : str
        Graph of the bundle.
    adapter_folder : str
        Adapter merged into the torch model.
    """

    name: str
    kind: str
    path: str
    trust: str | None = None
    precision: str = ""
    adapters: str = ""
    adapter_folder: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the worker's command line."""
        return asdict(self)


def bundle_arms(bundle: Bundle, trust: str | None) -> list[Arm]:
    """Return an arm for each known onnxruntime graph that the bundle holds."""
    held = {(g.precision, g.adapters) for g in bundle.manifest.graphs if g.engine == "onnxruntime"}
    return [
        Arm(name=name, kind="bundle", path=str(bundle.path), trust=trust, precision=precision, adapters=adapters)
        for name, (precision, adapters) in _OURS.items()
        if (precision, adapters) in held
    ]


def group_of(bundle: Bundle) -> str:
    """Preset of the backbone by its width, as the results files name it."""
    return {128: "tiny", 768: "paper"}.get(bundle.contract.embedding_dim, bundle.manifest.name)
