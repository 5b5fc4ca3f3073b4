"""A fitted generator on disk, and as a host asks it.

A file is one in the safetensors format whose arrays are finite and all float32, or float16 for `HALF`. Its header
holds, under ``physioedge``, a JSON object with

- ``origin``: what the generator can be asked, see `physioedge.generator.adapter_set.Origin`;
- ``kind``: how it generates;
- for the closed forms (``mean``, ``knn``, ``ridge``, ``krr``) ``width``, and the arrays `ARRAYS` of
  `physioedge.generator.regression.Weights`;
- for ``mlp`` the arrays of `physioedge.generator.perceptron.packed`;
- for ``dit`` ``config``, see `physioedge.generator.dit.config.DitConfig`, and the arrays ``middle``, ``size``,
  ``level`` and ``spread`` of `physioedge.generator.dit.model.Dit`, with the network's parameters as
  ``network.<name>``.

There is nothing else in it, and reading it runs no code of it. Only ``dit`` needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from physioedge.generator.adapter_set import HEADER, Origin, origin_from_dict, origin_to_dict
from physioedge.generator.perceptron import MLP, Perceptron, packed, unpacked
from physioedge.generator.regression import KINDS, Weights
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.engine.slots import MAX_SLOT_NORM
from physioedge_runtime.errors import ConditionError, PhysioEdgeError

if TYPE_CHECKING:
    from physioedge.generator.dit.model import Dit

DIT = "dit"
ARRAYS = ("middle", "size", "known", "adapters", "level", "mix")
HALF = ("known", "adapters", "axes")
"""The large ones; standardised conditions and directions lose nothing in half precision."""


@dataclass(frozen=True, kw_only=True)
class Generator:
    """What a host asks: conditions in, adapters out. It holds no state, and whatever is drawn has a fixed seed.

    Attributes
    ----------
    origin : Origin
        What it can be asked.
    weights : Weights, Perceptron or Dit
        Conditions (n, feature) to adapters (n, number).
    """

    origin: Origin
    weights: Weights | Perceptron | Dit

    @property
    def kind(self) -> str:
        """How it generates."""
        return self.weights.kind

    @property
    def task(self) -> str:
        """Task of its adapters."""
        return self.origin.task

    @property
    def backbone_digest(self) -> str:
        """Backbone of its adapters."""
        return self.origin.backbone_digest

    @property
    def source(self) -> str:
        """Source of the conditions it takes."""
        return self.origin.source

    def generate(self, conditions: Sequence[Condition]) -> list[Mapping[str, NDArray[np.float32]]]:
        """Arrays by slot, one mapping a condition.

        Raises
        ------
        ConditionError
            One is of another task, backbone, kind or source.
        """
        wanted = len(self.weights.middle)
        for condition in conditions:
            if 2 * len(condition.mean) != wanted:
                came = f"a condition of {len(condition.mean)} features"
                raise ConditionError(came, f"{wanted // 2} features", "Send those of this backbone.")
        features = np.stack([self.origin.features(condition) for condition in conditions])
        return [_bounded(self.origin.arrays(row)) for row in self.weights(features)]


def _bounded(arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """No array longer than a device takes: a condition far from everybody's must not make one."""
    out = {}
    for name, array in arrays.items():
        norm = float(np.linalg.norm(array))
        out[name] = array if norm <= 0.5 * MAX_SLOT_NORM else (array * (0.5 * MAX_SLOT_NORM / norm)).astype(np.float32)
    return out


def _stored(name: str, array: NDArray[np.floating]) -> NDArray[Any]:
    half = name in HALF and float(np.abs(array).max(initial=0.0)) < np.finfo(np.float16).max
    return np.asarray(array, np.float16 if half else np.float32)


def save_generator(path: Path, generator: Generator) -> None:
    """Write a generator: float32, large arrays in float16."""
    head: dict[str, Any] = {"origin": origin_to_dict(generator.origin), "kind": generator.kind}
    weights = generator.weights
    arrays: dict[str, NDArray[Any]]
    if isinstance(weights, Weights):
        head["width"] = weights.width
        arrays = {name: _stored(name, getattr(weights, name)) for name in ARRAYS}
    elif isinstance(weights, Perceptron):
        arrays = {name: _stored(name, array) for name, array in packed(weights).items()}
    else:
        from physioedge.generator.dit.files import pack  # torch is there already, the weights being what they are

        more, parameters = pack(weights)
        arrays = dict(parameters)
        head |= more
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(arrays, part, metadata={HEADER: json.dumps(head, sort_keys=True)})
    part.replace(path)


def load_generator(path: Path) -> Generator:
    """The generator of a file.

    Raises
    ------
    PhysioEdgeError
        The file is missing, damaged, or no generator.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            head = json.loads((file.metadata() or {})[HEADER])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        for name, array in arrays.items():
            half = array.dtype == np.float16 and name in HALF
            if not (half or array.dtype == np.float32) or not np.isfinite(array).all():
                raise ValueError(f"array {name:.60} is not of finite float32")
        origin = origin_from_dict(head["origin"])
        return Generator(origin=origin, weights=_weights(origin, head, arrays))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError, PhysioEdgeError) as error:
        raise PhysioEdgeError(
            f"{path.name} ({type(error).__name__}: {error})", "a generator of this version",
            "Fit it with `physioedge train generator`.",
        ) from error  # fmt: skip


def _weights(
    origin: Origin, head: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float32]]
) -> Weights | Perceptron | Dit:
    """What a file's generator is made of; KeyError, TypeError or ValueError where something does not fit."""
    if head["kind"] == DIT:
        from physioedge.generator.dit.files import unpack  # torch, which the closed forms do without

        return unpack(origin, head, arrays)
    if head["kind"] == MLP:
        return unpacked(origin, arrays)
    renamed = {"nearest": "knn"}
    if head["kind"] not in {renamed.get(kind, kind) for kind in KINDS}:
        raise ValueError(f"kind {head['kind']!r:.60}")
    wide = {name: arrays[name].astype(np.float64) for name in ARRAYS}
    (rows, features), numbers, kept = wide["known"].shape, origin.width, len(wide["adapters"])
    shapes = ((features,), (features,), (rows, features), (kept, numbers), (numbers,), (rows, kept))
    for name, wanted in zip(ARRAYS, shapes, strict=True):
        if wide[name].shape != wanted:
            raise ValueError(f"{name} of {wide[name].shape} where {wanted} fits")
    return Weights(kind=head["kind"], width=float(head["width"]), **wide)
