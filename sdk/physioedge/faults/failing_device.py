"""A device's loop on a disk that fails: a stream, its store, and what every result must be, worked out beforehand."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.faults.made import NOW_S, SHIPPED_RECORD, TRUST, Arrays, Maker, shipped_bundle, target
from physioedge.faults.unreliable_disk import UnreliableDisk
from physioedge.signals.read import read_recording
from physioedge_runtime.adaptation.adapting import Adaptation
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.disk import Disk
from physioedge_runtime.adaptation.session import TRYING
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine import Engine, load_engine
from physioedge_runtime.errors import PhysioEdgeError
from physioedge_runtime.result import Result
from physioedge_runtime.stream import GLOBAL_ADAPTER, Stream

MAKER = Maker(target())
FIRST, OLD, NEW = 1, 2, 3
"""Counters of the adapter that served before, of the one that serves, and of the one that comes."""
PARTS_S = ((0.0, 12.0), (12.0, 16.0), (16.0, 20.0))
"""Of the recording: a stream warms up for 8 s, then come the windows before an action, in it, and after it."""
_ANY_CHANGE = ChangePlan(
    min_windows=2, max_label_shift=1.0, max_withheld_increase=1.0, min_margin_change=-1.0, max_shift=1e6
)
"""Confirms every adapter, so that the disk alone decides."""


def id_of(counter: int) -> str:
    """What results name under the adapter with this counter; 0 is the global model."""
    return f"adapter-{counter:03d}" if counter else GLOBAL_ADAPTER


@functools.cache
def wanted_arrays(counter: int) -> Arrays:
    """Of the adapter with this counter."""
    return MAKER.arrays(counter)


@functools.cache
def adapter(counter: int) -> bytes:
    """Its file."""
    return MAKER.adapter(counter)


def opened(place: Path | Disk) -> AdapterStore:
    """The store at a place."""
    return AdapterStore.open(place, target=MAKER.target, trust=TRUST, clock=lambda: float(NOW_S))


def serving(store: AdapterStore) -> int:
    """Counter of what the store says serves, 0 for the global model, -1 for arrays that were never made."""
    found = store.serving
    if found is None:
        return 0
    counter, wanted = found.manifest.counter, wanted_arrays(found.manifest.counter)
    same = set(wanted) == set(found.arrays) and all(found.arrays[n].tobytes() == a.tobytes() for n, a in wanted.items())
    return counter if same else -1


@functools.cache
def prepared_files() -> Mapping[str, bytes]:
    """Of a disk on which a store keeps `OLD` as confirmed, after `FIRST`."""
    disk = UnreliableDisk()
    with opened(disk) as store:
        for counter in (FIRST, OLD):
            store.stage(adapter(counter))
            store.start_trial()
            store.confirm()
    return disk.files


@dataclass
class Signal:
    """The shipped recording in parts, and every result there can be.

    Attributes
    ----------
    parts : list of float32 (channel, sample)
    truth : mapping of (str, float) to Result
        By id of the adapter and time of the beat.
    """

    parts: list[NDArray[np.float32]]
    truth: dict[tuple[str, float], Result]
    engine: Engine

    @classmethod
    def recorded(cls) -> Signal:
        """Its parts, judged under each adapter, and none, by streams that know of no store."""
        recording = read_recording(SHIPPED_RECORD)
        rows = [slice(*(round(t * recording.fs_hz) for t in part)) for part in PARTS_S]
        cut = [recording.samples[:, row] for row in rows]
        engine, truth = load_engine(shipped_bundle(), adapters="slots"), dict[tuple[str, float], Result]()
        for counter in (0, FIRST, OLD, NEW):
            stream = new_stream(engine)
            stream.set_adapter(wanted_arrays(counter) if counter else None, id_of(counter))
            for result in [r for part in cut for r in stream.push(part)]:
                truth[result.adapter, result.t_anchor_s] = result
        return cls(cut, truth, engine)

    def fault_in(self, results: list[Result], allowed: set[int]) -> str:
        """Why results are not those of one of the adapters, or not all of them; empty where they are."""
        if not any(result.judged for result in results):
            return "the stream judged nothing"
        for result in results:
            if result.adapter not in {id_of(counter) for counter in allowed}:
                return f"results under {result.adapter}"
            if self.truth.get((result.adapter, result.t_anchor_s)) != result:
                return f"a result under {result.adapter} is another than without the fault"
        return ""


def new_stream(engine: Engine) -> Stream:
    """On the shipped recording."""
    recording = read_recording(SHIPPED_RECORD)
    return Stream(
        shipped_bundle(), fs_hz=recording.fs_hz, units=recording.units, resample="polyphase",
        channels=recording.channels, engine=engine,
    )  # fmt: skip


class Device:
    """The loop of a device that runs on `OLD`, up to where an action begins."""

    def __init__(self, signal: Signal, store: AdapterStore) -> None:
        self.signal, self.store = signal, store
        self.stream = new_stream(signal.engine)
        self.adaptation = Adaptation(self.stream, store, _ANY_CHANGE)
        self.lives(0)

    def lives(self, part: int) -> tuple[list[Result], str]:
        """One part of the signal; results, and how a trial ended in it, if one did."""
        results = self.stream.push(self.signal.parts[part])
        ended = self.adaptation.step(results)
        return results, "" if ended is None else ended.what

    def before(self, action: str) -> None:
        """What an action needs, while all is well; the first two parts of the signal, or the first for `confirm`."""
        if action != "confirm":
            self.lives(1)
        if action in ("confirm", "revert") and self.adaptation.install(adapter(NEW)).step != TRYING:
            raise ValueError("the trial did not begin")

    def does(self, action: str) -> bool:
        """The action as an app calls it; whether it says that it worked. A store's own errors say that it did not.

        Nothing else may be raised, and nothing at all by what promises not to raise.
        """
        worked = self._does(action)
        self.adaptation.step([])
        return worked

    def _does(self, action: str) -> bool:
        if action == "install":
            return self.adaptation.install(adapter(NEW)).step == TRYING
        if action == "confirm":
            return self.lives(1)[1] == "confirmed"
        if action == "revert":
            ended = self.adaptation.abandon("asked for")
            return ended is not None and ended.error is None
        try:
            _CALLS[action](self.store)
        except PhysioEdgeError:
            return False
        return True


_CALLS = {
    "rollback": lambda store: store.rollback("asked for"),
    "pin": lambda store: store.pin(),
    "level": lambda store: store.keep_centring(np.zeros(MAKER.target.contract.n_outputs, np.float32)),
    "forget": lambda store: store.forget(),
}
ACTIONS = ("install", "confirm", "revert", *_CALLS)
AFTER = {"install": NEW, "confirm": NEW, "revert": OLD, "rollback": FIRST, "pin": OLD, "level": OLD, "forget": 0}
"""What serves when an action worked."""
