"""Frozen dataclasses from plain JSON values, with the kind of every field checked."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

_T = TypeVar("_T")


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
