"""What all engines share: buffers bound once, and the checks that stand before and after every inference."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import Contract, SlotSpec
from physioedge_runtime.bundle.manifest import STEP, GraphEntry
from physioedge_runtime.engine.protocol import EMBEDDING, Adapter, Signals
from physioedge_runtime.engine.slots import check_adapter
from physioedge_runtime.engine.step_buffers import StepBuffers
from physioedge_runtime.errors import ContractError, EngineError, ShapeError, SignalError

_ALIGNED = 16
"""Numbers from one beginning to the next: 64 bytes."""
_ZEROS: dict[int, NDArray[np.float32]] = {}
"""By length: of windows, of what is new in them, and of answers."""
Shapes = Mapping[str, tuple[int, ...]]
Buffers = dict[str, NDArray[np.float32]]


class BufferedEngine(ABC):
    """An engine that reads and writes its own buffers in place; engines differ in `execute` alone.

    Parameters
    ----------
    contract : Contract
    entry : GraphEntry
        The graph, which says whether it has slots.

    Attributes
    ----------
    slots : tuple of SlotSpec
        Of this graph.
    refused : tuple of str
        Graphs that were to be used before this one, and why they were not; see `load_engine`.
    step_buffers : StepBuffers or None
        Of a graph of mode ``step``, whose signals are context and one step.
    signal_buffers : tuple of float32 (1, channel, sample)
        The graph's signal inputs.
    """

    def __init__(self, contract: Contract, entry: GraphEntry) -> None:
        self.entry = entry
        self.slots: tuple[SlotSpec, ...] = contract.slots if entry.adapters == "slots" else ()
        self.refused: tuple[str, ...] = ()
        inputs = _signal_shapes(contract, entry)
        stepping = entry.mode == STEP and contract.step is not None
        self.step_buffers = StepBuffers(contract.step) if stepping and contract.step is not None else None
        self._in, self._answers, self._out = _zeros(inputs), *_joint(_output_shapes(contract))
        if self.step_buffers is not None:
            self._in |= self.step_buffers.inputs
            self._out |= self.step_buffers.outputs
        self._in |= _zeros({slot.name: slot.shape for slot in self.slots})
        self._signals = tuple((name, self._in[name]) for name in inputs)
        self.signal_buffers = tuple(buffer for _, buffer in self._signals)
        self._n_outputs, self._embedding_from = contract.n_outputs, len(self._answers) - contract.embedding_dim
        self._adapter: Adapter | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """Engine and version."""

    def run(self, signals: Signals, adapter: Adapter | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """First output (1, K) and embedding (1, D) of one window; see `Engine.run`."""
        given = signals if isinstance(signals, tuple) else (signals,)
        self.check_shapes(given, tuple(buffer.shape for buffer in self.signal_buffers))
        self.check_finite(given)
        self.use(adapter)
        for buffer, window in zip(self.signal_buffers, given, strict=True):
            buffer[...] = window
        self.execute()
        return self.answer()

    def use(self, adapter: Adapter | None) -> None:
        """Bind an adapter, where it is another object than the one in use."""
        if adapter is not self._adapter:
            self._set_adapter(adapter)

    def answer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Copies of what was computed last; EngineError where it is not finite."""
        answers = self._answers.copy()
        if not _finite(answers):
            raise EngineError(
                f"outputs of {self.entry.file} that are not finite",
                "finite numbers",
                "Check the input's scale and units.",
            )
        return answers[None, : self._n_outputs], answers[None, self._embedding_from :]

    def check_shapes(self, given: tuple[NDArray[np.float32], ...], shapes: tuple[tuple[int, ...], ...]) -> None:
        """ShapeError unless these are signals of these shapes."""
        if len(given) != len(self._signals):
            names = ", ".join(name for name, _ in self._signals)
            raise ShapeError(f"{len(given)} signals", f"one each for {names}", "Pass them in the contract's order.")
        for (name, _), shape, window in zip(self._signals, shapes, given, strict=True):
            if window.shape != shape or window.dtype != np.float32:
                raise ShapeError(
                    f"a {name} {window.dtype}{window.shape}", f"float32{shape}", "Cut it as the contract says."
                )

    def check_finite(self, given: tuple[NDArray[np.float32], ...]) -> None:
        """SignalError unless these signals are finite; they may be parts of windows."""
        for (name, _), window in zip(self._signals, given, strict=True):
            if not _finite(window):  # int8 graphs turn NaN into plausible answers
                raise SignalError(f"a {name} with NaN or infinities", "finite samples", "Leave such windows out.")

    @abstractmethod
    def execute(self) -> None:
        """Fill the output buffers from the input buffers; EngineError where the engine fails."""

    def _set_adapter(self, adapter: Adapter | None) -> None:
        if adapter is not None:
            check_adapter(adapter, self.slots)
        for slot in self.slots:
            self._in[slot.name][...] = 0.0 if adapter is None else adapter[slot.name]
        self._adapter = adapter


def check_contract(text: str | None, contract: Contract, entry: GraphEntry) -> None:
    """Raise ContractError unless the contract inside a graph is the manifest's."""
    if text is None:
        contradiction(f"{entry.file} without a contract in its metadata", "the manifest's")
    theirs = Contract.from_json(text)  # what it means counts, not its spelling: it may be of an older schema
    if theirs != contract:
        fields = [field.name for field in dataclasses.fields(contract) if not _same(theirs, contract, field.name)]
        contradiction(f"{entry.file} with another contract ({', '.join(fields)})", "the manifest's contract")


def _same(one: Contract, other: Contract, field: str) -> bool:
    return bool(getattr(one, field) == getattr(other, field))


def contradiction(came: str, expected: str) -> NoReturn:
    """Raise the error for a graph that is not what the manifest says."""
    raise ContractError(came, expected, "Export the bundle again with this version of physioedge.")


def graph_failed(entry: GraphEntry, what: str, reason: object, engine: str) -> EngineError:
    """The error for a graph that an engine refuses or fails on."""
    return EngineError(
        f"graph {entry.file}, which {what} ({' '.join(str(reason).split())[:300]})",
        f"a graph for {engine}",
        "Choose another graph of the bundle, or update the engine.",
    )


def _signal_shapes(contract: Contract, entry: GraphEntry) -> dict[str, tuple[int, ...]]:
    """Signal inputs of a graph: whole windows, or context and one step."""
    shapes: dict[str, tuple[int, ...]] = {}
    for sensor, (name, (channels, samples)) in zip(contract.sensors, contract.input_shapes.items(), strict=True):
        if entry.mode == STEP:
            samples = sensor.context_samples + contract.step_samples(sensor.name)
        shapes[name] = (1, channels, samples)
    return shapes


def _output_shapes(contract: Contract) -> dict[str, tuple[int, ...]]:
    return {contract.output_name: (1, contract.n_outputs), EMBEDDING: (1, contract.embedding_dim)}


def _finite(array: NDArray[np.float32]) -> bool:
    """As ``isfinite(array).all()``, in one call: a number times zero is zero, NaN and infinities are not."""
    size = array.size
    if size not in _ZEROS:
        _ZEROS[size] = np.zeros(size, np.float32)
    return bool(np.vdot(array, _ZEROS[size]) == 0.0)


def _joint(shapes: Shapes) -> tuple[NDArray[np.float32], Buffers]:
    """Rows side by side in one array, each where engines like them to begin: one copy and one check for all."""
    widths = {name: shape[1] for name, shape in shapes.items()}
    starts, end = {}, 0
    for name, width in widths.items():
        starts[name] = -(-end // _ALIGNED) * _ALIGNED
        end = starts[name] + width
    whole = np.zeros(end, np.float32)
    return whole, {name: whole[None, starts[name] : starts[name] + width] for name, width in widths.items()}


def _zeros(shapes: Shapes) -> Buffers:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
