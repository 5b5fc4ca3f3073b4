"""A graph of the shipped bundle with a weight that lies in another file, as ONNX allows and a bundle must not."""

from __future__ import annotations

import hashlib
import json

from physioedge.faults.made import KEY, canonical
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import sign

BESIDE = "weights-beside.bin"
# Field numbers of ModelProto, GraphProto, TensorProto and StringStringEntryProto. Source: onnx.proto, IR version 10.
_GRAPH, _INITIALIZER = 7, 5
_DATA_TYPE, _NAME, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 8, 9, 13, 14
_KEY, _VALUE = 1, 2
_FLOAT, _EXTERNAL = 1, 1
_VARINT, _BYTES = 0, 2

Field = tuple[int, int, bytes]
"""Number, wire type, and the value's bytes without a length."""


def bundle_with_external_data(bundle: Bundle) -> tuple[dict[str, bytes], bytes]:
    """Entries of the bundle, rightly signed by the trials' key, whose graphs take their first weight from a file.

    Gives the entries, and what the file `BESIDE` has to hold for the graphs to compute what they always did.
    """
    graphs = {entry.file for entry in bundle.manifest.graphs if entry.file.endswith(".onnx")}
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    moved = {name: moved_out(files[name]) for name in graphs}
    files |= {name: model for name, (model, _) in moved.items()}
    said = json.loads(bundle.manifest.to_bytes())
    said["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
    }
    text = canonical(said)
    (weight,) = {weight for _, weight in moved.values()}
    return {MANIFEST: text, SIGNATURE: sign(text, KEY), **files}, weight


def moved_out(model: bytes) -> tuple[bytes, bytes]:
    """An ONNX model without the bytes of its first weight, which it now looks for in `BESIDE`; and those bytes."""
    fields = _fields(model)
    at = next(i for i, (number, _, _) in enumerate(fields) if number == _GRAPH)
    graph = _fields(fields[at][2])
    which = next(i for i, (number, _, value) in enumerate(graph) if number == _INITIALIZER and _is_float(value))
    tensor = _fields(graph[which][2])
    weight = next(value for number, _, value in tensor if number == _RAW_DATA)
    where = [(_KEY, _BYTES, b"location"), (_VALUE, _BYTES, BESIDE.encode())]
    left = [field for field in tensor if field[0] != _RAW_DATA]
    left += [(_EXTERNAL_DATA, _BYTES, _message(where)), (_DATA_LOCATION, _VARINT, _varint(_EXTERNAL))]
    graph[which] = (_INITIALIZER, _BYTES, _message(left))
    fields[at] = (_GRAPH, _BYTES, _message(graph))
    return _message(fields), weight


def _is_float(tensor: bytes) -> bool:
    return (_DATA_TYPE, _VARINT, _varint(_FLOAT)) in _fields(tensor)


def _fields(message: bytes) -> list[Field]:
    """Fields of a message that holds numbers and bytes only, as those on the way to a weight do."""
    found, at = [], 0
    while at < len(message):
        key, at = _read_varint(message, at)
        start = at
        value, at = _read_varint(message, at)
        if key & 7 == _BYTES:
            start, at = at, at + value
        found.append((key >> 3, key & 7, message[start:at]))
    return found


def _message(fields: list[Field]) -> bytes:
    return b"".join(
        _varint(number << 3 | wire) + (_varint(len(value)) if wire == _BYTES else b"") + value
        for number, wire, value in fields
    )


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
