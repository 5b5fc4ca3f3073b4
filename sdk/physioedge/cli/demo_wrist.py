"""The wristband part of ``physioedge demo``: pulse and movement through a second bundle, a rate every two seconds."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Any

from physioedge.cli.console import ASSETS

if TYPE_CHECKING:
    from physioedge.report.wrist import Worn

BUNDLE, RECORD = ASSETS / "heart_rate.physio", ASSETS / "wrist.npz"
REFERENCE = "rate"
"""Sensor of the recording that is not streamed, but drawn beside what comes out."""
CHUNK_S = 0.25
_WIDTH = 100
"""Of lines of prose."""


def wear(say: Any) -> Worn:
    """Stream the wristband excerpt; `say` gets each line for people."""
    from physioedge.cli.feeding import pushes
    from physioedge.report.wrist import Worn
    from physioedge.signals.npz import read_npz_session
    from physioedge_runtime import Bundle, Result, Stream

    bundle = Bundle.open(BUNDLE)
    held = read_npz_session(RECORD).recordings
    recordings = {sensor.name: held[sensor.name] for sensor in bundle.contract.sensors}
    value = bundle.contract.values[0]
    lead = next(iter(recordings.values()))
    live = Stream(
        bundle,
        fs_hz={name: one.fs_hz for name, one in recordings.items()},
        units={name: one.units for name, one in recordings.items()},
        resample=dict.fromkeys(recordings, "polyphase"),
        engine="auto",
    )
    sensors = ", ".join(f"{name} at {one.fs_hz:g} Hz" for name, one in recordings.items())
    say(f"\n{lead.name}: {sensors}")
    say(f"{'time':>9}  {value.name} ({value.units})  quality  flags")
    results: list[Result] = []
    wall_s = 0.0
    for push in pushes(recordings, CHUNK_S):
        began = time.perf_counter()
        found = live.push(push.chunk, push.t_s, push.sensor)
        wall_s += time.perf_counter() - began
        results += found
        for result in found:
            shown = f"{result.values[0]:.0f}" if result.values else "?"
            flags = ", ".join(result.flags)
            say(f"{result.t_end_s:8.1f}s  {shown:>{len(value.name) + 6}}  {result.quality:7.2f}  {flags}".rstrip())
    results += live.flush()
    return Worn(
        recordings=recordings, bundle=bundle, results=tuple(results), wall_s=wall_s, reference=held.get(REFERENCE)
    )


def closing(worn: Worn) -> str:
    """A line of summary, and another one where nothing here can be made the person's."""
    from physioedge.report.wrist import NOT_PERSONAL

    unit = worn.bundle.contract.values[0].units
    apart = worn.difference()
    said = "" if apart is None else f", {apart:.1f} {unit} from the wristband's own on average"
    work_ms = 1e3 * worn.wall_s / max(1, len(worn.results))
    more = "" if worn.personal else "\n" + textwrap.fill(NOT_PERSONAL, _WIDTH)
    return f"\n{len(worn.judged)} of {len(worn.results)} windows judged{said}; {work_ms:.2f} ms of work each{more}"


def summary(worn: Worn) -> dict[str, Any]:
    """Plain values of the run."""
    from physioedge.report.wrist import NOT_PERSONAL

    return {
        "record": next(iter(worn.recordings.values())).name,
        "bundle": worn.bundle.digest,
        "windows": len(worn.results),
        "judged": len(worn.judged),
        "difference_from_the_wristband": worn.difference(),
        "personal": worn.personal,
        "not_personal": None if worn.personal else NOT_PERSONAL,
        "work_ms": 1e3 * worn.wall_s / max(1, len(worn.results)),
    }
