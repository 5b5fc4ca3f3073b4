"""R12: a real host process, abused in every way its specification has an answer for, while good devices ask it too.

First each kind of abuse once, with its answer held against ``docs/host.md``. Then quiet phases and phases in which all
attackers are loose take turns, and good devices measure how long they wait in each. Last the host is killed again and
again while devices ask, and all must have their answers in the end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from physioedge.faults.abused_host import HERE, AbusedHost, abused_host, token_of
from physioedge.faults.fuzz_attacks import attacks
from physioedge.faults.fuzz_seeds import condition
from physioedge.faults.host_attackers import (
    ADDRESSES,
    Answer,
    crowd,
    endless_body,
    exchange,
    head,
    is_open,
    trickle,
)
from physioedge.faults.row import Outcome, Row, Setting
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError

ROW = Row(
    id="R12",
    what="host abuse: huge and endless bodies, trickles, floods, bad tokens, crowds of connections, kill -9",
    target="413, 408, 401, 400, 422, 429 as specified; good clients' p99 at most twice that of a quiet host",
)
ROUNDS, PHASE_S, KILLS = 7, 5.0, 5
GOOD_PER_S, GOOD_CLIENTS = 40.0, 4
LIMIT_RATIO = 2.0
HEAD_LIMIT_S = 10.0
"""For a head, and for a body, as docs/host.md says."""
LATE_S = 3.0
"""How much later than its limit the host may act, on a busy machine."""


def trial(setting: Setting) -> Outcome:
    """Abuse a host.

    Raises
    ------
    MissingExtra
        The host is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "safetensors")):
        raise MissingExtra("no fastapi, uvicorn or safetensors", "the extra host", "pip install 'physioedge[host]'")
    with abused_host(setting.work / "host") as host:
        phases = [_round(host, max(1.0, PHASE_S * min(1.0, setting.share))) for _ in range(setting.tries(ROUNDS))]
        wrong, asked = battery(host)
        unanswered, kills = killed(host, setting.tries(KILLS))
        peak_mb = host.peak_mb()
    return _outcome(phases, wrong, asked, unanswered, kills, peak_mb)


def _outcome(
    phases: list[_Phase], wrong: list[str], asked: int, unanswered: list[str], kills: int, peak_mb: float
) -> Outcome:
    quiet, abused = (
        [p99(times) for times in rows] for rows in ([p.quiet_s for p in phases], [p.abused_s for p in phases])
    )
    ratio = statistics.median(abused) / statistics.median(quiet)
    failed = [text for p in phases for text in p.failed]
    abuses = sum((p.abuses for p in phases), Counter[str]())
    figures = {
        "p99_quiet_ms": 1e3 * statistics.median(quiet), "p99_abused_ms": 1e3 * statistics.median(abused),
        "p50_quiet_ms": 1e3 * statistics.median([t for p in phases for t in p.quiet_s]),
        "p50_abused_ms": 1e3 * statistics.median([t for p in phases for t in p.abused_s]),
        "p99_ratio": ratio, "good_requests": float(sum(len(p.quiet_s) + len(p.abused_s) for p in phases)),
        "abuses": float(sum(abuses.values())), "kills": float(kills), "host_peak_mb": peak_mb,
    }  # fmt: skip
    notes = [
        f"{len(phases)} quiet phases and as many abused ones take turns; p99 of each, then the median: "
        + ", ".join(f"{1e3 * a:.1f}/{1e3 * b:.1f}" for a, b in zip(quiet, abused, strict=True)) + " ms",
        "attackers run on the same machine, at low priority and from addresses of their own; they were told: "
        + ", ".join(f"{name} {n}" for name, n in sorted(abuses.items())),
        *(f"wrong answer: {text}" for text in wrong), *(f"good client: {text}" for text in [*failed, *unanswered][:5]),
    ]  # fmt: skip
    lost = len(wrong) + len(failed) + len(unanswered)
    tried = asked + sum(abuses.values()) + kills
    if ratio > LIMIT_RATIO:
        notes.append(f"good clients' p99 is {ratio:.2f} times that of a quiet host")
    figures = {name: round(value, 3) for name, value in figures.items()}
    return Outcome(
        tried=tried, lost=lost, holds=lost == 0 and ratio <= LIMIT_RATIO, figures=figures, notes=tuple(notes)
    )


@dataclass(frozen=True, kw_only=True)
class _Phase:
    """A quiet phase and an abused one after it: waiting times, what failed, and what abuse was answered."""

    quiet_s: tuple[float, ...]
    abused_s: tuple[float, ...]
    failed: tuple[str, ...]
    abuses: Counter[str]


def p99(times_s: tuple[float, ...]) -> float:
    """99th percentile; of fewer than 100 the largest."""
    return float(np.percentile(times_s, 99, method="higher"))


def _round(host: AbusedHost, seconds: float) -> _Phase:
    quiet_s, failed = good_clients(host, seconds)
    command = [sys.executable, "-m", "physioedge.faults.host_attackers", str(host.port), str(seconds + 1.0)]
    attackers = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=partial(os.nice, 10))
    assert attackers.stdout is not None
    try:
        attackers.stdout.readline()
        abused_s, failed_then = good_clients(host, seconds)
        said = attackers.communicate(timeout=60)[0]
    finally:
        attackers.kill()
        attackers.wait()
    abuses = Counter(json.loads(said))
    return _Phase(quiet_s=quiet_s, abused_s=abused_s, failed=(*failed, *failed_then), abuses=abuses)


def good_clients(host: AbusedHost, seconds: float) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """How long good devices waited for their adapters, each asking once, and what went wrong."""
    until_s, times, failed = time.monotonic() + seconds, list[float](), list[str]()
    lock, pause_s = threading.Lock(), GOOD_CLIENTS / GOOD_PER_S

    def client(number: int) -> None:
        due_s = time.monotonic() + pause_s * number / GOOD_CLIENTS
        while due_s < until_s:
            time.sleep(max(0.0, due_s - time.monotonic()))
            with lock:
                device = host.device()
            began_s, error = time.perf_counter(), ""
            try:
                host.ask(device=device)
            except PhysioEdgeError as problem:
                error = str(problem)
            with lock:
                times.append(time.perf_counter() - began_s)
                failed.extend([error] if error else [])
            due_s = max(due_s + pause_s, time.monotonic())

    with ThreadPoolExecutor(GOOD_CLIENTS) as pool:
        list(pool.map(client, range(GOOD_CLIENTS)))
    return tuple(times), tuple(failed)


def battery(host: AbusedHost) -> tuple[list[str], int]:
    """Every kind of abuse once: what was answered otherwise than the specification says, and how many were tried."""
    rows = {**_requests(host), **_slow(host)}

    def one(name: str) -> str | None:
        wanted, attack = rows[name]
        found = attack()
        return None if found[0] in wanted else f"{name}: {found[0]} {found[1][:200]!r} instead of {wanted}"

    with ThreadPoolExecutor(len(_slow(host)) + 4) as pool:
        wrong = [text for text in pool.map(one, sorted(rows, key=lambda name: name not in _slow(host))) if text]
    wrong += _crowds(host) + _too_often(host)
    if not host.answers():
        wrong.append("the host does not answer any more")
    return wrong, len(rows) + 4


Attack = tuple[tuple[int | str, ...], Callable[[], Answer]]


def _known(host: AbusedHost, body: bytes, **headers: str) -> bytes:
    """A request of a device that the host knows."""
    device = host.device()
    given = {
        "PhysioEdge_Device": device,
        "Authorization": f"Bearer {token_of(device)}",
        "Content_Length": str(len(body)),
    }
    return head(**{**given, **headers}) + body


def _requests(host: AbusedHost) -> dict[str, Attack]:
    good, port = condition(), host.port

    def sent(data: bytes, address: str = ADDRESSES[0]) -> Callable[[], Answer]:
        return lambda: exchange(port, data, address)

    def with_more(line: bytes) -> Callable[[], Answer]:
        return sent(_known(host, good).replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n", 1))

    rows: dict[str, Attack] = {
        "good": ((200,), sent(_known(host, good))),
        "endless body": ((413,), lambda: endless_body(port, ADDRESSES[1])),
        "huge length": ((413,), sent(_known(host, b"", Content_Length="99999999999"))),
        "one byte too long": ((413,), sent(_known(host, b"x" * 8193))),
        "longest": ((422,), sent(_known(host, b"x" * 8192))),
        "no token": ((401,), sent(_known(host, good, Authorization=""))),
        "another's token": ((401,), sent(_known(host, good, Authorization=f"Bearer {token_of('another')}"))),
        "basic": ((401,), sent(_known(host, good, Authorization="Basic dDp0"))),
        "no device": ((400,), sent(_known(host, good, PhysioEdge_Device=""))),
        "no nonce": ((400,), sent(_known(host, good, PhysioEdge_Nonce=""))),
        "no counter": ((400,), sent(_known(host, good, PhysioEdge_Counter="-1"))),
        "no type": ((400,), sent(_known(host, good, Content_Type=""))),
        "another type": ((400,), sent(_known(host, good, Content_Type="application/json"))),
        "another method": ((405,), sent(head(method="PUT", Content_Length="0"))),
        "another path": ((404,), sent(head(path="/v1/../etc/passwd", Content_Length="0"))),
        "no HTTP": ((400,), sent(bytes(range(256)) * 4 + b"\r\n\r\n")),
        "endless head": ((400, "cut"), sent(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50_000)),
        "two lengths": ((400,), with_more(b"Content-Length: 5")),
        "a length and chunks": ((400,), with_more(b"Transfer-Encoding: chunked")),
        "two devices": ((400,), with_more(b"PhysioEdge-Device: device-0")),
        "a length of letters": ((400,), sent(_known(host, good, Content_Length="1e3"))),
        "a negative length": ((400,), sent(_known(host, good, Content_Length="-1"))),
    }  # fmt: skip
    bad = {name: data for name, data in attacks("condition").items() if len(data) <= 8192 and name != "no-line"}
    return rows | {f"condition {name}": ((422,), sent(_known(host, data), ADDRESSES[2])) for name, data in bad.items()}


def _slow(host: AbusedHost) -> dict[str, Attack]:
    port, body = host.port, head(Content_Length="4000")

    def in_time(attack: Callable[[], Answer], limit_s: float) -> Callable[[], Answer]:
        def timed() -> Answer:
            began_s = time.monotonic()
            found = attack()
            took_s = time.monotonic() - began_s
            return found if took_s <= limit_s + LATE_S else (f"{found[0]} after {took_s:.1f} s", found[1])

        return timed

    rows: Mapping[str, Attack] = {
        "trickled body": ((408,), lambda: trickle(port, body, b"x" * 100, 0.4, ADDRESSES[3])),
        "trickled chunks": (
            (408,), lambda: trickle(port, head(Transfer_Encoding="chunked"), b"1\r\nx\r\n" * 50, 0.4, ADDRESSES[3])
        ),
        "body that stops": ((408,), lambda: exchange(port, body + b"half", ADDRESSES[4])),
        "trickled head": (("cut", 408), lambda: trickle(port, b"POST / HTTP/1.1\r\n", b"a" * 100, 0.4, ADDRESSES[4])),
        "no head": (("cut", 408), lambda: exchange(port, b"", ADDRESSES[5])),
    }  # fmt: skip
    return {name: (wanted, in_time(attack, HEAD_LIMIT_S)) for name, (wanted, attack) in rows.items()}


def _too_often(host: AbusedHost) -> list[str]:
    """One device that asks 12 times at once: ten answers, then refusals that say when to come back."""
    device = host.device()
    given = {"PhysioEdge_Device": device, "Authorization": f"Bearer {token_of(device)}"}
    data = head(**given, Content_Length=str(len(condition()))) + condition()
    found = [exchange(host.port, data, ADDRESSES[6]) for _ in range(12)]
    statuses = [status for status, _ in found]
    told = [b"retry-after: " in answer.lower() for status, answer in found if status == 429]
    right = statuses[:10] == [200] * 10 and 429 in statuses[10:] and all(told)
    return [] if right else [f"12 requests of one device: {statuses}, Retry-After {told}"]


def _crowds(host: AbusedHost) -> list[str]:
    """Crowds that only hold connections: one address has its share, and many addresses shut nobody out."""
    wrong = []
    one = crowd(host.port, 100, ADDRESSES[7:8])
    time.sleep(0.3)
    staying = sum(map(is_open, one))
    if len({held.getsockname()[0] for held in one} - {HERE}) and staying > 64:
        wrong.append(f"{staying} connections of one address stay open")
    many = crowd(host.port, 700, ADDRESSES)
    try:
        host.ask()
    except PhysioEdgeError as error:
        wrong.append(f"700 open connections shut a good client out: {error}")
    for held in [*one, *many]:
        held.close()
    return wrong


def killed(host: AbusedHost, kills: int) -> tuple[list[str], int]:
    """Devices that ask while the host is killed and comes back: whoever got no answer in the end."""
    unanswered, lock, over = list[str](), threading.Lock(), threading.Event()

    def client(_: int) -> None:
        while not over.is_set():
            with lock:
                device = host.device()
            try:
                host.ask(tries=30, device=device)
            except PhysioEdgeError as error:
                with lock:
                    unanswered.append(f"{device} after a kill: {error}")
            over.wait(0.02)

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(client, n) for n in range(3)]
        try:
            for _ in range(kills):
                time.sleep(0.5)
                host.kill()
                host.start()
            time.sleep(0.3)
        finally:
            over.set()
        for one in clients:
            one.result()
    return unanswered, kills
