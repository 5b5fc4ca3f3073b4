"""Centring: what a model would say if this person's embeddings lay where everybody's do.

The person's mean embedding is taken from unlabelled windows, under the very network and adapter in use: after a swap it
is taken again. What comes out is one number for each label or value, an adapter of its own (`engine.slots.BIAS`) that
can be taken away again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.under_adapter import MIN_WINDOWS, UnderAdapter
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.tensors import read_tensors
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import AdapterError, FormatError

FILE = "centring.safetensors"
"""In a bundle whose first output is a linear function of the embedding."""
WEIGHT, REFERENCE, SHARE = "weight", "reference", "share"


@dataclass(frozen=True, kw_only=True)
class Centre:
    """What a bundle says of its head, for centring.

    Attributes
    ----------
    weight : float32 (n_outputs, embedding_dim)
        Slope of the first output in the embedding.
    reference : float32 (embedding_dim,)
        Mean embedding of the people the model was fitted on, under the exported graph.
    share : float
        How much of a person's distance from it is taken away, 0 to 1; chosen on people who were fitted on.
    """

    weight: NDArray[np.float32]
    reference: NDArray[np.float32]
    share: float

    @classmethod
    def of(cls, bundle: Bundle) -> Centre:
        """What a bundle holds.

        Raises
        ------
        AdapterError
            It holds nothing for centring.
        FormatError
            Arrays are missing, of another shape, or not finite.
        """
        if FILE not in bundle.manifest.files:
            raise AdapterError(
                f"{bundle.manifest.name} without {FILE}", "a bundle whose head can be centred",
                "Export it again, or leave centring out: heads that are not linear have none.",
            )  # fmt: skip
        arrays, contract = read_tensors(bundle.read(FILE)), bundle.contract
        shapes = {
            WEIGHT: (contract.n_outputs, contract.embedding_dim),
            REFERENCE: (contract.embedding_dim,),
            SHARE: (1,),
        }
        found = {name: array.shape for name, array in arrays.items()}
        right = found == shapes and all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
        if not right or not 0.0 <= float(arrays[SHARE][0]) <= 1.0:
            raise FormatError(f"{FILE} with {found}", f"finite float32 arrays {shapes}", "Export the bundle again.")
        return cls(weight=arrays[WEIGHT], reference=arrays[REFERENCE], share=float(arrays[SHARE][0]))


class Centring(UnderAdapter):
    """The person's mean embedding so far.

    Parameters
    ----------
    centre : Centre
        Of the bundle that the results are from.
    """

    def __init__(self, centre: Centre) -> None:
        super().__init__()
        self.centre = centre
        self._sum = np.zeros(len(centre.reference))
        self.windows = 0

    def _take(self, embedding: NDArray[Any]) -> None:
        self._sum += embedding
        self.windows += 1

    def _clear(self) -> None:
        self.windows = 0
        self._sum[:] = 0.0

    def bias(self) -> dict[str, NDArray[np.float32]]:
        """An adapter of one array, ``head.bias`` (n_outputs,), for `Stream.set_adapter`.

        Raises
        ------
        AdapterError
            Fewer than `MIN_WINDOWS` windows so far.

        Notes
        -----
        Moving the embedding by ``-share (mean - reference)`` moves a linear output by `weight` times that.
        """
        if self.windows < MIN_WINDOWS:
            raise AdapterError(
                f"a mean over {self.windows} windows", f"at least {MIN_WINDOWS}", "Stream more of the person first."
            )
        away = self._sum / self.windows - self.centre.reference
        return {BIAS: np.asarray(-self.centre.share * (self.centre.weight @ away), np.float32)}
