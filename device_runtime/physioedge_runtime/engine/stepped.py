"""A step graph behind the protocol of every engine: windows in, and only what is new in them is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import Contract, SlotSpec
from physioedge_runtime.engine.buffered import BufferedEngine
from physioedge_runtime.engine.protocol import Adapter, Signals
from physioedge_runtime.engine.step_buffers import StepBuffers
from physioedge_runtime.errors import SnapshotError

Floats = NDArray[np.float32]


@dataclass(eq=False)
class Past:
    """What one chain of steps remembers.

    Attributes
    ----------
    steps : int
        Since it began.
    last : tuple of float32 (1, channel, sample)
        The window of the last step.
    adapter : mapping or None
        Under which it was computed.
    kept : dict or None
        Keys, values and tokens, while they do not lie in the engine's buffers.
    """

    steps: int = 0
    last: tuple[Floats, ...] = ()
    adapter: Adapter | None = None
    kept: dict[str, Any] | None = None


@dataclass(eq=False)
class Memory:
    """What a stream has an engine remember; one `Past` for each hop of a step, which take turns."""

    pasts: list[Past] = field(default_factory=list)

    def clear(self) -> None:
        """Forget all of it, the samples too, of which the engine may still hold the last."""
        for past in self.pasts:
            past.last, past.kept = (), None
        self.pasts.clear()


class StepChain:
    """Runs a step graph over windows, from scratch or on from the last one.

    Parameters
    ----------
    contract : Contract
        With `step`.
    signals : tuple of float32 (1, channel, sample)
        The graph's own signal inputs: context and one step.
    buffers : StepBuffers
    execute : callable
        Fills the outputs from the inputs.
    """

    def __init__(
        self, contract: Contract, signals: tuple[Floats, ...], buffers: StepBuffers, execute: Callable[[], None]
    ) -> None:
        names = [sensor.name for sensor in contract.sensors]
        self._hop = [contract.window_of(name).hop_samples for name in names]
        self._step = [contract.step_samples(name) for name in names]
        self._steps = contract.sensor.window_samples // self._step[0]
        self._signals, self._buffers, self._execute = signals, buffers, execute
        self._sizes = [signal.shape[2] for signal in signals]
        self._hops = self._step[0] // self._hop[0]
        self._loaded: Past | None = None

    def run(
        self,
        windows: tuple[Floats, ...],
        adapter: Adapter | None,
        memory: Memory | None,
        past: Past | None = None,
    ) -> None:
        """Leave in the outputs what the graph says of a window, on from the past that `continued` found in `memory`."""
        if past is None:
            past = Past(adapter=adapter)
            self._load(past)
            for k in range(self._steps):
                self._take(past, windows, k)
        else:
            self._load(past)
            self._take(past, windows, self._steps - 1)
        if memory is not None:
            if past.last:
                for kept, window in zip(past.last, windows, strict=True):
                    kept[...] = window
            else:
                past.last = tuple(window.copy() for window in windows)
            others = [one for one in memory.pasts if one is not past] if self._hops > 1 else []
            memory.pasts = [*others, past][-self._hops :]

    def kept(self, past: Past) -> dict[str, Any]:
        """What it remembers, wherever that lies."""
        if past is self._loaded or past.kept is None:
            return self._buffers.save()
        return {name: array.copy() for name, array in past.kept.items()}

    def continued(self, memory: Memory, windows: tuple[Floats, ...], adapter: Adapter | None) -> Past | None:
        """The past that this window goes on from: under the same adapter, and the window's own past to the sample."""
        for past in memory.pasts:
            if past.adapter is adapter and past.last and self._follows(past.last, windows):
                return past
        return None

    def newest(self, windows: tuple[Floats, ...]) -> tuple[Floats, ...]:
        """The samples of one step."""
        return tuple(window[..., -step:] for window, step in zip(windows, self._step, strict=True))

    def _follows(self, last: tuple[Floats, ...], windows: tuple[Floats, ...]) -> bool:
        for before, now, step in zip(last, windows, self._step, strict=True):
            if before[..., step:].tobytes() != now[..., :-step].tobytes():  # a fifth of what array_equal takes
                return False
        return True

    def _load(self, past: Past) -> None:
        if past is self._loaded:
            return
        if self._loaded is not None:
            self._loaded.kept = self._buffers.save()
        if past.kept is None:
            self._buffers.clear()
        else:
            self._buffers.load(past.kept)
            past.kept = None
        self._loaded = past

    def _take(self, past: Past, windows: tuple[Floats, ...], k: int) -> None:
        """The step over the k-th part of the window."""
        for target, window, step, size in zip(self._signals, windows, self._step, self._sizes, strict=True):
            target[...] = window[..., k * step : k * step + size]
        steps = past.steps
        self._buffers.before(steps)
        self._execute()
        self._buffers.after(steps)
        past.steps = steps + 1


class SteppedEngine:
    """An engine on a step graph.

    `run` judges a window from scratch, as every engine does, and gives what a window graph would. `run_on` goes on from
    what a `Memory` holds: where a window's past is the very samples of the last one, only its newest hop is computed,
    and its tokens see further back than the window does. Where it is not, or the adapter is another, the memory begins
    anew with this window.

    Parameters
    ----------
    contract : Contract
    graph : BufferedEngine
        On a graph of mode ``step``.
    """

    def __init__(self, contract: Contract, graph: BufferedEngine) -> None:
        self.graph, self.refused = graph, graph.refused
        assert graph.step_buffers is not None  # a graph of mode `step` has them
        self._buffers = graph.step_buffers
        self._windows = tuple((1, *shape) for shape in contract.input_shapes.values())
        self._chain = StepChain(contract, graph.signal_buffers, self._buffers, graph.execute)

    @property
    def name(self) -> str:
        """Engine and version."""
        return self.graph.name

    @property
    def slots(self) -> tuple[SlotSpec, ...]:
        """Slots of this graph."""
        return self.graph.slots

    def run(self, signals: Signals, adapter: Adapter | None = None) -> tuple[Floats, Floats]:
        """First output (1, K) and embedding (1, D) of one window; see `Engine.run`."""
        return self.run_on(signals, adapter, None)

    def run_on(self, signals: Signals, adapter: Adapter | None, memory: Memory | None) -> tuple[Floats, Floats]:
        """As `run`, on from what `memory` holds; errors as there, after which the memory begins anew."""
        given = signals if isinstance(signals, tuple) else (signals,)
        self.graph.check_shapes(given, self._windows)
        past = None if memory is None else self._chain.continued(memory, given, adapter)
        self.graph.check_finite(given if past is None else self._chain.newest(given))  # the rest was checked before
        self.graph.use(adapter)
        try:
            self._chain.run(given, adapter, memory, past)
            return self.graph.answer()
        except Exception:
            if memory is not None:
                memory.clear()
            raise

    def snapshot(self, memory: Memory) -> list[dict[str, Any]]:
        """The memory as plain numbers and arrays."""
        return [
            {"steps": past.steps, "last": [w.copy() for w in past.last], "kept": self._chain.kept(past)}
            for past in memory.pasts
        ]

    def restored(self, state: list[dict[str, Any]], adapter: Adapter | None) -> Memory:
        """Inverse of `snapshot`, under the adapter that is in use again.

        Raises
        ------
        SnapshotError
            It is of another graph.
        KeyError, TypeError, ValueError
            It is damaged.
        """
        memory = Memory()
        for one in state:
            last = tuple(np.array(window, np.float32) for window in one["last"])
            if tuple(window.shape for window in last) != self._windows:
                raise SnapshotError("a memory of other windows", "one of this bundle", "Start anew.")
            if not all(np.isfinite(window).all() for window in last):  # what follows it is not looked at again
                raise ValueError("a last window that is not finite")
            kept = {name: np.array(array, np.float32) for name, array in one["kept"].items()}
            self._buffers.check(kept)
            memory.pasts.append(Past(steps=int(one["steps"]), last=last, adapter=adapter, kept=kept))
        return memory
