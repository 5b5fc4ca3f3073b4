"""R7: what sensors, skin, wrong settings and radio links do to real recordings.

A window is looked at from outside: where its samples lie in time, and where the fault was put, says what it holds. That
the runtime withheld it, and why, is then compared with what was done.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from physioedge.faults.quality_cost import withheld_on_clean
from physioedge.faults.radio import radio_losses
from physioedge.faults.recordings import parts, sets_here
from physioedge.faults.row import Outcome, Row, Setting, beyond_chance
from physioedge.faults.signal_kinds import DROWNED, DROWNED_SHARE, MAY, NOT_MEASURED, Kind, kinds
from physioedge.faults.worn import ECG, WRIST, Samples, Worn, arrived, fed, shipped
from physioedge_runtime import faults
from physioedge_runtime.engine import Engine, load_engine
from physioedge_runtime.result import Result

ROW = Row(
    id="R7",
    what="dropouts, duplicates, reordering, NaN, saturation, flat lines, lead-off, motion, hum, noise, gain, rate",
    target="a stream never raises; no label or value on a window that the fault has spoilt; flags name the reason",
    known="a pulse under motion is judged: rhythmic movement below 5 Hz has the shape of a pulse, the quality of each "
    "sensor is told by that sensor alone, and to tell the two apart by the accelerometer is what the model was trained "
    "for; a movement larger than those of its recordings misleads it, and a rule over both sensors, which would see "
    "one, is not in the quality index. A pulse under 60 Hz hum is judged where the hum, which comes as a clean 4 Hz "
    "when 64 Hz are sampled without a filter, has less power than the pulse. docs/signal-quality.md says both",
)
KNOWN = ("motion of ppg", "60 Hz hum of ppg")
"""Kinds whose spoilt windows are known to be judged; all others may be by a rare chance."""
RARE = 0.005
_TRIES, _PART_S = 10, 75.0
_EDGE_S = 0.4
"""A fault that ends so near to a window reaches it through the rate converter's filter, or does not."""
_SHAKEN_G = (0.5, 0.3, 0.4)
"""What the accelerometer beside a pulse that is moved shows of the same movement."""
_WARMING = {"warming_up", "incomplete", "end", "gap", "clock_backward"}


@dataclass
class Tally:
    """What became of the windows of one kind."""

    runs: int = 0
    spoilt: int = 0
    judged: int = 0
    unnamed: int = 0
    touched: int = 0
    changed: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        """In words, where a spoilt window was judged."""
        return f"{self.judged} of {self.spoilt} spoilt windows judged, {self.changed} of {self.touched} answers changed"


def trial(setting: Setting) -> Outcome:
    """Every kind and degree on parts of real recordings, on the leading sensor and on the one beside it."""
    tallies: dict[Kind, Tally] = {}
    losses: list[str] = []
    for name in (ECG, WRIST):
        rng = np.random.default_rng([setting.seed, len(name)])
        source, engine = parts(name, _PART_S, rng), load_engine(shipped(name).bundle)
        for _ in range(setting.tries(_TRIES)):
            worn = next(source)
            clean = _results(worn, engine)
            for sensor in worn.contract.sensors:
                for kind in kinds(sensor, worn.fs_hz[sensor.name]):
                    tally, seed = tallies.setdefault(kind, Tally()), int(rng.integers(2**31))
                    if _run(worn, engine, sensor.name, kind, np.random.default_rng(seed), clean, tally):
                        losses.append(f"{kind}, seed {seed}")
    return _outcome(setting, tallies, losses, radio_losses(setting))


def _outcome(setting: Setting, tallies: dict[Kind, Tally], losses: list[str], radio: tuple[int, list[str]]) -> Outcome:
    all_of = list(tallies.values())
    wrong = [f"{kind}: {said}" for kind, tally in tallies.items() for said in tally.wrong[:1]]
    judged = [f"{kind}: {tally.said}" for kind, tally in tallies.items() if tally.judged]
    unnamed = [f"{kind}: {tally.unnamed} without a reason" for kind, tally in tallies.items() if tally.unnamed]
    cost, cost_notes = withheld_on_clean(setting)
    spoilt, mild = sum(tally.spoilt for tally in all_of), [t for kind, t in tallies.items() if kind.spoils == MAY]
    lost, tried = len(losses) + len(radio[1]), sum(tally.runs for tally in all_of) + radio[0]
    sets = [one for name in (ECG, WRIST) for one in sets_here(name)]
    notes = (
        f"{len(tallies)} kinds and degrees on shipped recordings{' and parts of ' if sets else ''}{', '.join(sets)}; "
        f"{radio[0]} faults of a radio link (lost, repeated and reordered chunks, a wrong rate)",
        *(f"judged all the same: {said}" for said in judged),
        *(f"no reason named: {said}" for said in unnamed),
        *(f"wrong: {said}" for said in (*wrong, *radio[1][:5])),
        *cost_notes,
    )
    figures = {
        "raised_runs": float(sum(said.startswith("raised") for tally in all_of for said in tally.wrong)),
        "spoilt_windows": float(spoilt),
        **{
            f"{what}_windows_judged": float(sum(t.judged for kind, t in tallies.items() if kind.spoils == spoils))
            for what, spoils in (("unmeasured", NOT_MEASURED), ("drowned", DROWNED))
        },
        "mild_changed_share": sum(t.changed for t in mild) / max(1, sum(t.touched for t in mild)),
        **cost,
    }  # fmt: skip
    return Outcome(
        tried=tried, lost=lost, holds=lost == 0 and spoilt > 0, figures=figures, notes=notes,
        worse=tuple(_worse(tallies, [*wrong, *radio[1]])),
    )  # fmt: skip


def _worse(tallies: Mapping[Kind, Tally], wrong: list[str]) -> Iterator[str]:
    """What is not known: whatever raised or was wrong, a flag without its reason, spoilt windows of other kinds."""
    yield from wrong[:3]
    yield from (f"{kind}: {tally.unnamed} without a reason" for kind, tally in tallies.items() if tally.unnamed)
    others = [(kind, tally) for kind, tally in tallies.items() if kind.name not in KNOWN]
    measured = [tally for kind, tally in others if kind.spoils != NOT_MEASURED]
    yield from (f"{k}: {t.judged} windows judged" for k, t in others if t.judged and k.spoils == NOT_MEASURED)
    judged, spoilt = sum(t.judged for t in measured), sum(t.spoilt for t in measured)
    if beyond_chance(judged, spoilt, RARE):
        yield f"{judged} of {spoilt} drowned windows of other kinds judged"


def _run(
    worn: Worn, engine: Engine, sensor: str, kind: Kind, rng: np.random.Generator, clean: list[Result], tally: Tally
) -> bool:
    """Do one fault; whether the target was missed."""
    samples, fs_hz = worn.samples[sensor], worn.fs_hz[sensor]
    n = samples.shape[1]
    length = max(1, round(kind.lasts_s * fs_hz)) if kind.lasts_s else n
    first = int(rng.integers(round(0.2 * n), max(round(0.2 * n) + 1, n - length))) if length < n else 0
    stop = min(n, first + length)
    before = len(tally.wrong) + tally.judged + tally.unnamed
    tally.runs += 1
    moved = {sensor: kind.do(samples, fs_hz, first, stop, copy.deepcopy(rng))}
    if kind.moves and sensor != "acc" and "acc" in worn.samples:
        moved["acc"] = _shaken(worn, first / fs_hz, faults.movement(stop - first, fs_hz, rng), fs_hz)
    try:
        found = _results(replace(worn, samples={**worn.samples, **moved}), engine)
    except Exception as error:  # noqa: BLE001 - a stream that raises is what this looks for
        tally.wrong.append(f"raised {type(error).__name__}: {error}")
        return True
    _judge(worn, sensor, kind, (first / fs_hz, stop / fs_hz), clean, found, tally)
    return len(tally.wrong) + tally.judged + tally.unnamed > before


def _shaken(worn: Worn, start_s: float, path: Samples, fs_hz: float) -> Samples:
    """The accelerometer in a movement (sample,) at another sensor's rate."""
    acc, their_fs_hz = worn.samples["acc"], worn.fs_hz["acc"]
    at_s = np.arange(round(path.size / fs_hz * their_fs_hz)) / their_fs_hz
    theirs = np.interp(at_s, np.arange(path.size) / fs_hz, path).astype(np.float32)
    return faults.moved(acc, round(start_s * their_fs_hz), theirs, _SHAKEN_G)


def _results(worn: Worn, engine: Engine) -> list[Result]:
    given = {sensor: worn.timed(sensor, [0.5]) for sensor in worn.samples}
    return fed(worn.stream(engine), arrived(given, given))


def _judge(
    worn: Worn,
    sensor: str,
    kind: Kind,
    span: tuple[float, float],
    clean: list[Result],
    found: list[Result],
    tally: Tally,
) -> None:
    spec = next(one for one in worn.contract.sensors if one.name == sensor)
    lead = worn.contract.sensor
    long_s, step_s = spec.input_samples / spec.fs_hz, 1 / spec.fs_hz
    before = {result.t_anchor_s: result for result in clean}
    prefix = "" if sensor == lead.name else f"{sensor}:"
    for result in found:
        end_s = result.t_end_s + 1 / lead.fs_hz
        start_s = end_s - long_s
        inside_s = min(end_s, span[1]) - max(start_s, span[0])
        same = before.get(result.t_anchor_s)
        if inside_s < -_EDGE_S:
            if same is not None and _as_answered(same) != _as_answered(result):
                tally.wrong.append(f"another answer at {result.t_anchor_s:.2f} s, where the fault is not")
            continue
        if inside_s <= 0 or (result.quality == 0 and _WARMING & set(result.flags)):
            continue
        if result.judged and same is not None and same.judged:
            tally.touched += 1
            tally.changed += _other(same, result)
        if not _spoilt(kind, span, inside_s, result, long_s, step_s, beat=worn.contract.window.trigger == "beat"):
            continue
        tally.spoilt += 1
        tally.judged += result.judged
        reasons = {f"{prefix}{reason}" for reason in kind.reasons}
        tally.unnamed += not result.judged and not reasons & set(result.flags)


def _as_answered(result: Result) -> Result:
    """Without how and when the beat was found: a detector's levels remember what was before."""
    flags = tuple(flag for flag in result.flags if flag != "searched_back")
    return replace(result, flags=flags, t_emitted_s=0.0)


def _spoilt(
    kind: Kind, span: tuple[float, float], inside_s: float, result: Result, long_s: float, step_s: float, *, beat: bool
) -> bool:
    if kind.spoils == MAY:
        return False
    if kind.spoils == NOT_MEASURED:
        return inside_s >= max(kind.needs_s, min(step_s, span[1] - span[0]) / 2)
    at_beat = beat and span[0] + 0.5 < result.t_anchor_s < span[1] - 0.5
    return at_beat or inside_s >= DROWNED_SHARE * long_s


def _other(one: Result, other: Result) -> bool:
    """Whether an answer is another one: another label, or a value that is off by a tenth and more."""
    if one.label is not None or other.label is not None:
        return one.label != other.label
    return bool(np.abs(np.array(one.values) - np.array(other.values)).max() > 0.1 * np.abs(one.values).max())
