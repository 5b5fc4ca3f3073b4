"""Plain data and NumPy arrays out of pickle files, without running anything that is in them.

WESAD and PPG-DaLiA are distributed as pickles. A pickle is a program: it may name any function and call it. Here the
few names that a file of arrays needs are answered by stand-ins of this module, every other name is refused, and arrays
are built from their bytes only after type, shape and size have been checked. Python 2 files are read too.

Source: the pickle protocols, https://docs.python.org/3/library/pickle.html#restricting-globals
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import RecordError

MAX_BYTES = 1 << 32
MAX_DEPTH = 32
KINDS = "biufSU"
"""Kinds of NumPy types that are read: truth values, numbers and text; never objects."""

_REFUSED = (pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, OverflowError, EOFError,
            MemoryError, RecursionError, struct.error)  # fmt: skip


def read_pickle(path: Path) -> Any:
    """Content of a pickle of dictionaries, lists, tuples, text, numbers and arrays.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Any
        The same tree; arrays are read-only. Text of Python 2 comes as str, decoded as Latin-1.

    Raises
    ------
    RecordError
        Unreadable, truncated, over 4 GiB, or it names something else than arrays of numbers or text: such a file
        could run code and is not read.
    """
    do = "Download the file again; convert other content to .npz with the program that wrote it."
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RecordError(f"{path}: {size} bytes", f"at most {MAX_BYTES}", do)
        with path.open("rb") as file:
            return _plain(_Reader(file, encoding="latin1").load(), {}, 0)
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}", "a readable pickle file", "Check the path.") from error
    except _REFUSED as error:
        said = str(error) if isinstance(error, pickle.UnpicklingError) else f"damaged or cut off ({error!r})"
        came = f"{path}: {said}"
        raise RecordError(came, "a pickle of plain data and numeric arrays", do) from error


class _Name:
    """A name the file may use. It can be called, and nothing about it can be changed."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer = answer

    def __call__(self, *given: Any) -> Any:
        return self._answer(*given)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a state for a function")


class _Type:
    """Stand-in for ``numpy.dtype``."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str):
            raise pickle.UnpicklingError(f"array type {code!r}")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in KINDS or self.dtype.subdtype is not None or self.dtype.itemsize == 0:
            raise pickle.UnpicklingError(f"arrays of type {code!r}")

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise pickle.UnpicklingError("an array type of unknown form")
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array type with fields")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stand-in for an array until its state comes."""

    __slots__ = ("values",)

    def __init__(self, *_: Any) -> None:
        self.values: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, raw = state[-4:]  # a version number may come before them
        self.values = _build(raw, dtype, shape, "F" if fortran else "C")


def _build(raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    """Array of `raw`, if its size is what type and shape say."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(raw, (bytes, bytearray)) or not isinstance(dtype, _Type) or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array whose content is no block of numbers")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise pickle.UnpicklingError(f"an array of shape {shape!r}")
    if math.prod(shape) * dtype.dtype.itemsize != len(raw):
        raise pickle.UnpicklingError(f"{len(raw)} bytes for an array {shape} of {dtype.dtype}")
    values = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)
    values.flags.writeable = False
    return values


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    found = _Array()
    found.values = _build(raw, dtype, shape, order)
    return found


def _scalar(dtype: Any, raw: Any) -> Any:
    return _build(raw, dtype, (), "C").item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in encoding {encoding!r}")
    return text.encode("latin1")


def _empty(*given: Any) -> bytes:
    if given:
        raise pickle.UnpicklingError("bytes made of something else")
    return b""


def _no_call(*_: Any) -> Any:
    raise pickle.UnpicklingError("a call of numpy.ndarray")


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _no_call,  # only ever handed to _reconstruct
    ("_codecs", "encode"): _encode,
    **{(module, "bytes"): _empty for module in ("builtins", "__builtin__")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Reader(pickle._Unpickler):
    """Answers the names of `_NAMES` and no other.

    In Python, not in C: the C reader reserves gigabytes for a file of eleven bytes that says so.
    """

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in for the name, never what the name means to Python."""
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _Name(_NAMES[module, name])


def _plain(item: Any, done: dict[int, tuple[Any, Any]], depth: int) -> Any:
    """The tree with arrays in place of stand-ins; what is shared is walked once."""
    if depth > MAX_DEPTH:
        raise pickle.UnpicklingError(f"nesting deeper than {MAX_DEPTH}")
    if item is None or type(item) in (str, bytes, bytearray, int, float, bool, complex):
        return item
    if isinstance(item, _Array) and item.values is not None:
        return item.values
    if id(item) in done:
        return done[id(item)][1]
    if type(item) in (list, tuple):
        found: Any = type(item)(_plain(part, done, depth + 1) for part in item)
    elif type(item) is dict:
        if not all(type(key) in (str, bytes, int, float) for key in item):
            raise pickle.UnpicklingError("a dictionary key that is neither text nor number")
        found = {key: _plain(value, done, depth + 1) for key, value in item.items()}
    else:
        raise pickle.UnpicklingError(f"a {type(item).__name__.strip('_')} where data should be")
    done[id(item)] = (item, found)
    return found
