"""``physioedge serve``: be the host that turns conditions into signed adapters."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioedge.cli.console import SHIPPED, counted
from physioedge_runtime.errors import HostError, PhysioEdgeError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from physioedge.generator.files import Generator
    from physioedge.host.serving import Listening
    from physioedge.host.settings import HostSettings

SHIPS = ("arrhythmia", "stress")
"""Tasks whose generators come with the weights."""
_EPILOG = """\
tokens: a JSON file with the SHA-256 of each device's token, {"watch-7": "<64 hex digits>"}. To make one:
  openssl rand -hex 32 | tr -d '\\n' | tee watch-7.token | sha256sum

examples:
  physioedge serve --generator shipped --key keys/private.pem --tokens tokens.json
  physioedge serve ... --host 0.0.0.0 --port 443 --certificate host.pem --certificate-key host.key
  physioedge serve ... --replicas 4 --cache redis://127.0.0.1/0     # a fleet on this machine, see docs/scale.md

SIGHUP takes what the file of --key holds now; SIGTERM ends, when what is under way is finished.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "serve",
        help="be the host that turns conditions into signed adapters",
        description="Serve POST /v1/adaptations, /healthz, /metrics and /openapi.json until stopped. Conditions and "
        "adapters are never written to disk or logged. See docs/host.md.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--generator", type=Path, required=True, metavar="FILE", help="trained generator, or "
                        "'shipped' for one that came with the weights")  # fmt: skip
    parser.add_argument("--task", choices=SHIPS, default=SHIPS[0], help="of --generator shipped: what the devices "
                        "judge (default arrhythmia)")  # fmt: skip
    parser.add_argument("--key", type=Path, required=True, metavar="PEM", help="private key that signs adapters")
    parser.add_argument("--tokens", type=Path, required=True, metavar="FILE", help="devices and their tokens' digests")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default 8080)")
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="certificate, for TLS")
    parser.add_argument("--certificate-key", type=Path, metavar="PEM", help="its private key")
    parser.add_argument("--behind-proxy", action="store_true", help="all connections come from a proxy, which counts "
                        "those of each address instead")  # fmt: skip
    parser.add_argument("--cache", metavar="URL", help="Redis that hosts share answers through, redis://... (default: "
                        "none, each has its own)")  # fmt: skip
    parser.add_argument("--replicas", type=counted, metavar="N", help="so many hosts behind one door, by Ray Serve")
    parser.add_argument("--address", help="of --replicas: Ray cluster to join (default: this machine alone)")
    parser.add_argument("--max-batch", type=int, metavar="N", help="conditions computed together, 1 for one by one "
                        "(default 16)")  # fmt: skip
    parser.add_argument("--steps", type=counted, metavar="N", help="of a diffusion generator's sampler (default: as "
                        "the file says)")  # fmt: skip
    parser.add_argument("--draws", type=counted, metavar="N", help="of diffusion, whose mean is the answer (default: "
                        "as the file says)")  # fmt: skip
    parser.add_argument("--valid-days", type=int, metavar="N", help="how long adapters may be accepted (default 30)")
    parser.add_argument("--json", action="store_true", help="say on stdout, as JSON, what is served and where")


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; 0 when it was stopped in an orderly way."""
    from physioedge.host.settings import HostSettings, read_tokens

    settings = HostSettings(tokens=read_tokens(args.tokens))
    if args.valid_days is not None:
        settings = replace(settings, valid_s=args.valid_days * 86_400)
    if args.max_batch is not None:
        settings = replace(settings, max_batch=args.max_batch)
    if args.behind_proxy or args.replicas is not None:
        settings = settings.behind_proxy()
    if args.address is not None and args.replicas is None:
        raise HostError("an --address without --replicas", "both", "Say how many replicas the cluster is to have.")
    return _serve_alone(args, settings) if args.replicas is None else _serve_many(args, settings)


def _application(args: argparse.Namespace, settings: HostSettings, key: Path) -> FastAPI:
    from physioedge.host.app import create_app
    from physioedge.models.shipped import generator_of

    cache = None
    if args.cache is not None:
        from physioedge.host.redis_cache import RedisCache

        cache = RedisCache(args.cache, settings.cache_ttl_s)
    path = generator_of(args.task) if args.generator == Path(SHIPPED) else args.generator
    return create_app(_generator(path, args.steps, args.draws), key, settings, cache=cache)


def _listening(args: argparse.Namespace) -> Listening:
    from physioedge.host.serving import Listening

    return Listening(host=args.host, port=args.port, certificate=args.certificate, certificate_key=args.certificate_key)


def _say(args: argparse.Namespace, settings: HostSettings, port: int) -> None:
    """What is served and where, once it is listened there."""
    devices, tls = len(settings.tokens), args.certificate is not None
    if args.json:
        where = {"host": args.host, "port": port, "tls": tls}
        print(json.dumps({"devices": devices, **where, "replicas": args.replicas or 1}), flush=True)
    else:
        print(f"{devices} devices, {'TLS' if tls else 'no TLS'}, port {port} of {args.host}", file=sys.stderr)


def _serve_alone(args: argparse.Namespace, settings: HostSettings) -> int:
    from physioedge.host.serving import server, taking_new_keys

    listening = _listening(args)
    app = _application(args, settings, args.key)
    service = server(app, listening)
    with ExitStack() as held:
        sockets = [held.enter_context(one) for one in listening.sockets()]
        _say(args, settings, sockets[0].getsockname()[1])
        held.enter_context(taking_new_keys(args.key, app.state.service.sign_with))
        service.run(sockets)
    return 0 if service.started else 1


def _serve_many(args: argparse.Namespace, settings: HostSettings) -> int:
    from physioedge.host.fleet import Fleet, fleet, serve_until_stopped

    def build(key: Path) -> FastAPI:
        return _application(args, settings, key)

    many = Fleet(replicas=args.replicas, address=args.address)
    with fleet(build, args.key, _listening(args), many) as running:
        _say(args, settings, args.port)
        print(f"{args.replicas} replicas", file=sys.stderr)
        serve_until_stopped(running, args.key)
    return 0


def _generator(path: Path, steps: int | None, draws: int | None) -> Generator:
    """The generator of a file, sampled as asked for."""
    from physioedge.generator.files import DIT, load_generator

    generator = load_generator(path)
    changed = {name: value for name, value in (("steps", steps), ("samples", draws)) if value is not None}
    if not changed:
        return generator
    if generator.kind != DIT:
        raise PhysioEdgeError(
            f"--steps or --draws for a generator of kind {generator.kind}", f"one of kind {DIT}", "Leave them out."
        )
    weights: Any = generator.weights
    return replace(generator, weights=replace(weights, sampling=replace(weights.sampling, **changed)))
