"""From a name on the command line to a sink."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from physioedge.sinks.protocol import Sink
from physioedge.sinks.rows import FORMATS
from physioedge.sinks.text import TextSink
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import SinkError

GROUP = "physioedge.sinks"
"""Entry points of other packages: name is the scheme, value a callable ``(address, contract) -> Sink``."""
_SUFFIXES: Mapping[str, str] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_KNOWN = "jsonl:FILE, csv:FILE, table:FILE (- for the terminal), FILE.jsonl, FILE.csv, lsl:NAME, mqtt://HOST/TOPIC"


def open_sink(name: str, contract: Contract, *, on_lsl_clock: bool = False) -> Sink:
    """A sink, not yet entered.

    Parameters
    ----------
    name : str
        ``jsonl:PATH``, ``csv:PATH``, ``table:PATH`` with ``-`` for standard output; a path that ends in ``.jsonl`` or
        ``.csv``; ``lsl:NAME``; ``mqtt://HOST/TOPIC`` or ``mqtts://``; or the scheme of a plug-in.
    contract : Contract
    on_lsl_clock : bool
        Whether results count time by LSL's clock.

    Raises
    ------
    SinkError
        No sink of this name.
    MissingExtra
        A package is not installed.
    """
    scheme, colon, rest = name.partition(":")
    if not colon:
        scheme, rest = _SUFFIXES.get(Path(name).suffix.lower(), ""), name
    if scheme in FORMATS and rest:
        return TextSink(scheme, contract, sys.stdout if rest == "-" else Path(rest))
    if scheme == "lsl" and rest:
        from physioedge.sinks.lsl_markers import LslMarkers

        return LslMarkers(rest, contract, on_lsl_clock=on_lsl_clock)
    if scheme in ("mqtt", "mqtts"):
        from physioedge.sinks.mqtt import MqttSink

        return MqttSink(name, contract)
    for point in entry_points(group=GROUP):
        if point.name == scheme:
            made: Callable[[str, Contract], Sink] = point.load()
            return made(rest, contract)
    raise SinkError(f"sink {name!r}", f"one of {_KNOWN}", "See docs/sources.md.")
