"""The adapter set: conditions of many people beside the adapters that were fitted for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import ConditionError, PhysioEdgeError

HEADER = "physioedge"
SET_FILE = "adapters.safetensors"
"""In a folder that ``train adapters`` wrote."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What every row of a set has in common, and what a generator made of it can be asked.

    Attributes
    ----------
    task : str
    backbone_digest : str
    kind, source : str
        Of the conditions, see `physioedge_runtime.adaptation.condition.ConditionSpec`.
    slots : tuple of SlotSpec
        In the order in which arrays are flattened.
    """

    task: str
    backbone_digest: str
    kind: str
    source: str
    slots: tuple[SlotSpec, ...]

    @property
    def width(self) -> int:
        """Numbers of one adapter."""
        return sum(int(np.prod(slot.shape)) for slot in self.slots)

    def arrays(self, flat: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """One adapter's arrays by slot, of its numbers (width,)."""
        out, at = {}, 0
        for slot in self.slots:
            size = int(np.prod(slot.shape))
            out[slot.name] = np.asarray(flat[at : at + size], np.float32).reshape(slot.shape)
            at += size
        return out

    def flat(self, arrays: Mapping[str, NDArray[np.floating]]) -> Floats:
        """Inverse of `arrays`."""
        return np.concatenate([np.asarray(arrays[slot.name], np.float64).ravel() for slot in self.slots])

    def features(self, condition: Condition) -> Floats:
        """What generators see of a condition: means, then deviations.

        Raises
        ------
        ConditionError
            It is of another task, backbone, kind or source.
        """
        theirs = (condition.task.get("name"), condition.backbone, condition.kind, condition.source)
        ours = (self.task, self.backbone_digest, self.kind, self.source)
        for name, came, wanted in zip(("task", "backbone", "kind", "source"), theirs, ours, strict=True):
            if came != wanted:
                raise ConditionError(f"a condition of {name} {came!r:.60}", f"{wanted!r:.60}", "Ask another generator.")
        return np.concatenate([condition.mean, condition.deviation]).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class AdapterSet:
    """Rows of (condition, adapter), with whose they are.

    Attributes
    ----------
    origin : Origin
    conditions : float64 (row, feature)
    adapters : float64 (row, number)
        Residuals around the global adapter: zero means the global model.
    person : str (row,)
        All virtual subjects of a person bear the same name, and so share a fold.
    details : mapping
        How it was made, and what it cost.
    """

    origin: Origin
    conditions: Floats
    adapters: Floats
    person: NDArray[np.str_]
    details: Mapping[str, Any]

    def __post_init__(self) -> None:
        rows = len(self.person)
        fits = len(self.conditions) == len(self.adapters) == rows and self.adapters.shape[1:] == (self.origin.width,)
        if not fits or not rows or not (np.isfinite(self.conditions).all() and np.isfinite(self.adapters).all()):
            raise PhysioEdgeError(
                f"{len(self.conditions)} conditions, adapters {self.adapters.shape}, {rows} people",
                f"as many finite rows of each, {self.origin.width} numbers an adapter", "Make the set again.",
            )  # fmt: skip

    def of(self, kept: NDArray[np.bool_]) -> AdapterSet:
        """Some of the rows."""
        return replace(self, conditions=self.conditions[kept], adapters=self.adapters[kept], person=self.person[kept])

    def without(self, people: tuple[str, ...]) -> AdapterSet:
        """The rows of everybody else."""
        return self.of(~np.isin(self.person, people))

    def some(self, people: int | None, *, seed: int) -> AdapterSet:
        """The rows of so many people, drawn; of all where there are no more, or None is said."""
        names = np.unique(self.person)
        if people is None or people >= len(names):
            return self
        return self.of(np.isin(self.person, np.random.default_rng(seed).permutation(names)[:people]))


def save_set(path: Path, found: AdapterSet) -> None:
    """Write a set: float16 adapters, float32 conditions."""
    names, index = np.unique(found.person, return_inverse=True)
    head = {
        "origin": origin_to_dict(found.origin), "people": names.tolist(), "details": dict(found.details),
    }  # fmt: skip
    arrays = {
        "conditions": found.conditions.astype(np.float32),
        "adapters": found.adapters.astype(np.float16),
        "person": index.astype(np.int64),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(arrays, part, metadata={HEADER: json.dumps(head, sort_keys=True)})
    part.replace(path)


def load_set(path: Path) -> AdapterSet:
    """The set of a file.

    Raises
    ------
    PhysioEdgeError
        The file is missing, damaged, or no set.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            head = json.loads((file.metadata() or {})[HEADER])
            arrays = {name: file.get_tensor(name) for name in ("conditions", "adapters", "person")}
        return AdapterSet(
            origin=origin_from_dict(head["origin"]),
            conditions=arrays["conditions"].astype(np.float64),
            adapters=arrays["adapters"].astype(np.float64),
            person=np.array(head["people"])[arrays["person"]],
            details=head["details"],
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise PhysioEdgeError(
            f"{path.name} ({type(error).__name__}: {error})", "an adapter set of this version",
            "Make it with `physioedge train adapters`.",
        ) from error  # fmt: skip


def origin_to_dict(origin: Origin) -> dict[str, Any]:
    """Plain values for JSON."""
    return {**vars(origin), "slots": [[slot.name, list(slot.shape)] for slot in origin.slots]}


def origin_from_dict(values: Mapping[str, Any]) -> Origin:
    """Inverse of `origin_to_dict`; an unknown key raises ``TypeError``."""
    slots = tuple(SlotSpec(name=name, shape=tuple(shape)) for name, shape in values["slots"])
    return Origin(**{**values, "slots": slots})
