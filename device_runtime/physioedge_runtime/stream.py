"""The front door of the runtime: samples in, judged windows out.

A `Stream` owns all state. It takes chunks of any size and gives the same results for any chunking. It never raises for
what a sensor sends, only for what a programmer passes wrongly: bad samples give results with flags and no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from physioedge_runtime.adaptation.collecting import Collector
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.engine import Adapter, Engine, load_engine
from physioedge_runtime.engine.slots import copied_adapter
from physioedge_runtime.errors import ConditionError, SignalError, SnapshotError, UnknownSensor
from physioedge_runtime.judging import Judge
from physioedge_runtime.result import Result
from physioedge_runtime.signal.admission import BySensor, admissions
from physioedge_runtime.signal.alignment import Alignment
from physioedge_runtime.signal.timeline import TOLERANCE_S

SNAPSHOT_VERSION = 5
GLOBAL_ADAPTER = "global"


class Stream:
    """A live signal judged by the model of a bundle. Not thread-safe: one stream, one thread at a time.

    For a contract of several sensors, `fs_hz`, `units`, `resample` and `channels` are mappings by sensor name.

    Parameters
    ----------
    bundle : Bundle
        Verified bundle.
    fs_hz : float, or float by sensor
        Rate of the samples that will come; a mapping must name every sensor.
    units : str, or str by sensor
        Their unit; must be the contract's. A mapping must name every sensor.
    resample : {None, "polyphase"}, or one by sensor
        How to convert when `fs_hz` is not the contract's rate; None, and a sensor left out, refuses to.
    channels : sequence of str, or one by sensor, optional
        Names of the rows of each chunk, of which the contract's are taken. None: exactly the contract's, in order.
    adapters, precision : str
        Which graph of the bundle, see `load_engine`.
    engine : str or Engine
        ``onnxruntime``, ``executorch``, or ``auto``: executorch where it is built and the bundle has a program for it.
        If that graph computes wrongly here, the stream takes another of the bundle, see `load_engine`; which one runs
        and what was passed over stand in `Stream.engine`. Or an engine already loaded from this bundle, for instance
        shared by several streams.
    mode : {"auto", "step", "window"}
        Where the bundle has step graphs, ``auto`` and ``step`` compute only what is new in each window, see
        docs/incremental.md; ``window`` computes every window anew.
    tolerance_s : float
        Jitter of the timestamps given to `push`; see `Timeline`.
    collect : {None, "embedding", "shapelets"}
        What `condition` is made of, if the bundle offers it; see docs/condition.md. None collects nothing.

    Raises
    ------
    SampleRateMismatch, UnitMismatch, ChannelMismatch, UnknownSensor, SignalError
        What will come does not fit the contract, or is said once for several sensors.
    BundleError, EngineError
        As `load_engine`.

    Examples
    --------
    >>> with Stream(bundle, fs_hz=360, units="mV", resample="polyphase") as stream:  # doctest: +SKIP
    ...     results = stream.push(chunk) + stream.flush()

    Of several sensors, the leading one last where chunks are long:

    >>> rates, units = {"ppg": 64, "acc": 32}, {"ppg": "a.u.", "acc": "g"}
    >>> with Stream(bundle, fs_hz=rates, units=units) as stream:  # doctest: +SKIP
    ...     results = stream.push(moved, t, "acc") + stream.push(pulse, t, "ppg")
    """

    def __init__(  # noqa: PLR0913 - each says one thing about the signal or the graph, all but three optional
        self,
        bundle: Bundle,
        *,
        fs_hz: BySensor[float],
        units: BySensor[str],
        resample: BySensor[str | None] = None,
        channels: BySensor[Sequence[str] | None] = None,
        adapters: str = "merged",
        precision: str = "int8",
        engine: Engine | str = "onnxruntime",
        mode: str = "auto",
        tolerance_s: float = TOLERANCE_S,
        collect: str | None = None,
    ) -> None:
        self.contract: Contract = bundle.contract
        self.bundle_digest, self._tolerance_s = bundle.digest, tolerance_s
        self._admissions = admissions(self.contract, fs_hz=fs_hz, units=units, resample=resample, channels=channels)
        self._names = tuple(sensor.name for sensor in self.contract.sensors)
        self._alignment = self._new_alignment()
        if isinstance(engine, str):
            engine = load_engine(
                bundle, engine=engine, precision=precision, adapters=adapters, fallback=True, mode=mode
            )
        self.engine: Engine = engine
        self._judge = Judge(self.contract, engine, GLOBAL_ADAPTER)
        self._judge.collector = None if collect is None else Collector(bundle, collect, engine)
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
        """Time of the leading sensor's next sample on the stream's clock."""
        return self._alignment.lead.timeline.now_s

    @property
    def drift_ppm(self) -> float:
        """Drift of the leading sensor's clock against the caller's timestamps, see `Timeline`."""
        return self._alignment.lead.timeline.drift_ppm

    @property
    def adapter_id(self) -> str:
        """Id of the adapter in use."""
        return self._judge.adapter_id

    def push(self, chunk: NDArray[Any], t: float | None = None, sensor: str | None = None) -> list[Result]:
        """Results that have become due.

        Parameters
        ----------
        chunk : float (channel, sample), units as stated
            Any number of samples, also none. float64 and float16 are rounded to float32; whole numbers are refused,
            because counts of an A/D converter have no unit.
        t : float, optional
            Caller's time of the first sample, in seconds. Used to notice gaps, repetitions, a clock turned back and
            drift, and to align sensors: without any, all begin at 0.
        sensor : str, optional
            Whose samples these are; may be left out where the contract has one sensor only.

        Raises
        ------
        ShapeError
            `chunk` is not such an array. The stream is as before.
        UnknownSensor, SignalError
            Another sensor, or none named where there are several; a timestamp that is no number; a closed stream. The
            stream is as before.
        """
        if self._closed:
            raise SignalError("samples for a closed stream", "an open one", "Make a new Stream.")
        if sensor is None and len(self._names) == 1:
            sensor = self._names[0]
        if sensor not in self._names:
            came = "samples of no sensor in particular" if sensor is None else f"sensor {sensor!r}"
            raise UnknownSensor(came, " or ".join(map(repr, self._names)), "Name a sensor of the contract.")
        return [self._judge.judge(aligned) for aligned in self._alignment.push(chunk, t, sensor)]

    def flush(self) -> list[Result]:
        """The last results, with the end of the signal as the end of time; then as `reset`."""
        results = [self._judge.judge(aligned) for aligned in self._alignment.flush()]
        self._judge.memory.clear()
        return results

    def reset(self) -> None:
        """Forget the signals and their clocks; the adapter stays."""
        self._alignment.reset()
        self._judge.memory.clear()

    def set_adapter(self, adapter: Adapter | None, adapter_id: str = GLOBAL_ADAPTER) -> None:
        """Use other LoRA arrays from the next window on.

        Parameters
        ----------
        adapter : mapping of str to float32, or None
            One array for each slot, or none for any; beside them, or alone, ``head.bias`` (n_outputs,), which is added
            to logits or values and fits merged graphs too. None is the global model.
        adapter_id : str
            What results will name.

        Raises
        ------
        SlotMismatch, NonFiniteAdapter
            The adapter does not fit; the one in use stays.
        """
        # a copy: later changes stay the caller's
        self._judge.use(None if adapter is None else copied_adapter(adapter), adapter_id)

    def condition(self) -> Condition:
        """What a host needs to know of the person so far: statistics, not signal. `Condition.preview` shows all of it.

        Raises
        ------
        ConditionError
            The stream collects nothing, or has collected too few windows.
        """
        if self._judge.collector is None:
            raise ConditionError(
                "a condition of a stream that collects nothing", "one that collects", "Pass collect='embedding'."
            )
        return self._judge.collector.condition(self.adapter_id)

    @property
    def collected(self) -> int:
        """Windows that `condition` would be of; 0 where nothing is collected."""
        return 0 if self._judge.collector is None else self._judge.collector.windows

    def forget(self) -> None:
        """As `reset`, and everything collected of the person, too."""
        self.reset()
        if self._judge.collector is not None:
            self._judge.collector.reset()

    def snapshot(self) -> dict[str, Any]:
        """The whole state as a dict of numbers, text and arrays, for `restore`."""
        adapter = self._judge.adapter
        return {
            **self._identity(),
            "signal": self._alignment.snapshot(),
            "adapter_id": self.adapter_id,
            "adapter": None if adapter is None else {k: v.copy() for k, v in adapter.items()},
            "collected": None if self._judge.collector is None else self._judge.collector.snapshot(),
            "memory": self._judge.snapshot_memory(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where a stream of the same bundle and rates was when it gave this `snapshot`.

        Raises
        ------
        SnapshotError
            It is of another bundle, rate or version, or damaged; the stream is as before.
        SlotMismatch, NonFiniteAdapter
            Its adapter does not fit this stream's graph; the stream is as before.
        """
        try:
            for key, value in self._identity().items():
                if state[key] != value:
                    raise SnapshotError(
                        f"a snapshot with {key} {state[key]!r}", repr(value), "Restore it where it was taken."
                    )
            alignment, collector = self._new_alignment(), self._judge.collector
            alignment.restore(state["signal"])
            adapter, adapter_id, collected = state["adapter"], str(state["adapter_id"]), state["collected"]
            statistics = None if collector is None else collector.parsed(collected)
            memory = self._judge.parsed_memory(state["memory"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SnapshotError(
                f"a damaged snapshot ({type(error).__name__}: {error})", "one made by Stream.snapshot", "Start anew."
            ) from error
        self.set_adapter(adapter, adapter_id)
        if collector is not None and statistics is not None:
            collector.take(statistics)
        self._judge.remember(memory)
        self._alignment, self._closed = alignment, False

    def _new_alignment(self) -> Alignment:
        return Alignment(self.contract, self._admissions, self._tolerance_s)

    def _identity(self) -> dict[str, Any]:
        """What a snapshot and a stream must have in common."""
        rates = {name: one.fs_hz for name, one in zip(self._names, self._admissions, strict=True)}
        collects = None if self._judge.collector is None else self._judge.collector.spec.kind
        return {"version": SNAPSHOT_VERSION, "bundle": self.bundle_digest, "fs_hz": rates, "collects": collects}
