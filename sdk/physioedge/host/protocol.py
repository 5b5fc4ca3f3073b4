"""What the host needs of whatever turns conditions into adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.condition import Condition

Arrays = Mapping[str, NDArray[np.float32]]


class Generator(Protocol):
    """One trained generator for one task of one backbone. The host calls it from one thread at a time."""

    @property
    def kind(self) -> str:
        """Short name, such as ``dit`` or ``ridge``: adapters are named and described by it."""

    @property
    def task(self) -> str:
        """As in the contract."""

    @property
    def backbone_digest(self) -> str:
        """As in the contract."""

    @property
    def source(self) -> str:
        """`Condition.source` that it was trained on: digest of the backbone, or of the shapelet bank."""

    def generate(self, conditions: Sequence[Condition]) -> Sequence[Arrays]:
        """An adapter for each condition; the same one gives the same arrays, but for rounding, in whatever company.

        Parameters
        ----------
        conditions : sequence of Condition
            At least one, all for this task, backbone and source.

        Returns
        -------
        sequence of mapping of str to float32
            Arrays of all slots, by name.

        Raises
        ------
        ConditionError
            A condition is none it can use, such as one of another number of features. Where others came with it, each
            is tried alone.
        """


@runtime_checkable
class Sampler(Protocol):
    """What a generator offers beside `Generator.generate` if chance has a part in it; then this is called instead."""

    def sample(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> Sequence[Arrays]:
        """As `Generator.generate`, with a seed for each condition, 0 to 2⁶⁴ - 1: the same again for the same two."""
