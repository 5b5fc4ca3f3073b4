"""``physioedge adapt``: make an adapter for the person of a recording and try it on what follows, or level them."""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from physioedge.cli.adapt_withheld import CountingAdaptation
from physioedge.cli.asking import Ask, way
from physioedge.cli.console import SHIPPED, SHIPPED_RECORD, positive, print_json, table
from physioedge.cli.feeding import Push, Said, open_sensors
from physioedge.cli.levelling import level_on, lines_of
from physioedge.cli.progress import watched
from physioedge.cli.storing import DEVICE, add_store_options, open_store
from physioedge.cli.trying import Trying, answers_from
from physioedge.models.shipped import generator_of
from physioedge.sources.fitting import FittedSource
from physioedge.sources.protocol import Source
from physioedge.sources.recorded import RecordedSource
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.adaptation.adapting import CONFIRMED, TrialEnd
from physioedge_runtime.adaptation.condition import KINDS, Condition
from physioedge_runtime.adaptation.own_signal import LEVELLED
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.adaptation.session import NOT_ASKED, TRYING, Outcome, request_for
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.engine import Engine
from physioedge_runtime.errors import ConditionError

_EPILOG = """\
examples:
  physioedge adapt mine.csv --fs-hz 125 --units mV --bundle arrhythmia.physio --store adapters --preview
  physioedge adapt mine.csv ... --local shipped --key keys/private.pem
  physioedge adapt mine.csv ... --host https://host.example --device watch-7 --token-file watch-7.token
                   --adapter-trust host-public.pem    (public half of the host's signing key)
  physioedge adapt mine.csv ... --local shipped --key keys/private.pem --labels known.csv
  physioedge adapt mine.csv ... --level    (nobody is asked: a bias from the person's own signal)
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "adapt",
        help="make an adapter for the person of a recording, try it, keep it or not",
        description="Make a condition of the first part of a recording, ask for an adapter, try it on the next part "
        "under the bundle's change plan, and keep it or go back. With --level nobody is asked: a bias is taken from "
        "the first part and used on the rest. The exit code is 0 only when an adapter or a bias was kept. "
        "See docs/adapter.md.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("record", metavar="RECORD", help="as for `run`; 'shipped' for the one that came along")
    add_store_options(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--host", metavar="URL", help="ask this host; needs --device and --token-file")
    where.add_argument("--local", type=Path, metavar="GENERATOR", help="ask this generator, in this process: nothing "
                       "is sent anywhere; needs --key; 'shipped' for the task's own")  # fmt: skip
    where.add_argument("--level", action="store_true", help="ask nobody: take a bias from the person's own signal, "
                       "keep it, and say what it changes of the rest")  # fmt: skip
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the device's token")
    parser.add_argument("--key", type=Path, metavar="PEM", help="with --local: private key that signs the adapter; its "
                        "public half is trusted unless --adapter-trust says otherwise")  # fmt: skip
    parser.add_argument("--tries", type=_count, default=6, metavar="N", help="times the host is tried (default 6)")
    parser.add_argument("--collect", choices=KINDS, default=KINDS[0], help="what the condition is of (default "
                        f"{KINDS[0]})")  # fmt: skip
    parser.add_argument("--preview", action="store_true", help="print exactly what would be sent, and stop")
    parser.add_argument("--beside", action=argparse.BooleanOptionalAction, help="in the trial, run the model in use "
                        "on the same signal and judge by both, so that no change of the person is taken for the "
                        "adapter's (the default); else it is compared with the windows before")  # fmt: skip
    parser.add_argument("--labels", metavar="FILE", help="confirmed labels, of which the trial asks for a few where "
                        "the two differ: CSV with the head t_s,label, or - to be asked; needs --beside")  # fmt: skip
    parser.add_argument("--seconds", type=positive, default=300.0, metavar="S", help="signal before an adapter is "
                        "asked for, or a bias taken (default 300)")  # fmt: skip
    _add_signal_options(parser)
    parser.add_argument("--precision", choices=["int8", "fp32"], default="int8", help="graph of the bundle")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_signal_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--channel", action="append", metavar="NAME", help="as for `run`")
    parser.add_argument("--sensor", action="append", metavar="NAME=CHANNEL,...", help="as for `run`")
    parser.add_argument("--fs-hz", type=positive, help="sampling rate, where the file does not state it")
    parser.add_argument("--units", help="unit of the samples, where the file does not state it")
    parser.add_argument("--resample", choices=["polyphase"], help="convert the rate (never done unasked)")
    parser.add_argument("--convert-units", action="store_true", help="scale to the bundle's unit, as for `run`")
    parser.add_argument("--chunk-s", type=positive, metavar="S", default=0.25, help="signal per push (default 0.25)")


def run(args: argparse.Namespace) -> int:
    """Adapt; 0 when an adapter was confirmed, a bias kept, or the preview printed."""
    problem = _misuse(args)
    if problem:
        print(f"physioedge adapt: {problem}", file=sys.stderr)
        return 2
    bundle = Bundle.open(args.bundle, trust=args.trust)
    if args.local == Path(SHIPPED):
        args.local = generator_of(bundle.contract.task)
    ask, trust = way(args)
    source = _source(args, bundle.contract)

    def opened(engine: Engine | str = "onnxruntime") -> Stream:
        return _stream(args, bundle, source, engine)

    with open_store(args, bundle, trust) as store, opened() as stream:
        adaptation = CountingAdaptation.of(bundle, stream, store)
        for problem in store.problems:
            print(f"problem: {problem}", file=sys.stderr)
        if args.level:
            levelled = level_on(adaptation, _fed(source), args.seconds, lambda: opened(stream.engine))
            print_json(asdict(levelled)) if args.json else print(table(["what", "came"], lines_of(levelled)))
            return 0 if levelled.step == LEVELLED else 1
        answer = None if args.labels is None else answers_from(args.labels, bundle.contract.labels)
        second = (lambda: opened(stream.engine)) if args.beside is not False else None
        with Trying(adaptation, second, answer) as trying:
            told = _live(trying, adaptation, source, args, ask)
    if isinstance(told, Request):
        _preview(told, args.json)
        return 0
    row = asdict(told)
    print_json(row) if args.json else print(table(["what", "came"], row.items()))
    return 0 if told.step == CONFIRMED else 1


@dataclass(frozen=True, kw_only=True)
class Told:
    """What happened.

    Attributes
    ----------
    step : str
        ``confirmed``, ``reverted``, or where it stopped before a trial: as `Outcome.step`.
    serves, candidate : str
        Ids of the adapter in use from now on, and of the one tried; empty for none.
    reason : str
        Why.
    windows_before, windows_during : int
        Judged windows that the guard compared.
    signal_s : float
        Signal that was streamed.
    """

    step: str
    serves: str
    candidate: str = ""
    reason: str = ""
    windows_before: int = 0
    windows_during: int = 0
    signal_s: float = 0.0


def _live(
    trying: Trying, adaptation: CountingAdaptation, source: Source, args: argparse.Namespace, ask: Ask | None
) -> Told | Request:
    """Stream the recording as a device would, until there is something to tell."""
    stream, asked, at_s = adaptation.stream, False, 0.0
    for push in _fed(source):
        ended = trying.push(push)
        at_s = max(at_s, push.until_s)
        if ended is not None:
            return _ended(ended, at_s)
        if asked or at_s < args.seconds:
            continue
        if ask is None:
            return _request(adaptation, args.device)
        asked, outcome = True, ask(adaptation)
        if outcome.step != TRYING:
            return _not_tried(outcome, adaptation, at_s)
        trying.begins()
    if not asked:
        reason = f"the recording ended after {at_s:g} s, before the {args.seconds:g} s of --seconds"
        return Told(step=NOT_ASKED, serves=stream.adapter_id, reason=reason, signal_s=at_s)
    ended = trying.flush() or adaptation.abandon("the recording ended before a verdict")
    assert ended is not None  # a trial is under way, so that there is something to abandon
    return _ended(ended, at_s)


def _request(adaptation: CountingAdaptation, device: str) -> Request:
    try:
        return request_for(adaptation.stream, adaptation.store, device)
    except ConditionError as error:
        raise adaptation.explained(error) from error


def _source(args: argparse.Namespace, contract: Contract) -> Source:
    """The recording under the contract's names of sensors and channels, in its units where that was asked for."""
    said = Said(fs_hz=args.fs_hz, units=args.units, channels=args.channel, sensors=args.sensor)
    path = SHIPPED_RECORD if args.record == SHIPPED else Path(args.record)
    tracks = {name: (recording,) for name, recording in open_sensors(path, contract, said).items()}
    source = RecordedSource(tracks, chunk_s=args.chunk_s)
    return FittedSource(source, contract.sensors, renamed=said.renamed, convert_units=args.convert_units)


def _fed(source: Source) -> Iterator[Push]:
    """The recording in chunks, while it is shown how far it is."""
    total_s = max(sensor.duration_s or 0.0 for sensor in source.sensors.values())
    pushes = (Push(chunk.sensor, chunk.samples, chunk.t_s, chunk.until_s) for chunk in source.chunks())
    return watched("streaming the recording", total_s, pushes, lambda push: push.until_s)


def _ended(ended: TrialEnd, at_s: float) -> Told:
    seen, error = ended.verdict, f"; {ended.error}" if ended.error else ""
    return Told(
        step=ended.what, serves=ended.adapter_id, candidate=ended.candidate_id, reason=seen.reason + error,
        windows_before=seen.windows_before, windows_during=seen.windows_during, signal_s=at_s,
    )  # fmt: skip


def _not_tried(outcome: Outcome, adaptation: CountingAdaptation, at_s: float) -> Told:
    error = outcome.error
    if error is not None and outcome.step == NOT_ASKED:
        error = adaptation.explained(error)
    reason = "no answer" if error is None else f"[{error.code}] {error}"
    seen = adaptation.guard.windows_before
    return Told(step=outcome.step, serves=outcome.adapter_id, reason=reason, windows_before=seen, signal_s=at_s)


def _stream(args: argparse.Namespace, bundle: Bundle, source: Source, engine: Engine | str) -> Stream:
    """With slots; where nobody is asked, any graph will do, and no condition is collected."""
    variants = {(graph.precision, graph.adapters) for graph in bundle.manifest.graphs}
    merged = args.level and (args.precision, "slots") not in variants
    sensors = source.sensors
    return Stream(
        bundle,
        fs_hz={name: sensor.fs_hz for name, sensor in sensors.items()},
        units={name: sensor.units for name, sensor in sensors.items()},
        resample=dict.fromkeys(sensors, "polyphase" if args.record == SHIPPED else args.resample),
        channels={name: sensor.channels for name, sensor in sensors.items()},
        adapters="merged" if merged else "slots",
        precision=args.precision,
        engine=engine,
        collect=None if args.level else args.collect,
    )


def _preview(request: Request, as_json: bool) -> None:
    """All that would leave the device, but for the token and a random number."""
    condition = Condition.from_bytes(request.condition)
    if as_json:
        numbers = {"mean": condition.mean.tolist(), "deviation": condition.deviation.tolist()}
        head = {"device": request.device, "counter": request.counter, "bytes": len(request.condition)}
        body = base64.b64encode(request.condition).decode()
        print_json({**head, "condition": {**vars(condition), **numbers}, "body_base64": body})
        return
    print(f"device: {request.device}\ncounter: {request.counter}\nnonce: 32 random hex digits, new for each request")
    print(condition.preview())


def _misuse(args: argparse.Namespace) -> str:
    """What is wrong with the options together, or nothing."""
    if args.host is not None and (args.token_file is None or args.device == DEVICE):
        return "--host needs --device and --token-file"
    if args.local is not None and args.key is None:
        return "--local needs --key"
    if args.beside is False and args.labels is not None:
        return "--labels tell the two apart that run side by side: there are none with --no-beside"
    if (args.level or args.preview) and (args.beside is not None or args.labels is not None):
        return "--beside and --labels are of a trial: there is none with --level or --preview"
    if args.level and args.preview:
        return "--level sends nothing: there is no --preview of it"
    if args.host is None and args.local is None and not args.preview and not args.level:
        return "say whom to ask: --host URL, or --local GENERATOR; look first with --preview; or ask nobody: --level"
    return ""


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
