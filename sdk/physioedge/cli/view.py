"""``physioedge view``: a recording or a live source in a browser page, judged as it comes."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from physioedge.cli.choices import ENGINES
from physioedge.cli.console import SHIPPED, SHIPPED_BUNDLE, positive
from physioedge.cli.storing import DEVICE, bundle_path
from physioedge.cli.view_ask import Asking, asking
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.condition import EMBEDDING
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine import Engine

if TYPE_CHECKING:
    from physioedge.sources.protocol import SensorInfo
    from physioedge.view.feed import Feed
    from physioedge.view.person import Open, Person

_EPILOG = """\
examples:
  physioedge view
  physioedge view wrist
  physioedge view mine.csv --fs-hz 125 --units mV --resample polyphase --speed 10
  physioedge view brainflow:synthetic --channel MLII=ecg1 --convert-units --resample polyphase
  physioedge view mine.csv ... --host https://host.example --device watch-7 --token-file watch-7.token
                  --adapter-trust host-public.pem    (public half of the host's signing key)

It listens on 127.0.0.1 alone. From another machine: ssh -L 8765:127.0.0.1:8765 there, and open the printed address.
"""
PORT = 8765


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "view",
        help="watch a signal judged as it comes, in a browser page",
        description="Serve a page on this machine that shows a signal, its labels, its quality, which adapter serves "
        "and how long judging takes, and from which a model is levelled, adapted, rolled back and pinned. Needs no "
        "network. Not a medical device.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("record", metavar="SOURCE", nargs="?", default=SHIPPED, help="file or live sensor, as for "
                        "`run`; without it, the ECG that came along; 'wrist': the wristband that did; 'stress': an "
                        "hour with one, of the weights")  # fmt: skip
    parser.add_argument("--bundle", type=bundle_path, metavar="FILE", help="bundle file (default: the shipped one)")
    parser.add_argument("--trust", type=Path, metavar="PEM", help="who may sign bundles (default: the shipped keys)")
    _add_signal_options(parser)
    _add_adapter_options(parser)
    parser.add_argument("--port", type=_port, default=PORT, metavar="N", help=f"port of 127.0.0.1 (default {PORT}; 0: "
                        "any free one)")  # fmt: skip
    parser.add_argument("--no-open", action="store_true", help="do not open the page in a browser")
    parser.add_argument("--json", action="store_true", help="print the address as JSON")


def _add_signal_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--channel", action="append", metavar="NAME", help="channel to show, as for `run`; again for "
                        "more than one (default: all)")  # fmt: skip
    parser.add_argument("--sensor", action="append", metavar="NAME=CHANNEL,...", help="as for `run`")
    parser.add_argument("--fs-hz", type=positive, help="sampling rate, where the file does not state it")
    parser.add_argument("--units", help="unit of the samples, where the file does not state it")
    parser.add_argument("--resample", choices=["polyphase"], help="convert the rate (never done unasked)")
    parser.add_argument("--convert-units", action="store_true", help="scale to the bundle's unit, as for `run`")
    parser.add_argument("--precision", choices=["int8", "fp32"], default="int8", help="graph of the bundle")
    parser.add_argument("--engine", metavar="ENGINE", choices=ENGINES, default="auto", help="one of %(choices)s; "
                        "default auto: executorch where it is built")  # fmt: skip
    parser.add_argument("--speed", type=positive, default=1.0, metavar="X", help="to begin with: 1, 2, 5, 10, 20 or 60 "
                        "times as fast as life (default 1)")  # fmt: skip
    parser.add_argument("--loop", action="store_true", help="begin anew at the end of the recording")


def _add_adapter_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, metavar="DIR", help="folder of the person's adapters (default: a "
                        "temporary one, erased at the end)")  # fmt: skip
    parser.add_argument("--device", metavar="ID", default=DEVICE, help="who this device is: adapters are bound to it "
                        f"(default {DEVICE!r})")  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--host", metavar="URL", help="host that `Adapt` asks; needs --device and --token-file")
    where.add_argument("--local", type=Path, metavar="GENERATOR", help="generator that `Adapt` asks, in this process "
                       "(default: the shipped one, where it is of the bundle's task)")  # fmt: skip
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the device's token")
    parser.add_argument("--adapter-trust", type=Path, metavar="PEM", help="who may sign adapters (default: as --trust; "
                        "of a generator here, a key made for this run)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; 0 when it was stopped in an orderly way."""
    from physioedge.cli.view_feed import opened
    from physioedge.view.session import SPEEDS

    if args.speed not in SPEEDS:
        speeds = ", ".join(f"{speed:g}" for speed in SPEEDS)
        print(f"physioedge view: --speed {args.speed:g}: one of {speeds}", file=sys.stderr)
        return 2
    if args.host is not None and (args.token_file is None or args.device == DEVICE):
        print("physioedge view: --host needs --device and --token-file", file=sys.stderr)
        return 2
    bundle = _bundle(args)
    ask = asking(args, bundle)
    with opened(args, bundle.contract) as (feed, title), _store(args, bundle, ask) as store:
        return _serve(args, bundle, feed, title, _person(args, bundle, feed.sensors, store, ask), ask)


def _bundle(args: argparse.Namespace) -> Bundle:
    """What was named, or what judges a recording that came along, or the shipped one."""
    from physioedge.cli.view_feed import came_along

    along = came_along(args.record) if args.bundle is None else None
    if along is None:
        return Bundle.open(args.bundle or SHIPPED_BUNDLE, trust=args.trust)
    return Bundle.open(along.bundle, trust=args.trust or along.trust)


def _serve(args: argparse.Namespace, bundle: Bundle, feed: Feed, title: str, person: Person, ask: Asking) -> int:
    from physioedge.view import shown
    from physioedge.view.board import Board
    from physioedge.view.serving import PageServer
    from physioedge.view.session import SPEEDS, Session

    cannot = person.cannot()
    if "adapt" in cannot and ask.reason:
        cannot["adapt"] = ask.reason
    board = Board(shown.about(bundle, feed, title=title, speeds=SPEEDS, cannot=cannot))
    session = Session(person, feed, board, speed=args.speed)
    server = PageServer(session, port=args.port, ready=lambda url: _ready(args, url))
    with contextlib.suppress(KeyboardInterrupt):  # how one stops it
        server.run()
    return 0


def _ready(args: argparse.Namespace, url: str) -> None:
    from physioedge.cli.demo import can_open

    if args.json:
        print(json.dumps({"url": url}), flush=True)
    else:
        print(f"Open {url}\nStop with Ctrl-C. Not a medical device: for research and development only.", flush=True)
    if not args.no_open and can_open():
        webbrowser.open(url)


@contextlib.contextmanager
def _store(args: argparse.Namespace, bundle: Bundle, ask: Asking) -> Iterator[AdapterStore]:
    target, trust = Target.of(bundle, device=args.device), args.adapter_trust or ask.trust or args.trust
    with TemporaryDirectory(prefix="physioedge-view-") as folder:
        place = Path(folder) / "adapters" if args.store is None else args.store
        with AdapterStore.open(place, target=target, trust=trust) as store:
            for problem in store.problems:
                print(f"problem: {problem}", file=sys.stderr)
            yield store


def _person(
    args: argparse.Namespace, bundle: Bundle, sensors: Mapping[str, SensorInfo], store: AdapterStore, ask: Asking
) -> Person:
    from physioedge.view.person import Person

    open_stream = _opener(args, bundle, sensors)
    return Person(bundle, open_stream, engine=args.engine, store=store, ask=ask.ask, device=args.device)


def _opener(args: argparse.Namespace, bundle: Bundle, sensors: Mapping[str, SensorInfo]) -> Open:
    """With slots and a condition, where the bundle has both for the precision asked for."""
    slots = (args.precision, "slots") in {(graph.precision, graph.adapters) for graph in bundle.manifest.graphs}
    from physioedge.cli.view_feed import came_along

    resample = "polyphase" if came_along(args.record) else args.resample

    def opened(engine: Engine | str) -> Stream:
        return Stream(
            bundle,
            fs_hz={name: one.fs_hz for name, one in sensors.items()},
            units={name: one.units for name, one in sensors.items()},
            resample=dict.fromkeys(sensors, resample),
            channels={name: one.channels for name, one in sensors.items()},
            adapters="slots" if slots else "merged",
            precision=args.precision,
            engine=engine,
            collect=EMBEDDING if slots else None,
        )

    return opened


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)
