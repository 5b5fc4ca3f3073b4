"""What is compared: each arm is one way to run the same model, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import STEP, WINDOW

REFERENCE = "ort_fp32"
"""The arm that int8 has to beat: onnxruntime on the exported graph, nothing around it."""
BARE = "bare_int8"
"""Plain onnxruntime on the bundle's own int8 graph: beside it stands what the checks of this runtime cost."""
OURS = {
    "ours_int8": ("onnxruntime", "int8", "merged"),
    "ours_slots": ("onnxruntime", "int8", "slots"),
    "ours_int8_static": ("onnxruntime", "int8_static", "merged"),
    "ours_fp32": ("onnxruntime", "fp32", "merged"),
    "ours_et_int8": ("executorch", "int8", "merged"),
    "ours_et_slots": ("executorch", "int8", "slots"),
    "ours_et_fp32": ("executorch", "fp32", "merged"),
}
STEPPED = {
    "ours_incremental": ("onnxruntime", "int8", "merged", STEP),
    "ours_incremental_slots": ("onnxruntime", "int8", "slots", STEP),
    "ours_et_incremental": ("executorch", "int8", "merged", STEP),
    "ours_et_incremental_slots": ("executorch", "int8", "slots", STEP),
}
"""Arms that go on from window to window, in the preset that has such windows."""
FORMS: Mapping[str, tuple[str, ...]] = {**OURS, **STEPPED}
"""Engine, precision, form of adapters, and ``step`` where it is one: `GraphEntry.variant`."""
RIVALS = (
    "ort_fp32",
    "ort_int8",
    "ort_int8_static",
    "et_fp32",
    "et_int8",
    "torch_eager",
    "torch_compile",
    "numpy",
)
TITLES = {
    "ours_int8": "this runtime, onnxruntime, int8",
    "ours_slots": "this runtime, onnxruntime, int8 with slots",
    "ours_int8_static": "this runtime, onnxruntime, int8 with fixed scales: the fallback",
    "ours_fp32": "this runtime, onnxruntime, fp32",
    "ours_et_int8": "this runtime, ExecuTorch, int8",
    "ours_et_slots": "this runtime, ExecuTorch, int8 with slots",
    "ours_et_fp32": "this runtime, ExecuTorch, fp32",
    "ours_incremental": "this runtime, onnxruntime, int8, what is new in a window alone",
    "ours_incremental_slots": "the same with slots",
    "ours_et_incremental": "this runtime, ExecuTorch, int8, what is new in a window alone",
    "ours_et_incremental_slots": "the same with slots",
    "bare_int8": "plain onnxruntime on our int8 graph",
    "ort_fp32": "plain onnxruntime, fp32",
    "ort_int8": "plain onnxruntime, its own dynamic int8",
    "ort_int8_static": "plain onnxruntime, its own static int8",
    "et_fp32": "plain ExecuTorch, fp32",
    "et_int8": "plain ExecuTorch, its own dynamic int8",
    "torch_eager": "torch eager, fp32",
    "torch_compile": "torch.compile, fp32",
    "numpy": "plain numpy, fp32",
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One process to start.

    Attributes
    ----------
    name : str
        As in the results files.
    kind : str
        ``bundle``, ``onnx``, ``pte``, ``torch``, ``compile`` or ``numpy``.
    path : str
        The bundle, the graph, or the network's weights.
    trust : str or None
        Public key of the bundle; None for the shipped keys.
    engine, precision, adapters, mode : str
        Graph of the bundle.
    made : bool
        The graph is not in the bundle: it was made for the comparison from the same weights, by this exporter.
    """

    name: str
    kind: str
    path: str
    trust: str | None = None
    engine: str = "onnxruntime"
    precision: str = ""
    adapters: str = ""
    mode: str = WINDOW
    made: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the worker's command line."""
        return asdict(self)


def bundle_arms(bundle: Bundle, trust: str | None, *, made: bool = False) -> list[Arm]:
    """Return an arm for each known graph that the bundle holds."""
    held = {g.variant: g for g in bundle.manifest.graphs}
    return [
        Arm(name=name, kind="bundle", path=str(bundle.path), trust=trust, engine=held[form].engine,
            precision=held[form].precision, adapters=held[form].adapters, mode=held[form].mode, made=made)
        for name, form in FORMS.items()
        if form in held
    ]  # fmt: skip


def precision_of(name: str) -> str:
    """``int8`` or ``fp32``, by the arm's name."""
    return "int8" if "int8" in name or "slots" in name or name in STEPPED else "fp32"


def group_of(bundle: Bundle) -> str:
    """Preset of the backbone by its width, as the results files name it."""
    return {128: "tiny", 768: "paper"}.get(bundle.contract.embedding_dim, bundle.manifest.name)
