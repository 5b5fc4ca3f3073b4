"""``physioedge run``: stream a recording or a live sensor through a bundle, and the results to wherever they go."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from physioedge.cli.choices import ENGINES
from physioedge.cli.console import SHIPPED, SHIPPED_BUNDLE, SHIPPED_RECORD, positive
from physioedge.cli.feeding import Said, open_tracks
from physioedge.cli.progress import watched
from physioedge.cli.storing import DEVICE, open_store
from physioedge.sinks.opening import open_sink
from physioedge.sinks.protocol import Sink
from physioedge.sinks.rows import FORMATS
from physioedge.sources.fitting import FittedSource
from physioedge.sources.opening import is_live, open_live
from physioedge.sources.protocol import Chunk, Source, describe
from physioedge.sources.recorded import LONGEST_S, RecordedSource
from physioedge_runtime import Bundle, Result, Stream
from physioedge_runtime.adaptation.own_signal import named_bias, said_of
from physioedge_runtime.adaptation.session import serve
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import SignalError, StoreError

_EPILOG = """\
examples:
  physioedge run shipped
  physioedge run samples/data/213 --channel MLII --resample polyphase --format jsonl
  physioedge run mine.csv --fs-hz 125 --units mV --channel MLII --speed 1
  physioedge run mine.csv ... --bundle arrhythmia.physio --store adapters --adapter-trust keys/public.pem
  physioedge run wrist.npz --bundle stress.physio    (several sensors: ppg.samples, ppg.fs_hz, ..., acc.samples, ...)
  physioedge run night.edf --channel MLII=ECG --convert-units --resample polyphase --to night.jsonl
  physioedge run lsl:MyECG --channel MLII=ecg --resample polyphase --to lsl:Beats --to mqtt://localhost/beats
  physioedge run ble:polar-h10 --channel MLII=ecg --convert-units --resample polyphase
  physioedge run brainflow:synthetic --channel MLII=ecg1 --convert-units --resample polyphase --limit-s 30

docs/sources.md lists all sources and sinks.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "run",
        help="stream a recording or a live sensor through a bundle and print the results",
        description="Stream a recording, or a live sensor, through a bundle, and print each result as it comes out or "
        "send it elsewhere. What is known of the source is told first, a summary follows, both on stderr.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("record", metavar="SOURCE", help="a file (WFDB record, .edf, .bdf, .npz, .mat, .csv, .avro) or "
                        "an Empatica folder; lsl:NAME, brainflow:BOARD, ble:heart-rate or ble:polar-h10; 'shipped' for "
                        "the recording that came along, which is resampled without asking")  # fmt: skip
    parser.add_argument("--bundle", type=_bundle, default=SHIPPED_BUNDLE, help="bundle file (default: shipped)")
    parser.add_argument("--trust", type=Path, help="public key file to trust (default: the shipped keys)")
    parser.add_argument("--channel", action="append", metavar="NAME", help="channel to use, or WANTED=HERE where the "
                        "source calls it otherwise than the bundle; again for more than one (default: those the bundle "
                        "wants, by name)")  # fmt: skip
    parser.add_argument("--sensor", action="append", metavar="NAME=CHANNEL,...", help="make a sensor of these "
                        "channels; again for each (files that hold signals of several rates or units)")  # fmt: skip
    parser.add_argument("--fs-hz", type=positive, help="sampling rate, where the source does not state it")
    parser.add_argument("--units", help="unit of the samples, where the source does not state it")
    parser.add_argument("--resample", choices=["polyphase"], help="convert the rate (never done unasked)")
    parser.add_argument("--convert-units", action="store_true", help="scale to the bundle's unit, such as uV to mV "
                        "(never done unasked)")  # fmt: skip
    _add_person_options(parser)
    parser.add_argument("--adapters", choices=["merged", "slots"], help="graph of the bundle (default: merged; slots "
                        "where an adapter of --store serves)")  # fmt: skip
    parser.add_argument("--precision", choices=["int8", "fp32", "int8_static"], default="int8", help="graph of the "
                        "bundle")  # fmt: skip
    parser.add_argument("--engine", metavar="ENGINE", choices=ENGINES, default="onnxruntime", help="one of "
                        "%(choices)s; auto: executorch where it is built; default: %(default)s")  # fmt: skip
    parser.add_argument("--limit-s", type=positive, metavar="S", help="stop after this much signal")
    parser.add_argument("--chunk-s", type=positive, metavar="S", default=0.25, help="signal per push (default 0.25; "
                        f"at most {LONGEST_S:g} where there are several sensors)")  # fmt: skip
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=positive, metavar="X", help="X times as fast as life")
    pace.add_argument("--as-fast", action="store_true", help="as fast as the machine can (default)")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--format", choices=FORMATS, default="table", help="what to print (default table)")
    shape.add_argument("--json", dest="format", action="store_const", const="jsonl", help="same as --format jsonl")
    parser.add_argument("--to", action="append", metavar="SINK", help="send results there instead of printing them: "
                        "FILE.jsonl, FILE.csv, lsl:NAME, mqtt://HOST/TOPIC; again for more (print as well: --to "
                        "table:-)")  # fmt: skip


def _add_person_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, metavar="DIR", help="folder of a person's adapters, as `adapt` keeps "
                        "them: what serves there, adapter and bias, serves here from the first window on")  # fmt: skip
    parser.add_argument("--adapter-trust", type=Path, metavar="PEM", help="public key, or folder of keys, of who may "
                        "sign adapters (default: as --trust)")  # fmt: skip
    parser.add_argument("--device", metavar="ID", default=DEVICE, help="who this device is: adapters are bound to it "
                        f"(default {DEVICE!r})")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Stream the source; 0 when all of it went through, and when someone stopped a live one."""
    shipped = args.record == SHIPPED
    bundle = Bundle.open(args.bundle, trust=args.trust)
    contract = bundle.contract
    resample = "polyphase" if shipped else args.resample
    store = _person(args, bundle)
    source = _source(args, contract)
    sensors = source.sensors
    for line in describe(sensors):
        print(line, file=sys.stderr)
    for name, sensor in sensors.items():
        fs_hz = contract.sensor_named(name).fs_hz
        if resample and sensor.fs_hz != fs_hz:
            print(f"converting {sensor.fs_hz:g} Hz to {fs_hz:g} Hz ({resample})", file=sys.stderr)
    summary = Summary(what="beats" if contract.trigger.kind == "beat" else "windows")
    with _stream(args, bundle, source, store, resample) as stream:
        # no sink is opened, and no header written, before all is known to fit
        try:
            with ExitStack() as opened:
                opened.enter_context(source)
                sinks = [opened.enter_context(sink) for sink in _sinks(args, contract)]
                for result in _results(stream, source, args.limit_s, summary):
                    summary.add(result)
                    for sink in sinks:
                        sink.write(result)
        except KeyboardInterrupt:
            if not source.live:
                raise
            print("stopped", file=sys.stderr)
        finally:
            print(summary.line(), file=sys.stderr)
    return 0


def _person(args: argparse.Namespace, bundle: Bundle) -> AdapterStore | None:
    """What was kept of a person, read once and let go of: a run that lasts keeps nobody from the store."""
    if args.store is None:
        return None
    if not args.store.is_dir():
        raise StoreError(f"no store at {args.store}", "the folder of one", "Check the path, or begin with `adapt`.")
    with open_store(args, bundle) as store:
        for problem in store.problems:
            print(f"problem: {problem} (are --device and --adapter-trust right?)", file=sys.stderr)
        serves, bias = "global" if store.serving is None else store.serving.manifest.id, named_bias(store)
        print(f"serves: {serves}{f', with {said_of(bias)} of the own signal' if bias else ''}", file=sys.stderr)
    return store


def _stream(
    args: argparse.Namespace, bundle: Bundle, source: Source, store: AdapterStore | None, resample: str | None
) -> Stream:
    """With what serves in the store, where there is one."""
    sensors, personal = source.sensors, store is not None and store.serving is not None
    stream = Stream(
        bundle,
        fs_hz={name: sensor.fs_hz for name, sensor in sensors.items()},
        units={name: sensor.units for name, sensor in sensors.items()},
        resample=dict.fromkeys(sensors, resample),
        channels={name: sensor.channels for name, sensor in sensors.items()},
        adapters=args.adapters or ("slots" if personal else "merged"),
        precision=args.precision,
        engine=args.engine,
    )
    if store is not None:
        serve(stream, store)
    return stream


def _source(args: argparse.Namespace, contract: Contract) -> Source:
    """What was named, under the contract's names of sensors and channels."""
    said = Said(fs_hz=args.fs_hz, units=args.units, channels=args.channel, sensors=args.sensor)
    if is_live(args.record):
        if args.speed is not None:
            raise SignalError(f"--speed for {args.record}", "a recording", "A live sensor has a speed of its own.")
        source = open_live(args.record, contract.sensors, said.told)
    else:
        path = SHIPPED_RECORD if args.record == SHIPPED else Path(args.record)
        source = RecordedSource(
            open_tracks(path, contract, said), chunk_s=args.chunk_s, speed=args.speed, limit_s=args.limit_s
        )
    return FittedSource(source, contract.sensors, renamed=said.renamed, convert_units=args.convert_units)


def _sinks(args: argparse.Namespace, contract: Contract) -> list[Sink]:
    names = args.to or [f"{args.format}:-"]
    return [open_sink(name, contract, on_lsl_clock=args.record.startswith("lsl:")) for name in names]


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


def _shown(source: Source) -> Iterator[Chunk]:
    """Its chunks; where results go elsewhere than to this terminal, how far the recording is stands on stderr."""
    lengths_s = [
        sensor.duration_s + sum(gap.end_s - gap.start_s for gap in sensor.gaps)
        for sensor in source.sensors.values()
        if sensor.duration_s is not None
    ]
    if source.live or not lengths_s or sys.stdout.isatty():
        return source.chunks()
    return watched("streaming", max(lengths_s), source.chunks(), lambda chunk: chunk.until_s)


def _results(stream: Stream, source: Source, limit_s: float | None, summary: Summary) -> Iterator[Result]:
    """Results in order; those still owed when the source ends, or is stopped at its limit."""
    for chunk in _shown(source):
        began = time.perf_counter()
        results = stream.push(chunk.samples, chunk.t_s, chunk.sensor)
        summary.busy_s += time.perf_counter() - began
        summary.signal_s = max(summary.signal_s, chunk.until_s)
        yield from results
        if source.live and limit_s is not None and chunk.until_s >= limit_s:
            break
    began = time.perf_counter()
    results = stream.flush()
    summary.busy_s += time.perf_counter() - began
    yield from results


def _bundle(text: str) -> Path:
    return SHIPPED_BUNDLE if text == SHIPPED else Path(text)
