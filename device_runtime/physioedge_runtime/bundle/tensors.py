"""Named arrays in the safetensors format, read and written with numpy alone.

Source of the format: https://github.com/huggingface/safetensors (README, "Format"). Of its types only those a bundle
needs are taken, and of its freedoms none: no holes, no overlap, no trailing bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import FormatError

MAX_HEADER_BYTES = 1024 * 1024
MAX_TENSORS = 4096
MAX_RANK = 8
MAX_VALUES = {b"{": MAX_TENSORS + 2, b"[": 2 * MAX_TENSORS, b",": 13 * MAX_TENSORS}
"""What a header of `MAX_TENSORS` arrays needs: anything beyond is not even parsed, since it would take 30 times its
text in memory."""
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "I8": np.dtype("i1"), "F16": np.dtype("<f2"),
}  # fmt: skip
BUNDLE_TYPES = ("F32", "I64", "I8")
ADAPTER_TYPES = ("F32", "F16")


def read_tensors(data: bytes | memoryview, types: Sequence[str] = BUNDLE_TYPES) -> dict[str, NDArray[Any]]:
    """Arrays by name, each a copy of its own.

    Parameters
    ----------
    data : bytes
        The whole file.
    types : sequence of str
        Which types may occur.

    Raises
    ------
    FormatError
        Truncated, over a limit, or offsets, shapes and types that do not add up.
    """
    view = memoryview(data)
    if len(view) < 8:
        raise _bad(f"{len(view)} bytes", "a header length of 8 bytes")
    header_bytes = int.from_bytes(view[:8], "little")
    if header_bytes > MAX_HEADER_BYTES or 8 + header_bytes > len(view):
        raise _bad(
            f"a header of {header_bytes} bytes in a file of {len(view)}", f"at most {MAX_HEADER_BYTES}, inside it"
        )
    header = _header(bytes(view[8 : 8 + header_bytes]))
    body = view[8 + header_bytes :]
    arrays, position = {}, 0
    for begin, end, name, kind, shape in sorted(_checked(name, row, types) for name, row in header.items()):
        if begin != position or end > len(body):
            raise _bad(f"array {name!r} at bytes {begin} to {end}", f"bytes from {position} on, up to {len(body)}")
        arrays[name] = np.frombuffer(body[begin:end], _TYPES[kind]).reshape(shape).copy()
        position = end
    if position != len(body):
        raise _bad(f"{len(body) - position} bytes after the last array", "none")
    return arrays


def write_tensors(arrays: Mapping[str, NDArray[Any]], types: Sequence[str] = BUNDLE_TYPES) -> bytes:
    """The arrays as one safetensors file; the same arrays always give the same bytes.

    Raises
    ------
    FormatError
        An array's type is none of `types`: for a bundle float32, int64 and int8.
    """
    kinds = {_TYPES[kind]: kind for kind in types}
    header: dict[str, Any] = {}
    parts, position = [], 0
    for name in sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n)):  # wide types first keeps them aligned
        array = arrays[name]
        kind = kinds.get(array.dtype)
        if kind is None:
            raise _bad(f"array {name!r} of {array.dtype}", f"one of {', '.join(str(dtype) for dtype in kinds)}")
        content = array.tobytes()
        offsets = [position, position + len(content)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        parts.append(content)
        position += len(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _header(text: bytes) -> dict[str, Any]:
    if any(text.count(mark) > most for mark, most in MAX_VALUES.items()):
        raise _bad("a header of too many values", f"what {MAX_TENSORS} arrays need")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _bad(f"a header that is no JSON ({type(error).__name__})", "a JSON object, each name once") from error
    if not isinstance(header, dict) or not text.startswith(b"{"):
        raise _bad("a header that is no object", "a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _bad("__metadata__ of another kind", "texts by name")
    if len(header) > MAX_TENSORS:
        raise _bad(f"{len(header)} arrays", f"at most {MAX_TENSORS}")
    return header


def _checked(name: str, row: Any, types: Sequence[str]) -> tuple[int, int, str, str, tuple[int, ...]]:
    """Begin, end, name, type and shape of one header row."""
    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "data_offsets"}:
        raise _bad(f"array {name!r} described by {row!r:.80}", "dtype, shape and data_offsets")
    kind, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(kind, str) or kind not in types:
        raise _bad(f"array {name!r} of type {kind!r:.40}", f"one of {', '.join(types)}")
    if not _naturals(shape) or len(shape) > MAX_RANK or not _naturals(offsets) or len(offsets) != 2:
        raise _bad(f"array {name!r} with shape {shape!r:.80} at {offsets!r:.80}", "lists of whole numbers")
    begin, end = offsets
    if end - begin != math.prod(shape) * _TYPES[kind].itemsize:
        raise _bad(f"array {name!r} of shape {shape} in {end - begin} bytes", "as many bytes as its shape needs")
    return begin, end, name, kind, tuple(shape)


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**40 for v in values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _bad(came: str, expected: str) -> FormatError:
    return FormatError(f"a safetensors file with {came}", expected, "Get the file again, or write it again.")
