"""R9: a host that is down for days, slow, broken or hostile, while a stream goes on judging."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from physioedge.faults.careless_host import GOOD, TALKS, CarelessHost, careless_host
from physioedge.faults.made import DEVICE, NOW_S, TRUST, Maker, target
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.worn import ECG, Worn, shipped
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.adaptation.outbox import Outbox
from physioedge_runtime.adaptation.session import TRYING, install, request_for, serve
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.errors import LinkError, PhysioEdgeError
from physioedge_runtime.faults import TimedChunk
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream

ROW = Row(
    id="R9",
    what="a host that is down for days, slow, garbled, cut short, endless or hostile, while a stream judges",
    target="inference p99 within 5 %, one request queued, the old adapter serves bit for bit, a later answer works",
)
MOST_RATIO = 1.05
TIMEOUT_S, SLACK_S = 0.5, 1.0
"""Of one try, and what a try may take beyond it."""
_EVERY_S = 0.25
"""Between two tries, at least; the link's own patience makes them one in 30 s on average while a host is away."""
_BLOCK_S, _REPEATS, _CHUNK_S, _PASS_S, _DAYS = 1.0, 4, 0.25, 90.0, 5.0
_DAY_S = 86_400.0
_LOOP_S = 5.0
TOKEN = "t" * 40


@dataclass
class Device:
    """A stream with an adapter of its own, its store and its outbox; the answers that it has to give.

    Attributes
    ----------
    expected : list of Result
        Of one pass over the recording, with nobody asked.
    tries, losses
        Tries of the host by what it did, and what went wrong.
    """

    stream: Stream
    store: AdapterStore
    outbox: Outbox
    folder: Path
    passes: list[TimedChunk]
    expected: list[Result] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    def one_pass(self, between: object = None) -> tuple[list[float], list[Result]]:
        """Milliseconds of each push that gave results, over the whole recording, and all results."""
        taken, results = [], []
        for chunk, t in self.passes:
            began = time.perf_counter()
            found = self.stream.push(chunk, t)
            took = 1e3 * (time.perf_counter() - began)
            if found:
                taken.append(took)
                results += found
            if callable(between):
                between()
        return taken, results + self.stream.flush()

    def alike(self, results: list[Result]) -> bool:
        """Whether these are the answers of a pass with nobody asked, bit for bit."""
        pairs = zip(results, self.expected, strict=False)
        return results == self.expected and all(
            a.embedding is b.embedding
            or (a.embedding is not None and b.embedding is not None and a.embedding.tobytes() == b.embedding.tobytes())
            for a, b in pairs
        )

    def waits(self) -> int:
        """Requests that wait, on disk and in memory."""
        on_disk = sum(path.name != "lock" for path in (self.folder / "outbox").iterdir())
        return max(on_disk, self.outbox.pending is not None)


class Asking:
    """Tries of the host in a thread beside the stream, and its answers installed between two pushes."""

    def __init__(self, device: Device, link: Link, pool: ThreadPoolExecutor, kind: str) -> None:
        self._device, self._link, self._pool, self._kind = device, link, pool, kind
        self._asked: Future[bytes | None] | None = None
        self._began_s = 0.0

    def between(self) -> None:
        """To be called between two pushes: take an answer, or ask again."""
        if self._asked is not None and self._asked.done():
            self._settle(self._asked)
            self._asked = None
        now_s = time.monotonic()
        if self._asked is None and now_s - self._began_s >= _EVERY_S:
            device, self._began_s = self._device, now_s
            if device.outbox.pending is None:
                device.outbox.put(request_for(device.stream, device.store, DEVICE))
            self._asked = self._pool.submit(self._try)

    def finish(self) -> None:
        """Wait for the try that is under way."""
        if self._asked is not None:
            self._settle(self._asked)
            self._asked = None

    def _try(self) -> bytes | None:
        began = time.monotonic()
        try:
            return self._device.outbox.poll(self._link)
        finally:
            self._device.longest_s = max(self._device.longest_s, time.monotonic() - began)

    def _settle(self, asked: Future[bytes | None]) -> None:
        device, kind = self._device, self._kind
        try:
            answer = asked.result()
        except PhysioEdgeError:
            device.tries[kind] = device.tries.get(kind, 0) + 1
            return
        except Exception as error:  # noqa: BLE001 - anything else is what this row looks for
            device.losses.append(f"{kind}: {type(error).__name__}: {error}")
            return
        if answer is None:
            return
        device.tries[kind] = device.tries.get(kind, 0) + 1
        outcome = install(device.stream, device.store, answer)
        device.outbox.done()
        if outcome.step == TRYING or device.store.phase:
            device.losses.append(f"{kind}: {outcome}")


def trial(setting: Setting) -> Outcome:
    """Blocks with a misbehaving host between blocks without one; then days without any, and a good answer."""
    worn = shipped(ECG)
    kinds = ["down", *TALKS]
    repeats = setting.tries(_REPEATS)
    block_s = _BLOCK_S * min(1.0, 4 * setting.share)
    quiet: list[list[float]] = []
    away: list[list[float]] = []
    with _device(worn, setting.work) as device, careless_host() as host, ThreadPoolExecutor(1) as pool:
        adapter = Maker(target()).adapter(2)
        for i, kind in enumerate(kinds * repeats):
            order = (False, True) if i % 2 else (True, False)
            for with_host in order:
                ms = _block(device, host, pool, kind if with_host else "", adapter, block_s)
                (away if with_host else quiet).append(ms)
        attempts, days_losses = _days(device, setting.tries(round(_DAYS)) * _DAY_S)
        later = _good(device, host, adapter)
    losses = [*device.losses, *days_losses, *later]
    if device.longest_s > TIMEOUT_S + SLACK_S:
        losses.append(f"a try that took {device.longest_s:.2f} s, {TIMEOUT_S:g} s allowed")
    losses += [f"{kind}: never tried" for kind in kinds if not device.tries.get(kind)]
    without, beside = (median(float(np.quantile(ms, 0.99)) for ms in blocks) for blocks in (quiet, away))
    ratio = beside / without
    tried = sum(device.tries.values()) + attempts
    notes = (
        "tries by what the host did: " + ", ".join(f"{kind} {device.tries.get(kind, 0)}" for kind in kinds),
        f"{attempts} tries in {setting.tries(round(_DAYS))} days of the link's own clock with nobody listening",
        f"p99 of a push that gives a result: median over {len(quiet)} blocks with and as many without a host, in turn; "
        f"a try every {_EVERY_S:g} s or as soon as the last one ended, in a thread beside the stream",
        *losses[:5],
    )
    figures = {
        "p99_ratio": ratio, "p99_without_ms": without, "p99_with_ms": beside,
        "p50_without_ms": median(map(median, quiet)), "p50_with_ms": median(map(median, away)),
        "longest_try_s": device.longest_s, "windows": float(sum(map(len, quiet)) + sum(map(len, away))),
        "days_down": float(setting.tries(round(_DAYS))),
    }  # fmt: skip
    holds = not losses and ratio <= MOST_RATIO
    return Outcome(tried=tried, lost=len(losses), holds=holds, figures=figures, notes=notes)


@contextmanager
def _device(worn: Worn, folder: Path) -> Iterator[Device]:
    ((sensor, _),) = worn.samples.items()
    with (
        AdapterStore.open(folder / "store", target=target(), trust=TRUST, clock=lambda: NOW_S) as store,
        Outbox(folder / "outbox") as outbox,
        worn.stream(adapters="slots", collect="embedding") as stream,
    ):
        store.stage(Maker(target()).adapter(1))
        store.start_trial()
        store.confirm()
        serve(stream, store)
        passes = [(chunk, t) for chunk, t in worn.timed(sensor, [_CHUNK_S]) if t < _PASS_S]
        device = Device(stream, store, outbox, folder, passes)
        _, device.expected = device.one_pass()
        try:
            yield device
        finally:
            device.outbox.close()  # it may be another one by now


def _block(
    device: Device, host: CarelessHost, pool: ThreadPoolExecutor, kind: str, adapter: bytes, block_s: float
) -> list[float]:
    """Milliseconds of each push with a result, over some passes, beside a host that does this; none where empty."""
    asking = None
    if kind:
        port = _nobody() if kind == "down" else host.port
        if kind != "down":
            host.does(kind, adapter)
        device.outbox.put(request_for(device.stream, device.store, DEVICE))
        asking = Asking(device, _link(port), pool, kind)
    taken: list[float] = []
    until_s = time.monotonic() + block_s
    while not taken or time.monotonic() < until_s:
        ms, results = device.one_pass(None if asking is None else asking.between)
        taken += ms
        if not device.alike(results):
            device.losses.append(f"{kind or 'nobody asked'}: other answers than without a host")
        if device.waits() > 1:
            device.losses.append(f"{kind or 'nobody asked'}: {device.waits()} requests wait")
    if asking is not None:
        asking.finish()
    return taken


def _days(device: Device, long_s: float) -> tuple[int, list[str]]:
    """Nobody listens, for so long by the link's clock; the outbox is opened anew each day, as after a restart."""
    losses: list[str] = []
    now = [0.0]
    link = _link(_nobody(), clock=lambda: now[0])
    device.outbox.put(request_for(device.stream, device.store, DEVICE))
    asked, attempts, handles = device.outbox.pending, 0, threading.active_count()
    while now[0] < long_s:
        try:
            device.outbox.poll(link)
        except LinkError:
            attempts += 1
        if device.waits() != 1 or device.outbox.pending != asked:
            losses.append(f"after {now[0] / _DAY_S:.2f} days: another queue than the one request")
            break
        now[0] += _LOOP_S
        if now[0] % _DAY_S < _LOOP_S:
            device.outbox.close()
            device.outbox = Outbox(device.folder / "outbox")
            _, results = device.one_pass()
            if not device.alike(results):
                losses.append(f"after {now[0] / _DAY_S:.2f} days: other answers")
    # Waits are drawn from 0 to 60 s once they are longest, 30 s on average: half of that again is far too many.
    if not 0 < attempts < 1.5 * long_s / 30.0 + 20 or threading.active_count() != handles:
        losses.append(f"{attempts} tries in {long_s / _DAY_S:g} days")
    return attempts, losses


def _good(device: Device, host: CarelessHost, adapter: bytes) -> list[str]:
    """After all that, an honest answer to the request that waited is tried."""
    host.does(GOOD, adapter)
    answer = None
    for _ in range(3):  # the wait of a request after a restart is none
        try:
            answer = device.outbox.poll(_link(host.port))
            break
        except LinkError:
            time.sleep(0.1)
    if answer is None:
        return ["no answer of a host that came back"]
    outcome = install(device.stream, device.store, answer)
    _, results = device.one_pass()
    names = {result.adapter for result in results if result.judged}
    if outcome.step != TRYING or names != {outcome.adapter_id} or device.alike(results):
        return [f"a good answer of a host that came back: {outcome}"]
    return []


def _link(port: int, **given: object) -> Link:
    patience = Retry(tries=1, first_s=0.001, longest_s=0.001) if not given else Retry()
    return Link(f"http://127.0.0.1:{port}", DEVICE, TOKEN, timeout_s=TIMEOUT_S, retry=patience, **given)  # type: ignore[arg-type]


def _nobody() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
