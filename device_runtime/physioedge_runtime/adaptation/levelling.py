"""Levelling: what a model would say if this person's usual window looked as everybody's usual one does.

Of every window the logits relative to the first label's are taken, ``d_k = logit_k - logit_0``, without any bias in
use; their median over the person's unlabelled windows is the person's level. A minority of windows of other labels does
not move a median, where it moves the mean that centring takes. What comes out is one number for each label, an adapter
of its own (`engine.slots.BIAS`) that can be taken away again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.under_adapter import MIN_WINDOWS, UnderAdapter
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.tensors import read_tensors
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import AdapterError, FormatError

FILE = "levelling.safetensors"
"""In a bundle of labels whose logits are a linear function of the embedding."""
WEIGHT, CONSTANT, LEVEL, MARGIN, BOTH_SIDES = "weight", "constant", "level", "margin", "both_sides"
MOST_WINDOWS = 1024
"""The newest are kept, and no others: memory has an end, and people change."""


@dataclass(frozen=True, kw_only=True)
class LevelSpec:
    """Where everybody's level lies and what is done about a person's distance from it; found on people fitted on.

    Attributes
    ----------
    level : float32 (n_outputs,)
        Median over people of their own medians of ``logit_k - logit_0``. The first label's, 0, is not used.
    margin : float32 (n_outputs,)
        So far above `level` a person's may lie.
    both_sides : float32 or bool (n_outputs,)
        1 where a level that is too low is raised as well, 0 where only one that is too high is lowered.
    """

    level: NDArray[np.float32]
    margin: NDArray[np.float32]
    both_sides: NDArray[np.float32] | NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Levels(LevelSpec):
    """What a bundle says of its head, for levelling.

    Attributes
    ----------
    weight : float32 (n_outputs, embedding_dim)
        Slope of the logits in the embedding.
    constant : float32 (n_outputs,)
        Logits of an embedding of zeros, the log prior in them.
    """

    weight: NDArray[np.float32]
    constant: NDArray[np.float32]

    @classmethod
    def of(cls, bundle: Bundle) -> Levels:
        """What a bundle holds.

        Raises
        ------
        AdapterError
            It holds nothing for levelling, or gives values in place of labels.
        FormatError
            Arrays are missing, of another shape, not finite, or `both_sides` is neither 0 nor 1.
        """
        _check_labels(bundle.contract)
        if FILE not in bundle.manifest.files:
            raise AdapterError(
                f"{bundle.manifest.name} without {FILE}", "a bundle whose logits can be levelled",
                "Export it again, or use centring where the bundle has it.",
            )  # fmt: skip
        return cls.parsed(bundle.read(FILE), bundle.contract)

    @classmethod
    def parsed(cls, data: bytes | memoryview, contract: Contract) -> Levels:
        """The content of `FILE`, checked; AdapterError and FormatError as `of`."""
        _check_labels(contract)
        arrays, labels = read_tensors(data), contract.n_outputs
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys((CONSTANT, LEVEL, MARGIN, BOTH_SIDES), (labels,))
        shapes[WEIGHT] = (labels, contract.embedding_dim)
        found = {name: array.shape for name, array in arrays.items()}
        right = found == shapes and all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
        if not right or not np.isin(arrays[BOTH_SIDES], (0.0, 1.0)).all():
            raise FormatError(
                f"{FILE} with {found}", f"finite float32 arrays {shapes}, {BOTH_SIDES} of 0 and 1",
                "Export the bundle again.",
            )  # fmt: skip
        return cls(**arrays)

    def relative(self, embedding: NDArray[Any]) -> NDArray[np.float64]:
        """``logit_k - logit_0`` (..., n_outputs) of embeddings (..., embedding_dim), without any bias in use."""
        return relative(np.asarray(embedding, np.float64) @ self.weight.T + self.constant)


def relative(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Logits (..., label) less the first label's."""
    exact = np.asarray(logits, np.float64)
    out: NDArray[np.float64] = exact - exact[..., :1]
    return out


def level_bias(median: NDArray[Any], levels: LevelSpec) -> NDArray[np.float32]:
    """What is added to a person's logits.

    Parameters
    ----------
    median : float (..., n_outputs)
        Over the person's windows, of `relative` logits; of one person or of several.
    levels : LevelSpec

    Returns
    -------
    float32 (..., n_outputs)

    Notes
    -----
    ``excess_k = median_k - (level_k + margin_k)``; ``bias_k = -excess_k`` on both sides, else ``-max(excess_k, 0)``;
    ``bias_0 = 0``.
    """
    excess = np.asarray(median, np.float64) - (levels.level.astype(np.float64) + levels.margin)
    bias = 0.0 - np.where(np.asarray(levels.both_sides, np.bool_), excess, np.maximum(excess, 0.0))
    bias[..., 0] = 0.0
    return bias.astype(np.float32)


class Levelling(UnderAdapter):
    """The person's level so far: of the newest `MOST_WINDOWS` windows.

    Parameters
    ----------
    levels : Levels
        Of the bundle that the results are from.
    """

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.levels = levels
        self._ring = np.zeros((MOST_WINDOWS, len(levels.level)), np.float32)
        self._seen = 0

    @property
    def windows(self) -> int:
        """Windows that the level is of, at most `MOST_WINDOWS`."""
        return min(self._seen, MOST_WINDOWS)

    def _take(self, embedding: NDArray[Any]) -> None:
        self._ring[self._seen % MOST_WINDOWS] = self.levels.relative(embedding)
        self._seen += 1

    def _clear(self) -> None:
        self._seen = 0
        self._ring[:] = 0.0

    def bias(self) -> dict[str, NDArray[np.float32]]:
        """An adapter of one array, ``head.bias`` (n_outputs,), for `Stream.set_adapter`; see `level_bias`.

        Raises
        ------
        AdapterError
            Fewer than `MIN_WINDOWS` windows so far.
        """
        if self.windows < MIN_WINDOWS:
            raise AdapterError(
                f"a median over {self.windows} windows", f"at least {MIN_WINDOWS}", "Stream more of the person first."
            )
        return {BIAS: level_bias(np.median(self._ring[: self.windows], axis=0), self.levels)}


def _check_labels(contract: Contract) -> None:
    if not contract.labels:
        raise AdapterError(
            f"levelling of a model that gives {len(contract.values)} values", "a model that gives labels",
            "Leave it out: it is for labels only.",
        )  # fmt: skip
