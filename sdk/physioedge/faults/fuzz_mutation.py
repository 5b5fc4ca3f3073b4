"""Inputs from inputs: bytes changed blindly, and values changed by somebody who knows the format and has the key."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from physioedge.faults.fuzz_seeds import as_tensors, resealed
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, read_archive
from physioedge_runtime.errors import PhysioEdgeError

_NUMBERS = (0, 1, -1, 2, 7, 8, 63, 64, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**53, 2**63, 2**64,
            10**400, 0.5, -0.0, 1e-320, 1e308, float("inf"), float("nan"))  # fmt: skip
_TEXTS = (
    "",
    "a",
    "\0",
    "\ud800",
    "..",
    "../a",
    "/a",
    "a" * 300,
    "é",
    "0" * 64,
    "g" * 64,
    "F16",
    "I64",
    "O",
    "beat",
    "hop",
)
_RAW = ("[" * 40 + "]" * 40, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "1" + "0" * 5000, "1e999", "-0",
        "[" * 3000, "[" + "[]," * 3000 + "[]]", "nul", "'a'", "1.", "\x7f", "tru")  # fmt: skip
"""Texts in place of a value, some of them no JSON."""
_MARK = "@raw@"


class Mutator:
    """Makes inputs of one form.

    Parameters
    ----------
    form : str
        As `fuzz_targets.Door`.
    seeds : sequence of bytes
        What they are made of.
    """

    def __init__(self, form: str, seeds: Sequence[bytes]) -> None:
        self._seeds = seeds
        self._knowing: Callable[[bytes, random.Random], bytes] = {
            "archive": self._archive, "json": changed_json, "line": _changed_line, "http": _changed_http,
        }[form]  # fmt: skip

    def fresh(self, rng: random.Random) -> bytes:
        """An input out of one of the seeds."""
        data = rng.choice(self._seeds)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            data = self.changed(data, rng)
        return data

    def changed(self, data: bytes, rng: random.Random) -> bytes:
        """The input with one change."""
        if rng.random() < 0.7:
            return self._knowing(data, rng)
        return changed_bytes(data, rng, rng.choice(self._seeds))

    def _archive(self, data: bytes, rng: random.Random) -> bytes:
        try:
            files = {name: bytes(entry.data) for name, entry in read_archive(data).items()}
        except PhysioEdgeError:
            return changed_bytes(data, rng, data)
        name = rng.choice([MANIFEST, MANIFEST, *files])
        content = files[name]
        if name.endswith(".json"):
            content = changed_json(content, rng)
        elif name.endswith(".safetensors") and rng.random() < 0.7:
            content = _changed_tensors(content, rng)
        elif name != SIGNATURE:
            content = changed_bytes(content, rng, content)
        try:
            return resealed(data, {name: content})
        except PhysioEdgeError:
            return changed_bytes(data, rng, data)


def changed_bytes(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Bits, bytes, numbers or stretches changed, added, repeated or taken away."""
    if not data:
        return bytes([rng.randrange(256)])
    out, at = bytearray(data), rng.randrange(len(data))
    kind, width = rng.randrange(8), rng.choice((1, 2, 4, 8, 64, 500))
    if kind == 0:
        out[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        out[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x2C, 0x5B, 0x7B))])
    elif kind == 2:
        size = rng.choice((2, 4, 8))
        out[at : at + size] = rng.choice((0, 1, 2**15, 2**16 - 1)).to_bytes(size, "little") if size == 2 else (
            rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1))).to_bytes(size, "little")  # fmt: skip
    elif kind == 3:
        del out[at : at + width]
    elif kind == 4:
        out[at:at] = out[at : at + width]
    elif kind == 5:
        out[at:at] = rng.randbytes(min(width, 64))
    elif kind == 6:
        del out[at:]
    else:
        begin = rng.randrange(len(other)) if other else 0
        out[at:] = other[begin:]
    return bytes(out)


def changed_json(text: bytes, rng: random.Random) -> bytes:
    """The object with one value, key or spelling changed; of what is no object, or too deep, changed bytes."""
    try:
        values = json.loads(text)
        if isinstance(values, (dict, list)) and values:
            return _changed_values(values, rng)
    except (ValueError, RecursionError):
        pass
    return changed_bytes(text, rng, text)


def _changed_values(values: Any, rng: random.Random) -> bytes:
    places = list(_places(values))
    holder, key = rng.choice(places)
    raw, kind = "", rng.randrange(8)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(_TEXTS)] = holder[key]
    elif kind == 2:
        raw = rng.choice(_RAW)
        holder[key] = _MARK
    elif kind == 3 and isinstance(holder, list):
        holder[key:key] = [holder[key]] * rng.choice((1, 2, 20))
    elif kind == 4:
        other_holder, other_key = rng.choice(places)
        holder[key] = json.loads(json.dumps(other_holder[other_key]))
    elif kind == 5:
        holder[key] = rng.choice(_TEXTS)
    elif kind == 6:
        holder[key] = rng.choice((None, True, False, [], {}, [[]], [holder[key]], {"a": 1}))
    else:
        holder[key] = rng.choice(_NUMBERS)
    return _written(values, raw, rng)


def _written(values: Any, raw: str, rng: random.Random) -> bytes:
    separators = (",", ":") if rng.random() < 0.95 else (", ", " : ")
    out = json.dumps(values, sort_keys=rng.random() < 0.95, separators=separators)
    if rng.random() < 0.02:  # a key twice
        out = out.replace("{", "{" + out[1:].partition(",")[0] + ",", 1)
    return out.replace(f'"{_MARK}"', raw).encode("utf-8", "surrogatepass")


def _places(values: Any) -> Any:
    """Every holder and key in it, from the outside inwards."""
    waiting = [values]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])


def _changed_tensors(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = changed_json(data[8 : 8 + size], rng).decode("utf-8", "replace")
    return as_tensors(header, data[8 + size :])


def _changed_line(data: bytes, rng: random.Random) -> bytes:
    text, _, body = data.partition(b"\n")
    if rng.random() < 0.75:
        return changed_json(text, rng) + b"\n" + body
    return text + b"\n" + changed_bytes(body, rng, body)


def _changed_http(data: bytes, rng: random.Random) -> bytes:
    head, gap, body = data.partition(b"\r\n\r\n")
    if rng.random() < 0.6:
        return head + gap + _changed_line(body, rng)
    lines = head.split(b"\r\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, rng.choice(lines))
    else:
        name, colon, value = lines[at].partition(b": ")
        lines[at] = name + colon + changed_bytes(value, rng, value)
    return b"\r\n".join(lines) + gap + body
