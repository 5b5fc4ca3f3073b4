"""R5: adapters with arrays that are missing, odd or not finite, while a stream runs on a good one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.faults.made import NOW_S, SHIPPED_RECORD, TRUST, Maker, shipped_bundle, target
from physioedge.faults.odd_arrays import ENGINE, FILE, KINDS, STREAM
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.unreliable_disk import UnreliableDisk
from physioedge.signals.read import read_recording
from physioedge_runtime.adaptation.session import install, serve
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine import Engine, load_engine
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import PhysioEdgeError
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream

ROW = Row(
    id="R5",
    what="adapters with missing, extra, misnamed, empty arrays; NaN, infinities, other types, shapes, norms over the "
    "limit; in rightly signed files, given to a stream, and to an engine",
    target="all refused; the old adapter keeps serving, every result equal bit for bit",
)
TRIES = 100
"""Of each kind, at each door."""
CHUNK_S = 0.25
CODES = ("slots", "adapter-values", "bundle-format")


@dataclass
class Life:
    """A stream on the shipped recording, with the first adapter of a store in use."""

    stream: Stream
    store: AdapterStore
    disk: UnreliableDisk
    engine: Engine
    window: NDArray[np.float32]

    @classmethod
    def begun(cls, maker: Maker, engine: Engine) -> Life:
        """With the store's adapter confirmed."""
        bundle, recording = shipped_bundle(), read_recording(SHIPPED_RECORD)
        disk = UnreliableDisk()
        store = AdapterStore.open(disk, target=maker.target, trust=TRUST, clock=lambda: float(NOW_S))
        store.stage(maker.adapter(1))
        store.start_trial()
        store.confirm()
        stream = Stream(
            bundle, fs_hz=recording.fs_hz, units=recording.units, resample="polyphase", channels=recording.channels,
            engine=engine,
        )  # fmt: skip
        serve(stream, store)
        return cls(stream, store, disk, engine, bundle.golden()["signal"][:1])

    def offer(self, door: str, odd: Any, maker: Maker, counter: int) -> None:
        """What is no adapter, at one of the doors; the error that it must raise."""
        if door == FILE:
            data = maker.signed(maker.said(counter), odd)
            error = install(self.stream, self.store, data).error
            if error is not None:
                raise error
        elif door == STREAM:
            self.stream.set_adapter(odd, "odd")
        else:
            self.engine.run(self.window, odd)


def trial(setting: Setting) -> Outcome:
    """Offer every kind at every door, between the chunks of a recording."""
    maker, rng = Maker(target()), setting.rng()
    cases = [(kind, door) for kind, spec in KINDS.items() for door in spec.doors]
    queue = [case for case in cases for _ in range(setting.tries(TRIES))]
    undisturbed = _lived(Life.begun(maker, _engine()), lambda: None)
    life = Life.begun(maker, _engine())
    files, counter = life.disk.files, 2
    codes: Counter[str] = Counter()
    losses: list[str] = []
    per_chunk = -(-len(queue) // max(1, _n_chunks()))

    def offers() -> None:
        nonlocal counter
        for kind, door in [queue.pop() for _ in range(min(per_chunk, len(queue)))]:
            code = _refused(life, kind, door, maker, counter, rng)
            counter += 1
            codes[code] += 1
            if code not in CODES:
                losses.append(f"{kind}, {door}: {code}")

    disturbed = _lived(life, offers)
    if life.disk.files != files or life.store.phase:
        losses.append("the store changed")
    differing = _differing(undisturbed, disturbed)
    if differing or not undisturbed or queue:
        losses.append(f"{differing} of {len(undisturbed)} results differ, {len(queue)} cases not tried")
    tried = codes.total()
    notes = (
        f"{len(KINDS)} kinds at {len(cases)} places, {setting.tries(TRIES)} times each: {', '.join(KINDS)}.",
        "Refused with: " + ", ".join(f"{code} {count}" for code, count in sorted(codes.items())) + ".",
        f"{len(disturbed)} results of the stream compared with those of one that was left alone.",
        *losses[:5],
    )
    figures = {"results_compared": float(len(disturbed))}
    return Outcome(tried=tried, lost=len(losses), holds=not losses, figures=figures, notes=notes)


def _engine() -> Engine:
    return load_engine(shipped_bundle(), adapters="slots")


def _refused(life: Life, kind: str, door: str, maker: Maker, counter: int, rng: np.random.Generator) -> str:
    """Code of the refusal, or what happened in place of one."""
    arrays = maker.arrays(counter)
    if door == ENGINE:
        arrays.pop(BIAS)  # which an engine does not take
    odd = KINDS[kind].make(arrays, str(rng.choice(list(arrays))), rng)
    before = life.stream.adapter_id
    try:
        life.offer(door, odd, maker, counter)
    except PhysioEdgeError as error:
        return error.code if life.stream.adapter_id == before else "another adapter serves"
    except Exception as error:  # noqa: BLE001 - any other error is what this looks for
        return f"{type(error).__name__}: {error}"
    return "accepted"


def _n_chunks() -> int:
    recording = read_recording(SHIPPED_RECORD)
    return int(recording.samples.shape[1]) // round(CHUNK_S * recording.fs_hz)


def _lived(life: Life, between: Callable[[], None]) -> list[Result]:
    recording = read_recording(SHIPPED_RECORD)
    step, results = round(CHUNK_S * recording.fs_hz), list[Result]()
    for start in range(0, recording.samples.shape[1], step):
        results += life.stream.push(recording.samples[:, start : start + step])
        between()
    return results + life.stream.flush()


def _differing(one: list[Result], other: list[Result]) -> int:
    """Results that are not the same to the last bit, embeddings too."""
    pairs = zip(one, other, strict=False)
    return abs(len(one) - len(other)) + sum(a != b or _bytes(a.embedding) != _bytes(b.embedding) for a, b in pairs)


def _bytes(array: NDArray[np.float32] | None) -> bytes | None:
    return None if array is None else array.tobytes()
