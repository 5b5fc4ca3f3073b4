"""From JSON to plain values and frozen dataclasses, with the kind of every field checked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

_T = TypeVar("_T")
MAX_JSON_VALUES = 16_384
"""Commas and opening brackets in a text, those in strings included: parsed values take up to 30 times their text."""
MAX_JSON_DEPTH = 32

Fail = Callable[[str, str], NoReturn]
"""Raises the caller's error about what came and what was expected."""


def load_object(data: bytes, fail: Fail, max_values: int = MAX_JSON_VALUES) -> dict[str, Any]:
    """The object in ASCII JSON bytes; keys that come twice, NaN and infinities go to `fail`.

    So do texts of more than `max_values` values, before they are parsed, and of more than `MAX_JSON_DEPTH` levels,
    which are no trouble for the parser but for whatever walks through them later.
    """
    if sum(map(data.count, (b",", b"{", b"["))) > max_values:
        fail(f"JSON of more than {max_values} values", f"at most {max_values}")
    try:
        values = json.loads(
            data.decode("ascii"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        fail(f"no usable JSON ({type(error).__name__})", "ASCII JSON, each key once, finite numbers")
    if not isinstance(values, dict):
        fail(f"a {type(values).__name__}", "an object")
    level: list[Any] = [values]
    for _ in range(MAX_JSON_DEPTH):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        level = [value for value in level if isinstance(value, (dict, list))]
    if level:
        fail(f"JSON of more than {MAX_JSON_DEPTH} levels", f"at most {MAX_JSON_DEPTH}")
    return values


def check_kinds(what: str, values: Any, wanted: Mapping[str, type], fail: Fail) -> None:
    """All wanted keys of their kinds and no others; an int may stand for a float, a bool for neither."""
    if not isinstance(values, dict) or set(values) != set(wanted):
        keys = sorted(values) if isinstance(values, dict) else type(values).__name__
        fail(f"{what} with {keys!s:.200}", f"exactly {sorted(wanted)}")
    for key, kind in wanted.items():
        kinds = (int, float) if kind is float else (kind,)
        if type(values[key]) not in kinds:
            fail(f"{what}.{key} = {values[key]!r:.80}", f"a value of kind {kind.__name__}")


def build(kind: type[_T], values: Any) -> _T:
    """A dataclass of JSON values; fields of other dataclasses must have been built already.

    Raises
    ------
    TypeError
        A field is missing, unknown or of the wrong kind.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} given as {type(values).__name__}")
    known = {f.name: str(f.type) for f in fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - set(known)
    if unknown:
        raise TypeError(f"unknown field {sorted(unknown)[0]!r} in {kind.__name__}")
    return kind(**{key: _typed(f"{kind.__name__}.{key}", known[key], value) for key, value in values.items()})


def build_all(kind: type[_T], values: Any) -> tuple[_T, ...]:
    """A dataclass for each element of a JSON list; TypeError as `build`."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{type(values).__name__} where a list of {kind.__name__} belongs")
    return tuple(build(kind, value) for value in values)


def _typed(name: str, kind: str, value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "str" and not isinstance(value, str):
        raise TypeError(f"{name} = {value!r:.80} where text belongs")
    if kind == "int" and not (number and isinstance(value, int)):
        raise TypeError(f"{name} = {value!r:.80} where a whole number belongs")
    if kind == "float":
        if not number:
            raise TypeError(f"{name} = {value!r:.80} where a number belongs")
        return float(value)
    if kind.startswith("tuple["):
        item = kind[len("tuple[") :].split(",")[0]
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{name} = {value!r:.80} where a list belongs")
        return tuple(_typed(name, item, v) if item in ("str", "int", "float") else v for v in value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # such as 1e999
        raise ValueError(f"{text:.40} is beyond all numbers")
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")
