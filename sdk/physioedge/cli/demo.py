"""``physioedge demo``: a shipped recording through the shipped bundle, beat by beat, and a report."""

from __future__ import annotations

import argparse
import os
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from physioedge.cli import demo_personal, demo_wrist
from physioedge.cli.annotated import annotated
from physioedge.cli.console import SHIPPED, SHIPPED_BUNDLE, SHIPPED_RECORD, print_json

if TYPE_CHECKING:
    from physioedge.report.page import More
    from physioedge.report.streamed import Streamed
    from physioedge.signals.recording import Recording
    from physioedge_runtime import Bundle, Result, Stream

CHUNK_S = 0.25
REPORT = "report.html"
_BAR = 10


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "demo",
        help="show everything on a shipped recording, no network and no hardware",
        description="Stream a recording through a bundle as fast as this machine can, print every beat, and write a "
        "report with plots. The shipped one is then made personal: levelled, given an adapter by a host on this very "
        "machine, and rolled back. Needs no network and no hardware. Not a medical device.",
    )
    parser.add_argument("--out", type=Path, default=Path("demo-report"), metavar="DIR", help="folder of the report "
                        "(default demo-report)")  # fmt: skip
    parser.add_argument("--record", default=SHIPPED, metavar="RECORD", help="WFDB record, .npz or .csv that states "
                        "its rate and unit (default: the shipped one)")  # fmt: skip
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLE, help="bundle file (default: the shipped one)")
    parser.add_argument("--trust", type=Path, metavar="PEM", help="public key to trust (default: the shipped keys)")
    parser.add_argument("--no-open", action="store_true", help="do not open the report in a browser")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of beats")


def run(args: argparse.Namespace) -> int:
    """Stream, print, report; 0 when the report is written."""
    from physioedge.report import plots
    from physioedge.report.page import More, page
    from physioedge.signals.read import read_recording
    from physioedge_runtime import Bundle
    from physioedge_runtime.engine import load_engine

    began = time.perf_counter()
    bundle = Bundle.open(args.bundle, trust=args.trust)
    engine = load_engine(bundle, engine="auto", fallback=True)  # whichever this machine has
    load_ms = 1e3 * (time.perf_counter() - began)
    path = SHIPPED_RECORD if args.record == SHIPPED else Path(args.record)
    recording = read_recording(path, channels=bundle.contract.sensor.channels)
    console = Console(sys.stdout, bundle) if not args.json else None
    if console:
        console.opening(recording, load_ms, engine.name)
    streamed = stream(bundle, engine, recording, load_ms, console.beat if console else None)
    if console:
        console.closing(streamed)
    shipped = args.record == SHIPPED and args.bundle == SHIPPED_BUNDLE
    more, told = _more(console.say if console else lambda line: None) if shipped else (More(), {})
    target = args.out / REPORT
    args.out.mkdir(parents=True, exist_ok=True)
    target.write_text(page(streamed, more), encoding="utf-8")
    if args.json:
        print_json({**summary(streamed), **told, "report": str(target), "plots": plots.available()})
        return 0
    print("Not a medical device: for research and development only.")
    if not plots.available():
        print("The report has no plots without matplotlib: pip install 'physioedge[view]'")
    print(f"Report: {target.resolve().as_uri()}")
    print("See it live, in a browser page: physioedge view")
    if not args.no_open and can_open():
        webbrowser.open(target.resolve().as_uri())
    return 0


def _more(say: Callable[[str], None]) -> tuple[More, dict[str, Any]]:
    """What the shipped recordings show beside beats: for the page, and as plain values; `say` gets lines for people."""
    from physioedge.cli import demo_course
    from physioedge.report.page import More
    from physioedge_runtime.errors import MissingExtra

    personal = demo_personal.personalise(demo_course.beats())
    for line in demo_personal.lines(personal):
        say(line)
    worn = demo_wrist.wear(say)
    say(demo_wrist.closing(worn))
    stress, skipped = None, ""
    try:
        stress = demo_personal.personalise(demo_course.stress())
    except MissingExtra as error:
        skipped = f"{demo_course.STRESS.title}: {error.came}. {error.do}"
    for line in ["", skipped] if stress is None else demo_personal.lines(stress):
        say(line)
    told = {
        "personal": demo_personal.summary(personal),
        "wrist": demo_wrist.summary(worn),
        "stress": {"skipped": skipped} if stress is None else demo_personal.summary(stress),
    }
    return More(personal=personal, worn=worn, stress=stress, skipped=skipped), told


def stream(bundle: Bundle, engine: Any, recording: Recording, load_ms: float, show: Any) -> Streamed:
    """Push the recording in chunks; `show` gets each result at once."""
    import numpy as np

    from physioedge.report.streamed import Streamed
    from physioedge_runtime import Stream

    results: list[Result] = []
    shares: list[float] = []
    wall_s = 0.0
    live = Stream(
        bundle,
        fs_hz=recording.fs_hz,
        units=recording.units,
        resample="polyphase",  # the demo converts; `physioedge run` only does so when asked
        channels=recording.channels,
        engine=engine,
    )
    for found, seconds in _pushes(live, recording):
        wall_s += seconds
        results += found
        shares += [1e3 * seconds / max(1, len(found))] * len(found)
        for result in found if show else ():
            show(result)
    truth, missed = annotated(recording, results)
    return Streamed(
        recording=recording,
        bundle=bundle,
        results=tuple(results),
        push_ms=np.array(shares),
        wall_s=wall_s,
        load_ms=load_ms,
        truth=truth,
        missed=missed,
    )


def _pushes(live: Stream, recording: Recording) -> Any:
    step = max(1, round(CHUNK_S * recording.fs_hz))
    for start in range(0, recording.samples.shape[1] + step, step):
        chunk = recording.samples[:, start : start + step]
        began = time.perf_counter()
        found = live.push(chunk) if chunk.shape[1] else live.flush()
        yield found, time.perf_counter() - began
        if not chunk.shape[1]:
            return


def summary(streamed: Streamed) -> dict[str, Any]:
    """Plain values of the run."""
    from physioedge.report.streamed import quantiles

    right, judged = streamed.agreement()
    work, delay = quantiles(streamed.work_ms), quantiles(streamed.delays_s)
    return {
        "record": streamed.recording.name,
        "bundle": streamed.bundle.digest,
        "beats": len(streamed.results),
        "counts": streamed.counts,
        "confusion": streamed.confusion(),
        "called_as_annotated": right,
        "judged_of_known_class": judged,
        "results_without_annotation": streamed.extra(),
        "work_ms": work if len(streamed.work_ms) else None,
        "delay_s": delay if len(streamed.work_ms) else None,
        "load_ms": streamed.load_ms,
        "real_time_factor": streamed.real_time_factor,
    }


def can_open() -> bool:
    """Whether somebody sits before a screen."""
    screen = sys.platform in ("darwin", "win32") or any(os.environ.get(v) for v in ("DISPLAY", "WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and screen


class Console:
    """Beats and summary for people; colour only on a terminal that wants it.

    Parameters
    ----------
    out : text stream
    bundle : Bundle
    """

    def __init__(self, out: TextIO, bundle: Bundle) -> None:
        self._out, self._labels = out, bundle.contract.labels
        self._manifest = bundle.manifest
        self._names = bundle.manifest.task_info
        self._colour = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._blocks = (out.encoding or "").lower().replace("-", "") == "utf8"
        self._last_s: float | None = None

    def opening(self, recording: Recording, load_ms: float, engine: str) -> None:
        """Print what is about to happen."""
        fs_hz = self._fs_hz = recording.fs_hz
        self.say(f"{recording.describe()}")
        self.say(f"{self._manifest.name} {self._manifest.version}: signature, digests and golden vectors hold "
                  f"on {engine} ({load_ms:.0f} ms)")  # fmt: skip
        if fs_hz != self._manifest.contract.sensor.fs_hz:
            self.say(f"converting {fs_hz:g} Hz to {self._manifest.contract.sensor.fs_hz:g} Hz")
        self.say(f"\n{'time':>9}  {'beat':<4} {'probability':<{_BAR + 6}}  {'quality':>7}  {'bpm':>4}  flags")

    def beat(self, result: Result) -> None:
        """Print one result."""
        bpm = ""
        if self._last_s is not None and result.t_anchor_s > self._last_s:
            bpm = f"{60 / (result.t_anchor_s - self._last_s):.0f}"
        self._last_s = result.t_anchor_s
        chance = f"{self._bar(result.probability)} {result.probability:.3f}" if result.probabilities else "-"
        name = str(self._names.get(result.label, "")) if result.label and result.label != self._labels[0] else ""
        tail = "  ".join(word for word in (name, ", ".join(result.flags)) if word)
        head = f"{result.t_anchor_s:8.2f}s  {result.label or '?':<4} {chance:<{_BAR + 6}}"
        line = f"{head}  {result.quality:7.2f}  {bpm:>4}  {tail}"
        self.say(self._painted(line.rstrip(), result.label))

    def closing(self, streamed: Streamed) -> None:
        """Print the summary."""
        from physioedge.cli.console import table
        from physioedge.report.streamed import quantiles

        counts = ", ".join(f"{n} {name}" for name, n in streamed.counts.items())
        self.say(f"\n{len(streamed.results)} beats: {counts}")
        rows = streamed.confusion()
        if rows:
            columns = list(next(iter(rows.values())))
            self.say("\nagainst the annotations:")
            self.say(table(("annotated", *columns), [(truth, *row.values()) for truth, row in rows.items()]))
            right, judged = streamed.agreement()
            share = f" ({100 * right / judged:.1f} %)" if judged else ""
            self.say(
                f"{right} of {judged} judged beats called as annotated{share}; {streamed.extra()} results elsewhere"
            )
        if len(streamed.work_ms):
            work, delay = quantiles(streamed.work_ms), quantiles(streamed.delays_s)
            self.say(f"\nwork for a beat: median {work['p50']:.2f} ms, 99 % within {work['p99']:.2f} ms; result "
                      f"{delay['p50']:.2f} s after the R peak")  # fmt: skip
        self.say(f"{streamed.recording.duration_s:.0f} s of signal in {streamed.wall_s:.2f} s: "
                  f"{streamed.real_time_factor:.0f} times as fast as life")  # fmt: skip

    def _bar(self, share: float) -> str:
        full = round(_BAR * share)
        return ("█" * full + "░" * (_BAR - full)) if self._blocks else ("#" * full + "." * (_BAR - full))

    def _painted(self, line: str, label: str | None) -> str:
        if not self._colour or label == self._labels[0]:
            return line
        code = "2" if label is None else ("1;33", "1;31", "1;35")[(self._labels.index(label) - 1) % 3]
        return f"\033[{code}m{line}\033[0m"

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._out, flush=True)
