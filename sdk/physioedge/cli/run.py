"""``physioedge run``: stream a recording through a bundle and print the results."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from physioedge.cli.console import SHIPPED, SHIPPED_BUNDLE, SHIPPED_RECORD, positive
from physioedge.cli.feeding import LONGEST_S, Said, limited, open_sensors, pushes
from physioedge.cli.rows import FORMATS, writer
from physioedge.signals.recording import Recording
from physioedge_runtime import Bundle, Result, Stream

_EPILOG = """\
examples:
  physioedge run shipped
  physioedge run samples/data/213 --channel MLII --resample polyphase --format jsonl
  physioedge run mine.csv --fs-hz 125 --units mV --channel MLII --speed 1
  physioedge run wrist.npz --bundle stress.physio    (several sensors: ppg.samples, ppg.fs_hz, ..., acc.samples, ...)
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "run",
        help="stream a recording through a bundle and print the results",
        description="Stream a recording through a bundle as a sensor would deliver it, and print each result as it "
        "comes out. A summary follows on stderr.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("record", metavar="RECORD", help="WFDB record, .npz (of one sensor or several) or .csv; "
                        "'shipped' for the one that came along, which is resampled without asking")  # fmt: skip
    parser.add_argument("--bundle", type=_bundle, default=SHIPPED_BUNDLE, help="bundle file (default: shipped)")
    parser.add_argument("--trust", type=Path, help="public key file to trust (default: the shipped keys)")
    parser.add_argument("--channel", action="append", metavar="NAME", help="channel to use; again for more than one "
                        "(default: those the bundle wants, by name)")  # fmt: skip
    parser.add_argument("--fs-hz", type=positive, help="sampling rate, where the file does not state it")
    parser.add_argument("--units", help="unit of the samples, where the file does not state it")
    parser.add_argument("--resample", choices=["polyphase"], help="convert the rate (never done unasked)")
    parser.add_argument("--adapters", choices=["merged", "slots"], default="merged", help="graph of the bundle")
    parser.add_argument("--precision", choices=["int8", "fp32", "int8_static"], default="int8", help="graph of the "
                        "bundle")  # fmt: skip
    parser.add_argument("--engine", choices=["onnxruntime", "executorch", "auto"], default="onnxruntime",
                        help="auto: executorch where it is built")  # fmt: skip
    parser.add_argument("--limit-s", type=positive, metavar="S", help="stop after this much signal")
    parser.add_argument("--chunk-s", type=positive, metavar="S", default=0.25, help="signal per push (default 0.25; "
                        f"at most {LONGEST_S:g} where there are several sensors)")  # fmt: skip
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=positive, metavar="X", help="X times as fast as life")
    pace.add_argument("--as-fast", action="store_true", help="as fast as the machine can (default)")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--format", choices=FORMATS, default="table", help="what to print (default table)")
    shape.add_argument("--json", dest="format", action="store_const", const="jsonl", help="same as --format jsonl")


def run(args: argparse.Namespace) -> int:
    """Stream the record; 0 when all of it went through."""
    shipped = args.record == SHIPPED
    bundle = Bundle.open(args.bundle, trust=args.trust)
    contract = bundle.contract
    said = Said(fs_hz=args.fs_hz, units=args.units, channels=args.channel)
    recordings = open_sensors(SHIPPED_RECORD if shipped else Path(args.record), contract, said)
    if args.limit_s is not None:
        recordings = limited(recordings, args.limit_s)
    resample = "polyphase" if shipped else args.resample
    for name, recording in recordings.items():
        print(recording.describe() if len(recordings) == 1 else f"{name}: {recording.describe()}", file=sys.stderr)
        fs_hz = contract.sensor_named(name).fs_hz
        if resample and recording.fs_hz != fs_hz:
            print(f"converting {recording.fs_hz:g} Hz to {fs_hz:g} Hz ({resample})", file=sys.stderr)
    summary = Summary(what="beats" if contract.trigger.kind == "beat" else "windows")
    with Stream(
        bundle,
        fs_hz={name: recording.fs_hz for name, recording in recordings.items()},
        units={name: recording.units for name, recording in recordings.items()},
        resample=dict.fromkeys(recordings, resample),
        channels={name: recording.channels for name, recording in recordings.items()},
        adapters=args.adapters,
        precision=args.precision,
        engine=args.engine,
    ) as stream:
        write = writer(args.format, contract, sys.stdout)  # no header before all is known to fit
        try:
            for result in _results(stream, recordings, args.chunk_s, args.speed, summary):
                summary.add(result)
                write(result)
        finally:  # also when someone stops a live run
            print(summary.line(), file=sys.stderr)
    return 0


@dataclass
class Summary:
    """Counts of one run, in signal seconds and wall seconds."""

    what: str = "windows"
    signal_s: float = 0.0
    judged: int = 0
    withheld: int = 0
    busy_s: float = 0.0
    delays_s: list[float] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one result."""
        self.judged += result.judged
        self.withheld += not result.judged
        self.delays_s.append(result.delay_s)

    def line(self) -> str:
        """Everything on one line."""
        total = self.judged + self.withheld
        coverage = f"{100 * self.judged / total:.1f} %" if total else "-"
        delay = f"{1000 * median(self.delays_s):.0f} ms" if self.delays_s else "-"
        speed = f"{self.signal_s / self.busy_s:.0f}" if self.busy_s > 0 else "-"
        return (
            f"{total} {self.what}, {self.withheld} withheld, coverage {coverage}, median delay {delay}, "
            f"{speed} x real time ({self.signal_s:.1f} s of signal in {self.busy_s:.2f} s)"
        )


def _results(
    stream: Stream, recordings: Mapping[str, Recording], chunk_s: float, speed: float | None, summary: Summary
) -> Iterator[Result]:
    """Results in order; with a speed, each chunk waits for the moment at which its last sample would exist."""
    started = time.perf_counter()
    for push in pushes(recordings, chunk_s):
        if speed is not None:
            time.sleep(max(0.0, started + push.until_s / speed - time.perf_counter()))
        began = time.perf_counter()
        results = stream.push(push.chunk, push.t_s, push.sensor)
        summary.busy_s += time.perf_counter() - began
        summary.signal_s = max(summary.signal_s, push.until_s)
        yield from results
    began = time.perf_counter()
    results = stream.flush()
    summary.busy_s += time.perf_counter() - began
    yield from results


def _bundle(text: str) -> Path:
    return SHIPPED_BUNDLE if text == SHIPPED else Path(text)
