"""Collecting a condition while a stream runs: features of every window that the model is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.condition import EMBEDDING, SHAPELETS, Accumulator, Condition, ConditionSpec
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine.protocol import Engine, Signals
from physioedge_runtime.errors import ConditionError, EngineError

if TYPE_CHECKING:
    from physioedge_runtime.engine.extractor import Distances


class Collector:
    """Statistics of one kind of features.

    Parameters
    ----------
    bundle : Bundle
    kind : str
        ``embedding``, which costs nothing, or ``shapelets``, a second graph a window.
    engine : Engine
        What judges the windows: its program may hold the second graph.

    Raises
    ------
    ConditionError
        The bundle does not offer this kind.
    EngineError, GoldenMismatch
        Its extractor does not run here.
    """

    def __init__(self, bundle: Bundle, kind: str, engine: Engine) -> None:
        offered = ConditionSpec.all_of(bundle)
        if kind not in offered:
            held = ", ".join(offered) or "no kind"
            raise ConditionError(
                f"a condition of {kind!r}", f"one that the bundle offers: {held}", "Export it again, or name another."
            )
        self.spec = offered[kind]
        self._contract = bundle.contract
        self._statistics = Accumulator(self.spec)
        self._extractor: Distances | None = None
        if kind == SHAPELETS:
            from physioedge_runtime.engine.extractor import load_extractor  # paid by those who ask

            assert self.spec.graph is not None and self.spec.golden is not None  # `_spec` demands both of shapelets
            self._extractor = load_extractor(bundle, self.spec.graph, self.spec.golden, engine)

    @property
    def windows(self) -> int:
        """Windows so far."""
        return self._statistics.windows

    def add(self, signals: Signals, embedding: NDArray[np.float32]) -> None:
        """One window that the model was asked about; an extractor that fails leaves it out."""
        if self._extractor is None:
            self._statistics.add(embedding)
            return
        try:
            self._statistics.add(self._extractor.run(signals))
        except EngineError:
            return

    def swapped(self) -> None:
        """Another adapter is in use: embeddings begin anew, distances do not depend on it."""
        if self.spec.kind == EMBEDDING:
            self._statistics.reset()

    def reset(self) -> None:
        """Forget the person."""
        self._statistics.reset()

    def condition(self, adapter: str) -> Condition:
        """The statistics so far; ConditionError where they are of too few windows."""
        return self._statistics.condition(self._contract, adapter)

    def snapshot(self) -> dict[str, Any]:
        """State for `restore`."""
        return {"kind": self.spec.kind, "source": self.spec.source, **self._statistics.snapshot()}

    def parsed(self, state: dict[str, Any]) -> Accumulator:
        """Statistics of a `snapshot` of the same kind and source, for `take`.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is of something else, or damaged.
        """
        if (state["kind"], state["source"]) != (self.spec.kind, self.spec.source):
            raise ValueError(f"statistics of {state['kind']}, not {self.spec.kind}")
        found = Accumulator(self.spec)
        found.restore(state)
        return found

    def take(self, statistics: Accumulator) -> None:
        """Go on from these."""
        self._statistics = statistics
