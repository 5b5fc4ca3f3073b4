"""The front door of the runtime: samples in, judged windows out.

A `Stream` owns all state. It takes chunks of any size and gives the same results for any chunking. It never raises for
what a sensor sends, only for what a programmer passes wrongly: bad samples give results with flags and no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.engine import Adapter, Engine, load_engine
from physioedge_runtime.engine.slots import check_adapter
from physioedge_runtime.errors import (
    PhysioEdgeError,
    SignalError,
    SnapshotError,
    UnknownSensor,
)
from physioedge_runtime.result import Result, softmax
from physioedge_runtime.signal.admission import Admission
from physioedge_runtime.signal.stretch import Cut, Stretch
from physioedge_runtime.signal.timeline import TOLERANCE_S, Timeline

SNAPSHOT_VERSION = 2
GLOBAL_ADAPTER = "global"


class Stream:
    """A live signal judged by the model of a bundle. Not thread-safe: one stream, one thread at a time.

    Parameters
    ----------
    bundle : Bundle
        Verified bundle.
    fs_hz : float
        Rate of the samples that will come.
    units : str
        Their unit; must be the contract's.
    resample : {None, "polyphase"}
        How to convert when `fs_hz` is not the contract's rate; None refuses to.
    channels : sequence of str, optional
        Names of the rows of each chunk, of which the contract's are taken. None: exactly the contract's, in order.
    adapters, precision : str
        Which graph of the bundle, see `load_engine`.
    engine : str or Engine
        ``onnxruntime``, ``executorch``, or ``auto``: executorch where it is built and the bundle has a program for it.
        If that graph computes wrongly here, the stream takes another of the bundle, see `load_engine`; which one runs
        and what was passed over stand in `Stream.engine`. Or an engine already loaded from this bundle, for instance
        shared by several streams.
    tolerance_s : float
        Jitter of the timestamps given to `push`; see `Timeline`.

    Raises
    ------
    SampleRateMismatch, UnitMismatch, ChannelMismatch, SignalError
        What will come does not fit the contract.
    BundleError, EngineError
        As `load_engine`.

    Examples
    --------
    >>> with Stream(bundle, fs_hz=360, units="mV", resample="polyphase") as stream:  # doctest: +SKIP
    ...     results = stream.push(chunk) + stream.flush()
    """

    def __init__(  # noqa: PLR0913 - each says one thing about the signal or the graph, all but three optional
        self,
        bundle: Bundle,
        *,
        fs_hz: float,
        units: str,
        resample: str | None = None,
        channels: Sequence[str] | None = None,
        adapters: str = "merged",
        precision: str = "int8",
        engine: Engine | str = "onnxruntime",
        tolerance_s: float = TOLERANCE_S,
    ) -> None:
        self.contract: Contract = bundle.contract
        self._admission = Admission(
            self.contract.sensor, fs_hz=fs_hz, units=units, resample=resample, channels=channels
        )
        self.fs_hz, self.bundle_digest = self._admission.fs_hz, bundle.digest
        self._tolerance_s = tolerance_s
        self._timeline = Timeline(self.fs_hz, tolerance_s)
        self._stretch = Stretch(self.contract.sensor, self.contract.window, self.fs_hz)
        self._since: tuple[str, ...] = ()  # why this stretch is not the first
        self._adapter: Adapter | None = None
        self.adapter_id = GLOBAL_ADAPTER
        if isinstance(engine, str):
            engine = load_engine(bundle, engine=engine, precision=precision, adapters=adapters, fallback=True)
        self.engine: Engine = engine
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the signal and refuse more of it; `flush` first to get the last results."""
        self.reset()
        self._closed = True

    @property
    def now_s(self) -> float:
        """Time of the next sample on the stream's clock."""
        return self._timeline.now_s

    @property
    def drift_ppm(self) -> float:
        """Drift of the sensor's clock against the caller's timestamps, see `Timeline`."""
        return self._timeline.drift_ppm

    def push(self, chunk: NDArray[Any], t: float | None = None, sensor: str | None = None) -> list[Result]:
        """Results that have become due.

        Parameters
        ----------
        chunk : float (channel, sample), units as stated
            Any number of samples, also none. float64 and float16 are rounded to float32; whole numbers are refused,
            because counts of an A/D converter have no unit.
        t : float, optional
            Caller's time of the first sample, in seconds. Only used to notice gaps, repetitions, a clock turned back
            and drift.
        sensor : str, optional
            The contract's sensor, which is the default.

        Raises
        ------
        ShapeError
            `chunk` is not such an array. The stream is as before.
        UnknownSensor, SignalError
            Another sensor; a timestamp that is no number; a closed stream. The stream is as before.
        """
        if self._closed:
            raise SignalError("samples for a closed stream", "an open one", "Make a new Stream.")
        if sensor is not None and sensor != self.contract.sensor.name:
            raise UnknownSensor(f"sensor {sensor!r}", repr(self.contract.sensor.name), "Name the contract's sensor.")
        samples = self._admission.take(chunk)
        if samples.shape[1] == 0:
            return []
        arrival = self._timeline.look(t)
        for flag in arrival.flags:
            self._stretch.mark(flag)
        results: list[Result] = []
        if arrival.kind == "gap":
            results = self._restart("gap", t)
        elif arrival.kind == "earlier":
            repeated = self._repeated(samples, -arrival.jump_s)
            if repeated:
                self._stretch.mark("duplicate")
                samples = samples[:, repeated:]
            else:
                results = self._restart("clock_backward", t)
        self._timeline.advance(samples.shape[1])
        results += [self._judge(cut) for cut in self._stretch.push(samples)]
        return results

    def flush(self) -> list[Result]:
        """The last results, with the end of the signal as the end of time; then as `reset`."""
        results = [self._judge(cut, "end") for cut in self._stretch.end()]
        self.reset()
        return results

    def reset(self) -> None:
        """Forget the signal and its clock; the adapter stays."""
        self._timeline.reset()
        self._stretch.reset()
        self._since = ()

    def set_adapter(self, adapter: Adapter | None, adapter_id: str = GLOBAL_ADAPTER) -> None:
        """Use other LoRA arrays from the next window on.

        Parameters
        ----------
        adapter : mapping of str to float32, or None
            One array for each slot; None is the global model.
        adapter_id : str
            What results will name.

        Raises
        ------
        SlotMismatch, NonFiniteAdapter
            The adapter does not fit; the one in use stays.
        """
        if adapter is not None:
            adapter = {name: np.array(array) for name, array in adapter.items()}  # later changes stay the caller's
            check_adapter(adapter, self.engine.slots)
        self._adapter, self.adapter_id = adapter, adapter_id

    def snapshot(self) -> dict[str, Any]:
        """The whole state as a dict of numbers, text and arrays, for `restore`."""
        return {
            "version": SNAPSHOT_VERSION,
            "bundle": self.bundle_digest,
            "fs_hz": self.fs_hz,
            "timeline": self._timeline.snapshot(),
            "stretch": self._stretch.snapshot(),
            "since": list(self._since),
            "adapter_id": self.adapter_id,
            "adapter": None if self._adapter is None else {k: v.copy() for k, v in self._adapter.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where a stream of the same bundle and rate was when it gave this `snapshot`.

        Raises
        ------
        SnapshotError
            It is of another bundle, rate or version, or damaged; the stream is as before.
        SlotMismatch, NonFiniteAdapter
            Its adapter does not fit this stream's graph; the stream is as before.
        """
        expected = {"version": SNAPSHOT_VERSION, "bundle": self.bundle_digest, "fs_hz": self.fs_hz}
        try:
            for key, value in expected.items():
                if state[key] != value:
                    raise SnapshotError(
                        f"a snapshot with {key} {state[key]!r}", repr(value), "Restore it where it was taken."
                    )
            timeline = Timeline(self.fs_hz, self._tolerance_s)
            timeline.restore(state["timeline"])
            stretch = Stretch(self.contract.sensor, self.contract.window, self.fs_hz)
            stretch.restore(state["stretch"])
            since, adapter_id = tuple(map(str, state["since"])), str(state["adapter_id"])
            adapter = state["adapter"]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SnapshotError(
                f"a damaged snapshot ({type(error).__name__}: {error})", "one made by Stream.snapshot", "Start anew."
            ) from error
        self.set_adapter(adapter, adapter_id)
        self._timeline, self._stretch, self._since, self._closed = timeline, stretch, since, False

    def _repeated(self, samples: NDArray[np.float32], back_s: float) -> int:
        """How many of the first samples are here already, sample for sample."""
        back = round(back_s * self.fs_hz)
        n = min(back, samples.shape[1])
        known = self._stretch.recent(back, n)
        same = known is not None and np.array_equal(known, samples[:, :n], equal_nan=True)
        return n if same else 0

    def _restart(self, flag: str, t: float | None) -> list[Result]:
        results = [self._judge(cut, flag) for cut in self._stretch.end()]
        self._timeline.restart(self._timeline.now_s if t is None else t)
        self._since = (flag,)
        return results

    def _judge(self, cut: Cut, ended_by: str | None = None) -> Result:
        if cut.window is None or cut.quality is None:
            reasons = self._since if "warming_up" in cut.flags else ()
            if ended_by is not None and "incomplete" in cut.flags:
                reasons = (*reasons, ended_by)
            return self._result(cut, 0.0, (*cut.flags, *(r for r in dict.fromkeys(reasons) if r not in cut.flags)))
        flags = (*cut.flags, *cut.quality.flags)
        if cut.quality.index < self.contract.thresholds.min_quality:
            return self._result(cut, cut.quality.index, (*flags, "low_quality"))
        if cut.quality.flags and cut.quality.hard:
            return self._result(cut, cut.quality.index, flags)
        try:
            logits, embedding = self.engine.run(cut.window, self._adapter)
        except PhysioEdgeError:
            return self._result(cut, cut.quality.index, (*flags, "engine_error"))
        return self._result(cut, cut.quality.index, flags, logits, embedding)

    def _result(
        self,
        cut: Cut,
        quality: float,
        flags: tuple[str, ...],
        logits: NDArray[np.float32] | None = None,
        embedding: NDArray[np.float32] | None = None,
    ) -> Result:
        contract, anchor_s = self.contract, self._timeline.anchor_s
        fs_hz, window = contract.sensor.fs_hz, contract.window
        label: str | None = None
        probabilities: tuple[float, ...] = ()
        probability = 0.0
        if logits is not None:
            probabilities = softmax(logits[0])
            probability = max(probabilities)
            label = contract.labels[probabilities.index(probability)]
            if probability < contract.thresholds.min_probability:
                label, flags = None, (*flags, "low_confidence")
        end = cut.anchor + window.lookahead_samples
        return Result(
            t_start_s=anchor_s + max(0, end + 1 - window.window_samples) / fs_hz,
            t_end_s=anchor_s + min(end / fs_hz, cut.decided_s),
            t_anchor_s=anchor_s + cut.anchor / fs_hz,
            label=label,
            probability=probability,
            probabilities=probabilities,
            quality=quality,
            flags=flags,
            adapter=self.adapter_id,
            t_emitted_s=anchor_s + cut.decided_s,
            embedding=None if embedding is None else embedding[0],
        )
