"""Whom ``physioedge adapt`` asks for an adapter: a host, or a generator in this very process."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from physioedge.host.making import AdapterMaker, Job
from physioedge_runtime.adaptation.adapting import Adaptation
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.adaptation.session import NOT_ASKED, REFUSED, Outcome, request_for
from physioedge_runtime.bundle.signing import public_key, read_private_key
from physioedge_runtime.errors import PhysioEdgeError

Ask = Callable[[Adaptation], Outcome]
_VALID_S = 30 * 86_400


def way(args: argparse.Namespace) -> tuple[Ask | None, Path | bytes | None]:
    """How an adapter is asked for, None for nobody; and who may sign it, where that follows from the options.

    Raises
    ------
    PhysioEdgeError
        A key, a generator, an address or a token cannot be used.
    OSError
        The token's file cannot be read.
    """
    if args.preview or (args.host is None and args.local is None):
        key = None if args.key is None else public_key(read_private_key(args.key))
        return None, args.adapter_trust or key
    if args.host is not None:
        token = args.token_file.read_text(encoding="utf-8").strip()
        link = Link(args.host, args.device, token, retry=Retry(tries=args.tries))
        return (lambda adaptation: adaptation.adapt(link)), args.adapter_trust
    from physioedge.generator.files import load_generator  # needs a package that asking a host does not

    private = read_private_key(args.key)
    maker = AdapterMaker(load_generator(args.local), private, _VALID_S, time.time)
    return (lambda adaptation: _ask_here(adaptation, maker, args.device)), args.adapter_trust or public_key(private)


def _ask_here(adaptation: Adaptation, maker: AdapterMaker, device: str) -> Outcome:
    """As a host would be asked, without one: the request never leaves this process."""
    stream, store = adaptation.stream, adaptation.store
    try:
        request = request_for(stream, store, device)
    except PhysioEdgeError as error:
        return Outcome(step=NOT_ASKED, adapter_id=stream.adapter_id, error=error)
    made = maker.make([Job(request=request, condition=Condition.from_bytes(request.condition))])[0]
    if isinstance(made, PhysioEdgeError):
        return Outcome(step=REFUSED, adapter_id=stream.adapter_id, error=made)
    if isinstance(made, Exception):
        raise made
    return adaptation.install(made)
