"""The part of R7 that a radio link does: chunks lost, sent twice, out of order, and a rate that was stated wrongly."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from physioedge.faults.row import Setting
from physioedge.faults.true_time import numbered, numbers_of
from physioedge.faults.worn import ECG, WRIST, Watching, Worn, arrived, fed
from physioedge_runtime import faults
from physioedge_runtime.faults import TimedChunk
from physioedge_runtime.result import Result

_DURATION_S, _TRIES = 120.0, 30
KINDS = ("lost", "lost in bursts", "sent twice", "out of order", "rate 1 % off", "rate 10 % off", "rate 50 % off")


def radio_losses(setting: Setting) -> tuple[int, list[str]]:
    """Faults that were done, and what was wrong in words, on signals whose samples are numbered."""
    rng, wrong, tried = np.random.default_rng([setting.seed, 7]), [], 0
    for name in (ECG, WRIST):
        worn = numbered(name, _DURATION_S)
        given = {sensor: worn.timed(sensor, [0.5]) for sensor in worn.samples}
        undisturbed = fed(worn.stream(Watching(worn.contract)), arrived(given, given))
        for kind in KINDS:
            for _ in range(setting.tries(_TRIES)):
                seed, tried = int(rng.integers(2**31)), tried + 1
                said = _one(name, worn, kind, np.random.default_rng(seed), undisturbed)
                if said:
                    wrong.append(f"{kind}, {name}, seed {seed}: {said}")
    return tried, wrong


def _one(name: str, worn: Worn, kind: str, rng: np.random.Generator, undisturbed: list[Result]) -> str:
    size_s = float(rng.choice([0.25, 0.5, 1.0]))
    recorded = {sensor: worn.timed(sensor, [size_s]) for sensor in worn.samples}
    n = len(recorded[worn.contract.sensor.name])
    sent = {sensor: list(_done(kind, items, n, rng)) for sensor, items in recorded.items()}
    engine = Watching(worn.contract)
    results = fed(worn.stream(engine), arrived(sent, recorded))
    for window in engine.windows:
        for sensor, x in zip(worn.samples, window, strict=True):
            if (np.diff(numbers_of(name, sensor, x)) != 1).any():
                return f"a window of {sensor} over a break"
    return _expected(kind, worn, results, undisturbed)


def _done(kind: str, items: list[TimedChunk], n: int, rng: np.random.Generator) -> Iterable[TimedChunk]:
    if kind == "lost":
        return faults.lost(items, rng.choice(n, max(1, n // 40), replace=False).tolist())
    if kind == "lost in bursts":
        first = int(rng.integers(n // 3, n // 2))
        return faults.lost(items, range(first, first + int(rng.integers(2, n // 8))))
    if kind == "sent twice":
        return faults.repeated(items, rng.choice(n, max(1, n // 10), replace=False).tolist())
    if kind == "out of order":
        return faults.reordered(items, rng.choice(n - 1, max(1, n // 60), replace=False).tolist())
    ppm = {"rate 1 % off": 1e4, "rate 10 % off": 1e5, "rate 50 % off": 5e5}[kind]
    return faults.drifting(items, float(rng.choice([-1.0, 1.0])) * ppm)


def _expected(kind: str, worn: Worn, results: list[Result], undisturbed: list[Result]) -> str:
    """Whether what a link did is named, and costs no more than it must."""
    judged = [result for result in results if result.judged]
    flags = {flag.rpartition(":")[2] for result in results for flag in result.flags}
    if kind == "sent twice":
        times = [result.t_anchor_s for result in judged] == [r.t_anchor_s for r in undisturbed if r.judged]
        return "" if times and "duplicate" in flags else "chunks that were sent twice changed the results"
    if kind == "rate 1 % off":
        late = [r for r in judged if r.t_anchor_s > judged[0].t_anchor_s + 60.0]
        return "" if late and all("drift" in r.flags for r in late) else "a rate 1 % off without the flag `drift`"
    if kind.startswith("rate"):
        return f"{len(judged)} answers at a wrong rate" if judged else ""
    named = flags & {
        "gap",
        "clock_backward",
        f"missing:{worn.contract.sensors[-1].name}",
        worn.contract.sensors[-1].name,
    }
    return "" if named else "samples were lost and no flag says so"
