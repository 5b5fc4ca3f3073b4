"""What every inference engine offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import EMBEDDING as EMBEDDING  # names of the graphs' ends belong here too
from physioedge_runtime.bundle.contract import INPUT as INPUT
from physioedge_runtime.bundle.contract import LOGITS as LOGITS
from physioedge_runtime.bundle.contract import VALUES as VALUES
from physioedge_runtime.bundle.contract import SlotSpec

Adapter: TypeAlias = Mapping[str, NDArray[np.float32]]
Signals: TypeAlias = NDArray[np.float32] | tuple[NDArray[np.float32], ...]


class Engine(Protocol):
    """One loaded graph. It keeps buffers of its own, so one thread uses it at a time."""

    @property
    def name(self) -> str:
        """Engine and its version, e.g. ``onnxruntime 1.32.0``."""

    @property
    def slots(self) -> tuple[SlotSpec, ...]:
        """Slots of this graph; none when adapters are merged."""

    @property
    def refused(self) -> tuple[str, ...]:
        """Graphs that were to be used before this one, each with the reason against it; see `load_engine`."""

    def run(self, signals: Signals, adapter: Adapter | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """First output (1, K), logits or values, and embedding (1, D) of one window.

        Parameters
        ----------
        signals : float32 (1, channel, sample), contract units
            Context and window, finite; a tuple with one such array for each sensor, in the contract's order, where
            there are several.
        adapter : mapping of str to float32, optional
            One array for each slot; None is the global model. It is checked and bound when another *object* is passed
            than the last time, so pass a new mapping rather than change one in place.

        Returns
        -------
        tuple of float32 (1, K) and float32 (1, D)
            Arrays of the caller's own.

        Raises
        ------
        ShapeError
            A signal is missing, or has another shape or type.
        SignalError
            A signal holds NaN or infinities.
        SlotMismatch, NonFiniteAdapter
            The adapter does not fit; the engine keeps what was bound before.
        EngineError
            The engine failed, or gave values that are not finite.
        """
