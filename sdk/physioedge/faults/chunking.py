"""R11: the same signals in other pieces, in another order, beside other streams, and over a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.worn import ECG, WRIST, Push, Samples, Worn, fed, shipped
from physioedge_runtime import faults
from physioedge_runtime.engine import Engine, load_engine
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream

ROW = Row(
    id="R11",
    what="any chunking of the same signal, sensors in any order, interleaved streams, snapshot and restore",
    target="identical output, bit for bit",
)
_TRIES, _LONGEST_S, _SHORTEST_S = 400, 60.0, 25.0
_GAPS_S = (-3.0, 0.0, 0.0, 0.3, 7.0)
"""The first is a clock turned back: of several sensors, results around it may depend on their order."""
_AHEAD_S, _BEHIND_S = 25.0, 4.0
"""How far a sensor may be before or behind the leading one: within the 30 s and 5 s that the stream promises."""
_Random: TypeAlias = np.random.Generator


def trial(setting: Setting) -> Outcome:
    """Random signals out of the shipped recordings, each pushed regularly, and then in a disorderly way."""
    rng = setting.rng()
    here = {name: shipped(name) for name in (ECG, WRIST)}
    engines = {
        ECG: load_engine(here[ECG].bundle, adapters="slots"), WRIST: load_engine(here[WRIST].bundle),
    }  # fmt: skip
    losses: list[str] = []
    kinds = dict.fromkeys(("chunks", "interleaved", "restored"), 0)
    windows = judged = 0
    tries = max(len(kinds) * len(here), setting.tries(_TRIES))
    for i in range(tries):
        name = (ECG, WRIST)[i % 2]
        kind = list(kinds)[i // 2 % len(kinds)]
        seed = int(rng.integers(2**31))
        wrong, n_windows, n_judged = _one(here[name], engines[name], kind, np.random.default_rng(seed))
        kinds[kind] += 1
        windows, judged = windows + n_windows, judged + n_judged
        if wrong:
            losses.append(f"{kind}, {name}, seed {seed}: {wrong}")
    notes = ("tried: " + ", ".join(f"{kind} {n}" for kind, n in kinds.items()), *losses[:5])
    figures = {"windows": float(windows), "judged_share": judged / max(1, windows)}
    return Outcome(tried=tries, lost=len(losses), holds=not losses and judged > 0, figures=figures, notes=notes)


def _one(worn: Worn, engine: Engine, kind: str, rng: _Random) -> tuple[str, int, int]:
    """What differs, in words or nothing; windows, and how many of them were judged."""
    n_streams = 3 if kind == "interleaved" else 1
    signals = [_signal(worn, rng) for _ in range(n_streams)]
    adapters = [_adapter(engine, rng) for _ in signals]
    expected = []
    for parts, adapter in zip(signals, adapters, strict=True):
        expected.append(fed(_opened(worn, engine, adapter), _regular(worn, parts)))
    lives = [_opened(worn, engine, adapter) for adapter in adapters]
    found: list[list[Result]] = [[] for _ in lives]
    restores = 4 if kind == "restored" else 0
    for which, (sensor, chunk, t) in _mixed([_disorderly(worn, parts, rng) for parts in signals], rng):
        if restores and rng.random() < 0.1:
            restores -= 1
            lives[which] = _restarted(worn, engine, lives[which], rng)
        found[which] += lives[which].push(chunk, t, sensor)
    if kind == "restored":  # at least once, and in the very end
        lives[0] = _restarted(worn, engine, lives[0], rng)
    for results, live in zip(found, lives, strict=True):
        results += live.flush()
    wrong = next((said for pair in zip(expected, found, strict=True) if (said := _difference(*pair))), "")
    return wrong, sum(map(len, expected)), sum(result.judged for results in expected for result in results)


def _signal(worn: Worn, rng: _Random) -> dict[str, list[tuple[Samples, float]]]:
    """A part of the recording with a fault or two, as unbroken pieces of each sensor with the time of their first."""
    whole_s = min(x.shape[1] / worn.fs_hz[sensor] for sensor, x in worn.samples.items())
    length_s = float(rng.uniform(_SHORTEST_S, _LONGEST_S))
    first_s = float(rng.uniform(0, whole_s - length_s))
    gap_at_s, gap_s = (
        float(rng.uniform(0.3, 0.7)) * length_s,
        float(rng.choice(_GAPS_S if len(worn.samples) == 1 else _GAPS_S[1:])),
    )
    parts = {}
    for sensor, samples in worn.samples.items():
        fs_hz = worn.fs_hz[sensor]
        start, n, cut = round(first_s * fs_hz), round(length_s * fs_hz), round(gap_at_s * fs_hz)
        x = samples[:, start : start + n].copy()
        at = int(rng.integers(0, n - round(fs_hz)))
        fault = int(rng.integers(0, 6))
        if fault == 0:
            x = faults.with_nan(x, at, at + 3)
        elif fault == 1:
            x = faults.held(x, at, at + round(0.8 * fs_hz))
        elif fault == 2:
            x = faults.spike(x, at, 1e7)
        t0_s = start / fs_hz
        parts[sensor] = [(x[:, :cut], t0_s), (x[:, cut:], t0_s + cut / fs_hz + gap_s)] if gap_s else [(x, t0_s)]
    return parts


def _regular(worn: Worn, parts: dict[str, list[tuple[Samples, float]]]) -> list[Push]:
    """Half a second at a time, the leading sensor last."""
    placed = []
    for rank, (sensor, pieces) in enumerate(parts.items()):
        fs_hz = worn.fs_hz[sensor]
        step = round(0.5 * fs_hz)
        for x, t0_s in pieces:
            for i in range(0, x.shape[1], step):
                chunk = x[:, i : i + step]
                placed.append((t0_s + (i + chunk.shape[1]) / fs_hz, -rank, sensor, chunk, t0_s + i / fs_hz))
    if len(parts) > 1:
        placed.sort(key=lambda one: one[:2])
    return [(sensor, chunk, t) for _, _, sensor, chunk, t in placed]


def _disorderly(worn: Worn, parts: dict[str, list[tuple[Samples, float]]], rng: _Random) -> Iterator[Push]:
    """The same samples in pieces of any size, also none, and of sensors in any order within what a stream waits for."""
    waiting = {sensor: list(pieces) for sensor, pieces in parts.items()}
    at = dict.fromkeys(parts, 0)
    lead = next(iter(parts))
    longest_s = float(10.0 ** rng.uniform(-2, 2))
    now = {sensor: pieces[0][1] for sensor, pieces in parts.items()}
    while any(waiting.values()):
        left_over = [one for one, pieces in waiting.items() if pieces]
        sensor = left_over[int(rng.integers(len(left_over)))]
        (x, t0_s), fs_hz = waiting[sensor][0], worn.fs_hz[sensor]
        left = x.shape[1] - at[sensor]
        sizes = (0, 1, int(rng.integers(1, 2 + int(longest_s * fs_hz))), left)
        size = min(left, sizes[int(rng.integers(len(sizes)))])
        size = min(size, _allowed(sensor, lead, now, waiting, t0_s + at[sensor] / fs_hz, fs_hz))
        t = t0_s + at[sensor] / fs_hz
        yield sensor, x[:, at[sensor] : at[sensor] + size], t
        at[sensor] += size
        now[sensor] = t + size / fs_hz
        if at[sensor] == x.shape[1]:
            waiting[sensor].pop(0)
            at[sensor] = 0


def _allowed(
    sensor: str,
    lead: str,
    now: dict[str, float],
    waiting: dict[str, list[tuple[Samples, float]]],
    t: float,
    fs_hz: float,
) -> int:
    """Samples that may be pushed of a sensor before it is too far ahead or leaves another too far behind."""
    if len(now) == 1:
        return 10**9
    if sensor == lead:
        others = [now[one] for one, pieces in waiting.items() if one != lead and pieces]
        until_s = min(others) + _BEHIND_S if others else np.inf
    else:
        until_s = now[lead] + _AHEAD_S if waiting[lead] else np.inf
    return int(min(10**9, max(0.0, (until_s - t) * fs_hz)))


def _mixed(streams: list[Iterator[Push]], rng: _Random) -> Iterator[tuple[int, Push]]:
    """Pushes of several streams, which of them is next being left to chance."""
    left = dict(enumerate(streams))
    while left:
        which = int(rng.choice(list(left)))
        push = next(left[which], None)
        if push is None:
            del left[which]
        else:
            yield which, push


def _opened(worn: Worn, engine: Engine, adapter: dict[str, Samples] | None) -> Stream:
    live = worn.stream(engine)
    if adapter is not None:
        live.set_adapter(adapter, "somebody's")
    return live


def _adapter(engine: Engine, rng: _Random) -> dict[str, Samples] | None:
    """Small random arrays, or none: streams that share an engine must not share these."""
    if not engine.slots or rng.random() < 0.3:
        return None
    return {slot.name: (0.05 * rng.standard_normal(slot.shape)).astype(np.float32) for slot in engine.slots}


def _restarted(worn: Worn, engine: Engine, live: Stream, rng: _Random) -> Stream:
    """Another stream, that has seen another signal, in the state of this one after a way through text."""
    state = from_text(to_text(live.snapshot()))
    other = worn.stream(engine)
    for sensor, x in worn.samples.items():
        other.push(x[:, : int(rng.integers(0, 2000))], 1e6, sensor)
    other.restore(state)
    return other


def to_text(state: Any) -> str:
    """A snapshot as JSON; an array as its type, shape and bytes."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {"array": [value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes().hex()]}
        raise TypeError(f"{type(value).__name__} in a snapshot")

    return json.dumps(state, default=plain)


def from_text(text: str) -> Any:
    """Inverse of `to_text`."""

    def whole(value: dict[str, Any]) -> Any:
        if set(value) != {"array"}:
            return value
        kind, shape, content = value["array"]
        return np.frombuffer(bytes.fromhex(content), kind).reshape(shape).copy()

    return json.loads(text, object_hook=whole)


def _difference(expected: list[Result], found: list[Result]) -> str:
    """The first difference, of any field and any bit; nothing where there is none."""
    if len(expected) != len(found):
        return f"{len(found)} results, {len(expected)} expected"
    for one, other in zip(expected, found, strict=True):
        for field in one.__slots__:
            a, b = getattr(one, field), getattr(other, field)
            same = a is b if a is None or b is None else _bits(a) == _bits(b)
            if not same:
                return f"{field} {b!r:.60} and not {a!r:.60} at {one.t_anchor_s:.3f} s"
    return ""


def _bits(value: Any) -> bytes | str:
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)
