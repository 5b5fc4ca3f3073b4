"""R8: clocks that jump, wrap, fall back to 1970, sleep, drift and tremble.

Every sample of the signals says which one it is (`true_time`). What a window holds is therefore read off the window
itself, and compared with a list of what was sent with which timestamp; nothing of the runtime's timeline is asked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from physioedge.faults.clock_kinds import KINDS, SMOOTH, Clock, Draw, standing_still
from physioedge.faults.limits import TOLERANCE_S
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.true_time import Numbers, numbered, numbers_of
from physioedge.faults.worn import ECG, WRIST, Push, Watching, Worn, arrived, fed
from physioedge_runtime.result import Result

ROW = Row(
    id="R8",
    what="clocks that jump, wrap around, fall back to 1970, sleep, drift by up to 1000 ppm and tremble",
    target="no window spans a gap or mixes samples of two times; results in the order of time, and at the right time",
)
_DURATION_S, _TRIES = 150.0, 25
_SETTLES_S = 14.0
"""Beyond a window's own length, after which a stretch must have a result: a detector's learning, a sensor's wait."""
_KEPT = 0.95
_Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Sent:
    """Of one sensor, for each sample by its number: the caller's time, and which unbroken run it is of (-1: lost)."""

    time_s: _Floats
    run: Numbers
    since: Numbers


def trial(setting: Setting) -> Outcome:
    """Each kind of clock fault on both shipped bundles, on all sensors alike and on one."""
    rng, tries = setting.rng(), setting.tries(_TRIES)
    wearing = {name: numbered(name, _DURATION_S) for name in (ECG, WRIST)}
    losses: list[str] = []
    kinds: Counter[str] = Counter()
    windows = worst = 0.0
    for kind, draw in KINDS.items():
        for name, worn in wearing.items():
            for which in (None, *(worn.samples if name == WRIST and kind not in SMOOTH else ())):
                for _ in range(tries):
                    seed = int(rng.integers(2**31))
                    wrong, judged, off_s = _one(name, worn, draw, seed, which, smooth=kind in SMOOTH)
                    kinds[kind] += 1
                    windows, worst = windows + judged, max(worst, off_s)
                    if wrong:
                        losses.append(f"{kind}, {name}, sensor {which or 'all'}, seed {seed}: {wrong}")
    spliced, asked = _stood_still(wearing, rng, tries)
    notes = (
        "tried: " + ", ".join(f"{kind} {n}" for kind, n in kinds.items()),
        f"not counted: a clock that stands still while samples are lost ({spliced} of {asked} streams joined the two "
        "sides); timestamps cannot show it, the caller has to reset the stream when a device wakes up",
        *losses[:5],
    )
    figures = {
        "windows": windows, "largest_time_error_s": worst, "unseen_standstill_share": spliced / max(1, asked),
    }  # fmt: skip
    return Outcome(
        tried=kinds.total(), lost=len(losses), holds=not losses and windows > 0, figures=figures, notes=notes
    )


def _one(name: str, worn: Worn, draw: Draw, seed: int, which: str | None, *, smooth: bool) -> tuple[str, int, float]:
    """What is wrong in one run, in words or nothing; windows judged; the largest error of a time beyond drift."""
    rng = np.random.default_rng(seed)
    size_s = float(rng.choice([0.25, 0.5, 1.0]))
    clock: Clock = draw(rng, int(_DURATION_S / size_s))
    results, windows, sent = _run(name, worn, clock, size_s, which)
    wrong, off_s = _judged(name, worn, clock, results, windows, sent, alike=which is None)
    if not wrong and which is None:
        wrong = _idle(worn, results, sent, clock, smooth=smooth)
    return wrong, len(windows), off_s


def _run(
    name: str, worn: Worn, clock: Clock, size_s: float, which: str | None
) -> tuple[list[Result], list[dict[str, Numbers]], dict[str, Sent]]:
    recorded = {sensor: worn.timed(sensor, [size_s], clock.t0_s) for sensor in worn.samples}
    said = {
        sensor: list(clock.apply(items)) if which in (None, sensor) else items for sensor, items in recorded.items()
    }
    engine = Watching(worn.contract)
    given = arrived(said, recorded)
    results = fed(worn.stream(engine), given)
    sensors = list(worn.samples)
    windows = [
        {sensor: numbers_of(name, sensor, x) for sensor, x in zip(sensors, one, strict=True)} for one in engine.windows
    ]
    limit_s = TOLERANCE_S + 2 * clock.jitter_s + 0.005
    return results, windows, {sensor: _sent(name, worn, sensor, given, limit_s) for sensor in sensors}


def _sent(name: str, worn: Worn, sensor: str, given: list[Push], limit_s: float) -> Sent:
    """Time and run of every sample, from the pushes alone."""
    fs_hz, n = worn.fs_hz[sensor], worn.samples[sensor].shape[1]
    time_s, run, since = np.full(n, np.nan), np.full(n, -1, np.int64), np.zeros(n, np.int64)
    runs, first, expected_s, follows = -1, 0, np.nan, -1
    for one, chunk, t in given:
        if one != sensor:
            continue
        numbers = numbers_of(name, sensor, chunk)
        if numbers[0] != follows or not abs(t - expected_s) <= limit_s:
            runs, first = runs + 1, int(numbers[0])
        time_s[numbers], run[numbers], since[numbers] = t + np.arange(numbers.size) / fs_hz, runs, numbers - first
        expected_s, follows = t + numbers.size / fs_hz, int(numbers[-1]) + 1
    return Sent(time_s, run, since)


def _judged(
    name: str,
    worn: Worn,
    clock: Clock,
    results: list[Result],
    windows: list[dict[str, Numbers]],
    sent: dict[str, Sent],
    *,
    alike: bool,
) -> tuple[str, float]:
    asked = [result for result in results if result.embedding is not None]
    if len(asked) != len(windows):
        return f"{len(asked)} answers for {len(windows)} windows", 0.0
    latest: dict[int, float] = {}
    worst_s = 0.0
    for result, window in zip(asked, windows, strict=True):
        ends: dict[str, tuple[float, float, int]] = {}
        for sensor, numbers in window.items():
            theirs, fs_hz = sent[sensor], worn.fs_hz[sensor]
            if (np.diff(numbers) != 1).any() or numbers[0] < 0 or numbers[-1] >= theirs.run.size:
                return f"{sensor} at {result.t_end_s:.3f} s: samples that do not follow each other", worst_s
            runs = theirs.run[numbers]
            if runs[0] < 0 or (runs != runs[0]).any():
                return f"{sensor} at {result.t_end_s:.3f} s: a window over a break of its clock", worst_s
            last = int(numbers[-1])
            drifted_s = 1e-6 * clock.ppm * theirs.since[last] / fs_hz
            ends[sensor] = (float(theirs.time_s[last]) + 1 / fs_hz, drifted_s, last + 1)
        lead = worn.contract.sensor.name
        end_s, drifted_s, stop = ends[lead]
        off_s = max(0.0, abs(result.t_end_s + 1 / worn.fs_hz[lead] - end_s) - drifted_s)
        worst_s = max(worst_s, off_s)
        if off_s > 2 * clock.jitter_s + 1e-6:
            return f"a time that is {off_s:.4f} s off at {result.t_end_s:.3f} s", worst_s
        run = int(sent[lead].run[stop - 1])
        if result.t_end_s <= latest.get(run, -np.inf):
            return f"times that go back within a stretch at {result.t_end_s:.3f} s", worst_s
        latest[run] = result.t_end_s
        wrong = _apart(worn, clock, ends, lead, alike=alike)
        if wrong:
            return f"{wrong} at {result.t_end_s:.3f} s", worst_s
    return "", worst_s


def _apart(worn: Worn, clock: Clock, ends: dict[str, tuple[float, float, int]], lead: str, *, alike: bool) -> str:
    """Whether windows of two sensors end at different instants: in the caller's time, and in truth."""
    end_s, drifted_s, stop = ends[lead]
    for sensor, (their_s, their_drift_s, their_stop) in ends.items():
        nearest_s = 0.5 / worn.fs_hz[sensor] + 1e-6 + 4 * clock.jitter_s + drifted_s + their_drift_s
        if abs(their_s - end_s) > nearest_s:
            return f"{sensor} {their_s - end_s:+.3f} s beside the leading sensor's clock"
        true_s = their_stop / worn.fs_hz[sensor] - stop / worn.fs_hz[lead]
        if alike and abs(true_s) > nearest_s:
            return f"{sensor} {true_s:+.3f} s beside the leading sensor in truth"
    return ""


def _idle(worn: Worn, results: list[Result], sent: dict[str, Sent], clock: Clock, *, smooth: bool) -> str:
    """Whether a stretch that was long enough got no answer: withholding everything is no way to pass."""
    lead = worn.contract.sensor
    theirs, needed_s = sent[lead.name], lead.input_samples / lead.fs_hz + _SETTLES_S
    judged_s = np.array([result.t_end_s for result in results if result.judged])
    for run in range(int(theirs.run.max()) + 1):
        times_s = theirs.time_s[theirs.run == run]
        if times_s.size < needed_s * lead.fs_hz:
            continue
        inside = judged_s[(judged_s > times_s[0] - 0.1) & (judged_s < times_s[-1] + 0.1)]
        if inside.size == 0:
            return f"no answer from {times_s[0]:.1f} to {times_s[-1]:.1f} s"
    if smooth and judged_s.size < _KEPT * _undisturbed(worn):
        return f"{judged_s.size} answers, {_undisturbed(worn)} with a right clock"
    return ""


def _undisturbed(worn: Worn) -> int:
    given = {sensor: worn.timed(sensor, [0.5]) for sensor in worn.samples}
    return sum(result.judged for result in fed(worn.stream(Watching(worn.contract)), arrived(given, given)))


def _stood_still(wearing: dict[str, Worn], rng: np.random.Generator, tries: int) -> tuple[int, int]:
    """Streams in which a clock that stood still had two sides joined, of how many."""
    spliced = asked = 0
    for name, worn in wearing.items():
        for _ in range(tries):
            clock = standing_still(rng, int(_DURATION_S / 0.5))
            _, windows, _ = _run(name, worn, clock, 0.5, None)
            asked += 1
            spliced += any((np.diff(numbers) != 1).any() for one in windows for numbers in one.values())
    return spliced, asked
