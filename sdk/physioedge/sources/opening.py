"""From a name on the command line to an open source: a path, or ``scheme:address?key=value``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import parse_qsl

from physioedge.sources.protocol import Source, Told
from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.errors import SourceError

GROUP = "physioedge.sources"
"""Entry points of other packages: name is the scheme, value a callable like those of `OPENERS`."""
Opener = Callable[[str, Mapping[str, str], Sequence[SensorSpec], Told], Source]
HEART_RATE, POLAR = "heart-rate", "polar-h10"


def split_name(name: str) -> tuple[str, str, dict[str, str]] | None:
    """Scheme, address and parameters of a live source; None for a path."""
    scheme, colon, rest = name.partition(":")
    if not colon or scheme not in (*OPENERS, *(point.name for point in entry_points(group=GROUP))):
        return None
    address, _, query = rest.partition("?")
    return scheme, address.removeprefix("//"), dict(parse_qsl(query, keep_blank_values=True))


def is_live(name: str) -> bool:
    """Whether a name is that of a live source rather than a path. An existing file of that name is a file."""
    return not Path(name).exists() and split_name(name) is not None


def open_live(name: str, wanted: Sequence[SensorSpec], told: Told) -> Source:
    """A live source, found and described but not yet streaming.

    Parameters
    ----------
    name : str
        As ``lsl:NAME``, ``brainflow:synthetic``, ``ble:polar-h10/ADDRESS``.
    wanted : sequence of SensorSpec
        What it is to stand for.
    told : Told

    Raises
    ------
    SourceError
        No source of this name, or it cannot be found.
    SignalError, MissingExtra
        As the source says.
    """
    found = split_name(name)
    if found is None:
        raise SourceError(
            f"source {name!r}", f"a path or one of {', '.join(f'{key}:' for key in OPENERS)}", "Name one."
        )
    scheme, address, params = found
    opener = OPENERS.get(scheme) or next(point for point in entry_points(group=GROUP) if point.name == scheme).load()
    source: Source = opener(address, params, wanted, told)
    return source


def _lsl(address: str, params: Mapping[str, str], wanted: Sequence[SensorSpec], told: Told) -> Source:
    from physioedge.sources.lsl_inlet import LslSource

    _none_of("lsl", params)
    return LslSource(address, wanted, told)


def _brainflow(address: str, params: Mapping[str, str], wanted: Sequence[SensorSpec], told: Told) -> Source:
    from physioedge.sources.brainflow_board import BrainFlowSource

    return BrainFlowSource(address, params, wanted, told)


def _ble(address: str, params: Mapping[str, str], wanted: Sequence[SensorSpec], told: Told) -> Source:
    from physioedge.sources.straps import HeartRateSource, PolarSource

    kind, _, device = address.partition("/")
    if kind == HEART_RATE:
        _none_of(f"ble:{HEART_RATE}", params)
        return HeartRateSource(device, wanted, told)
    if kind == POLAR:
        acc_hz = params.get("acc_hz", "0")
        _none_of(f"ble:{POLAR}", {key: value for key, value in params.items() if key != "acc_hz"})
        return PolarSource(device, wanted, told, acc_hz=int(acc_hz) if acc_hz.isdecimal() else -1)
    raise SourceError(f"ble:{kind}", f"ble:{HEART_RATE} or ble:{POLAR}, then /ADDRESS", "Name one of these.")


def _none_of(scheme: str, params: Mapping[str, str]) -> None:
    if params:
        raise SourceError(f"{scheme} with {', '.join(params)}", "no such parameters", "Leave them out.")


OPENERS: Mapping[str, Opener] = {"lsl": _lsl, "brainflow": _brainflow, "ble": _ble}
