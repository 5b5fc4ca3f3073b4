"""Whom the live page's `Adapt` asks: a host, a generator in this process, or nobody."""

from __future__ import annotations

import argparse
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from physioedge.cli.console import SHIPPED
from physioedge.models.shipped import generator_of
from physioedge_runtime import Bundle
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError

if TYPE_CHECKING:
    from physioedge.host.making import AdapterMaker
    from physioedge.view.person import Ask

_VALID_S = 86_400
_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Who answers, who may sign, and why nobody answers where nobody does."""

    ask: Ask | None
    trust: bytes | None = None
    reason: str = ""


def asking(args: argparse.Namespace, bundle: Bundle) -> Asking:
    """What the options say; without any, the shipped generator of the bundle's task, where one is here.

    Raises
    ------
    PhysioEdgeError
        What was named cannot be used.
    OSError
        The token's file cannot be read.
    """
    if args.host is not None:
        token = args.token_file.read_text(encoding="utf-8").strip()
        link = Link(args.host, args.device, token, retry=Retry(tries=_TRIES))
        return Asking(ask=link.send)
    task = bundle.contract.task
    if args.local is not None:
        return _here(generator_of(task) if args.local == Path(SHIPPED) else args.local)
    if not bundle.contract.slots:
        return Asking(ask=None)
    try:
        path = generator_of(task)
        if not path.exists():
            return Asking(ask=None, reason=f"No generator for {task} came along; name one with --local, or a --host.")
        return _here(path)
    except (MissingExtra, ModuleNotFoundError):
        return Asking(ask=None, reason="Asking needs a --host, or the extra host: pip install 'physioedge[host]'")


def _here(path: Path) -> Asking:
    """A generator in this process, and a key that is made now and kept nowhere."""
    from physioedge.generator.files import load_generator
    from physioedge.host.making import AdapterMaker

    key = secrets.token_bytes(32)
    maker = AdapterMaker(load_generator(path), key, _VALID_S, time.time)
    return Asking(ask=lambda request: _made(maker, request), trust=public_key(key))


def _made(maker: AdapterMaker, request: Request) -> bytes:
    from physioedge.host.making import Job

    made = maker.make([Job(request=request, condition=Condition.from_bytes(request.condition))])[0]
    if isinstance(made, bytes):
        return made
    if isinstance(made, PhysioEdgeError):
        raise made
    raise PhysioEdgeError(f"a generator that failed ({type(made).__name__}: {made})", "an adapter", "Try another.")
