"""From a window to a result: quality first, then the model, then the contract's limits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.collecting import Collector
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.engine import Adapter, Engine, Memory, SteppedEngine
from physioedge_runtime.engine.slots import split_adapter
from physioedge_runtime.errors import PhysioEdgeError
from physioedge_runtime.result import Result, softmax
from physioedge_runtime.signal.alignment import Aligned
from physioedge_runtime.signal.companion import Part
from physioedge_runtime.signal.lead import Due

_NOTHING: dict[str, Any] = {"label": None, "probability": 0.0, "probabilities": (), "embedding": None, "values": ()}


class Judge:
    """Asks the model about windows that were measured well enough.

    Parameters
    ----------
    contract : Contract
    engine : Engine
    adapter_id : str
        Of the adapter in use, see `Judge.adapter`.

    Attributes
    ----------
    adapter : mapping of str to float32, or None
        As it was given to `use`.
    adapter_id : str
    collector : Collector or None
        Given the window and the embedding of everything the model is asked about.
    memory : Memory
        Of an engine that goes on from window to window.
    """

    def __init__(self, contract: Contract, engine: Engine, adapter_id: str) -> None:
        self._contract, self._engine = contract, engine
        self._limits = [(value.low, value.high) for value in contract.values]
        self.adapter: Adapter | None = None
        self.adapter_id = adapter_id
        self._slots: Adapter | None = None
        self._bias: NDArray[np.float32] | None = None
        self.collector: Collector | None = None
        self.memory = Memory()

    def use(self, adapter: Adapter | None, adapter_id: str) -> None:
        """Other LoRA arrays, another bias, or both, from the next window on; as `Stream.set_adapter`."""
        slots: Adapter | None = None
        bias = None
        if adapter is not None:
            slots, bias = split_adapter(adapter, self._engine.slots, self._contract.n_outputs)
        same = _same(slots, self._slots)
        if same:
            slots = self._slots  # the very object, so that for another bias alone nothing is bound or begun anew
        if self.collector is not None and not (same and adapter_id == self.adapter_id):
            self.collector.swapped()  # another bias alone moves nothing that is collected
        self.adapter, self.adapter_id, self._slots, self._bias = adapter, adapter_id, slots, bias

    def judge(self, aligned: Aligned) -> Result:
        """The result of one window; never raises for the signal or the engine."""
        due, parts = aligned.due, aligned.parts
        flags, quality = due.flags, due.quality
        if quality is not None:
            flags = (*flags, *quality.flags)
        for part in parts:
            flags = (*flags, *part.flags)
        everyone: tuple[Due | Part, ...] = (due, *parts)
        qualities = [one.quality for one in everyone if one.quality is not None]
        if len(qualities) <= len(parts):  # a window is missing
            return self._result(aligned, 0.0, flags)
        index = min(one.index for one in qualities)
        if index < self._contract.thresholds.min_quality:
            return self._result(aligned, index, (*flags, "low_quality"))
        if any(one.flags and one.hard for one in qualities):
            return self._result(aligned, index, flags)
        windows = [one.window for one in everyone if one.window is not None]
        try:
            first, embedding = self._ask(tuple(windows))
        except PhysioEdgeError:
            return self._result(aligned, index, (*flags, "engine_error"))
        if self.collector is not None:
            self.collector.add(tuple(windows), embedding[0])
        answer = first[0] if self._bias is None else first[0] + self._bias
        return self._answer(aligned, index, flags, answer, embedding[0])

    def snapshot_memory(self) -> list[dict[str, Any]]:
        """What the engine remembers, as plain numbers and arrays."""
        return self._engine.snapshot(self.memory) if isinstance(self._engine, SteppedEngine) else []

    def parsed_memory(self, state: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The state, once it is known to fit this engine; errors as `SteppedEngine.restored`."""
        if isinstance(self._engine, SteppedEngine):
            self._engine.restored(state, None)
        return state

    def remember(self, state: list[dict[str, Any]]) -> None:
        """Take what `snapshot_memory` gave, under the adapter in use."""
        if isinstance(self._engine, SteppedEngine):
            self.memory = self._engine.restored(state, self._slots)

    def _ask(self, windows: tuple[NDArray[np.float32], ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if isinstance(self._engine, SteppedEngine):
            return self._engine.run_on(windows, self._slots, self.memory)
        return self._engine.run(windows if len(windows) > 1 else windows[0], self._slots)

    def _answer(
        self,
        aligned: Aligned,
        quality: float,
        flags: tuple[str, ...],
        first: NDArray[np.float32],
        embedding: NDArray[np.float32],
    ) -> Result:
        contract = self._contract
        if contract.values:
            values = tuple(first.tolist())
            limits = zip(values, self._limits, strict=True)
            if not all(low <= value <= high for value, (low, high) in limits):
                values, flags = (), (*flags, "out_of_range_value")
            return self._result(aligned, quality, flags, embedding=embedding, values=values)
        probabilities = softmax(first)
        probability = max(probabilities)
        label: str | None = contract.labels[probabilities.index(probability)]
        if probability < contract.thresholds.min_probability:
            label, flags = None, (*flags, "low_confidence")
        return self._result(
            aligned, quality, flags, label=label, probability=probability, probabilities=probabilities,
            embedding=embedding,
        )  # fmt: skip

    def _result(self, aligned: Aligned, quality: float, flags: tuple[str, ...], **given: Any) -> Result:
        due = aligned.due
        return Result(
            t_start_s=due.t_start_s,
            t_end_s=due.t_end_s,
            t_anchor_s=due.t_anchor_s,
            t_emitted_s=aligned.emitted_s,
            quality=quality,
            flags=flags,
            adapter=self.adapter_id,
            **{**_NOTHING, **given},
        )


def _same(one: Adapter | None, other: Adapter | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(np.array_equal(array, other[name]) for name, array in one.items())  # both have exactly the graph's slots
