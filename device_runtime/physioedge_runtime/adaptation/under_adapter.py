"""What is taken of a person's windows under one adapter: it begins anew when another one serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from physioedge_runtime.result import Result

MIN_WINDOWS = 30
"""Statistics of fewer windows say more of the moment than of the person."""


class UnderAdapter(ABC):
    """Statistics of embeddings; a subclass says of which kind, in `_take` and `_clear`."""

    def __init__(self) -> None:
        self._adapter: str | None = None

    def add(self, results: Iterable[Result]) -> None:
        """Take in results that the model was asked for, withheld ones too: no labels are needed.

        Results under another adapter than those before begin anew. A bias moves no embedding and needs no such new
        beginning: it is used under the name of the adapter it was taken under, as `session.serve` does.
        """
        for result in results:
            if result.embedding is None:
                continue
            if result.adapter != self._adapter:
                self.reset()
                self._adapter = result.adapter
            self._take(result.embedding)

    def reset(self) -> None:
        """Forget the person."""
        self._adapter = None
        self._clear()

    @abstractmethod
    def _take(self, embedding: NDArray[Any]) -> None:
        """One window's embedding (embedding_dim,)."""

    @abstractmethod
    def _clear(self) -> None:
        """Back to no window."""
