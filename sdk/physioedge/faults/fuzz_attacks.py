"""Hostile files, one for each known way of hurting a reader of archives, JSON, tensors, statistics or HTTP.

Sources of the ideas: zip bombs, path traversal and overlapping entries of zip; header sizes, overlap and reuse of
zero-size offsets of safetensors (Trail of Bits, 2023); deep and duplicate JSON (RFC 8259, section 4).
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from physioedge.faults.fuzz_seeds import (
    SLOT,
    adapter,
    as_tensors,
    bundle,
    condition,
    http_request,
    manifest_of,
    resealed,
    seeds,
    zipped,
)
from physioedge_runtime.bundle.archive import MANIFEST

DEEP = '{"a":' * 900 + "1" + "}" * 900
"""As deep as a parser just takes."""
DEEPER = "[" * 100_000
WIDE = '{"a":[' + "[]," * 300_000 + "[]]}"
DIGITS = "1" + "0" * 4000
MANY_DIGITS = "1" + "0" * 100_000
JSON = {
    "deep": DEEP, "deeper": DEEPER, "wide": WIDE, "no-object": "5", "null": "null", "text": '"a"', "array": "[]",
    "empty": "", "twice": '{"schema_version":1,"schema_version":1}', "nan": '{"schema_version":NaN}',
    "digits": f'{{"schema_version":{DIGITS}}}', "many-digits": f'{{"schema_version":{MANY_DIGITS}}}',
    "exponent": '{"schema_version":1e999}', "half-pair": '{"\\ud800":1}', "boolean": '{"schema_version":true}',
}  # fmt: skip
"""Texts that no reader may fall over."""


def _tensors() -> dict[str, bytes]:
    def row(shape: list[Any], *offsets: Any, kind: str = "F32") -> dict[str, Any]:
        return {"dtype": kind, "shape": shape, "data_offsets": list(offsets)}

    many = {f"{i}": row([0], 0, 0) for i in range(5000)}
    return {
        "overlap": as_tensors({"a": row([2], 0, 8), "b": row([2], 4, 12)}, b"\0" * 12),
        "hole": as_tensors({"a": row([1], 0, 4), "b": row([1], 8, 12)}, b"\0" * 12),
        "zero-size-again": as_tensors({"a": row([0], 0, 0), "b": row([0], 0, 0), "c": row([1], 0, 4)}, b"\0" * 4),
        "negative": as_tensors({"a": row([-1], 4, 0)}, b"\0" * 4),
        "product-overflows": as_tensors({"a": row([2**33, 2**31], 0, 0)}),
        "product-wraps": as_tensors({"a": row([2**32, 2**32], 0, 2**66)}),
        "endless-shape": as_tensors({"a": row([1] * 50_000, 0, 4)}, b"\0" * 4),
        "rank-33": as_tensors({"a": row([1] * 33, 0, 4)}, b"\0" * 4),
        "count": as_tensors(many),
        "header-over-file": as_tensors("{}", length=2**63),
        "header-minus-one": as_tensors("{}", length=2**64 - 1),
        "pickled": as_tensors({"a": row([1], 0, 4, kind="O")}, b"\x80\x04N."),
        "boolean-offsets": as_tensors({"a": row([True], False, 4)}, b"\0" * 4),
        "float-offsets": as_tensors({"a": row([1.0], 0, 4)}, b"\0" * 4),
        "nan-length": as_tensors('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,NaN]}}'),
        "nan": as_tensors({SLOT: row([2, 4], 0, 32)}, b"\xff" * 32),
        **{f"json-{name}": as_tensors(text) for name, text in JSON.items()},
    }


def _changed(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def _archives(valid: bytes) -> dict[str, bytes]:
    end, directory = len(valid) - 22, valid.index(b"PK\x01\x02")
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    names: dict[str | zipfile.ZipInfo, bytes] = {MANIFEST: b"{}", "manifest.sig": b"x"}
    lies = b"\xff\xff\xff\xff"
    return {
        "bomb": zipped({MANIFEST: b"\0" * 20_000_000}, zipfile.ZIP_DEFLATED),
        "bomb-in-bomb": zipped({"a.zip": zipped({"a": b"\0" * 5_000_000}, zipfile.ZIP_DEFLATED)}, zipfile.ZIP_DEFLATED),
        "up": zipped({**names, "../../a": b"x"}),
        "absolute": zipped({**names, "/a": b"x"}),
        "backslash": zipped({**names, "a\\..\\b": b"x"}),
        "folder": zipped({**names, "a/": b""}),
        "case": zipped({**names, "Manifest.json": b"{}"}),
        "link": zipped({**names, link: b"/etc/passwd"}),
        "many": zipped({**names, **{f"f{i}": b"" for i in range(2000)}}),
        "size-lies": _changed(valid, 18, lies + lies),
        "size-0": _changed(valid, 18, b"\0" * 8),
        "name-lies": _changed(valid, 26, b"\xff\xff"),
        "extra-lies": _changed(valid, 28, b"\xff\xff"),
        "encrypted": _changed(valid, 6, b"\x01\x00"),
        "descriptor": _changed(valid, 6, b"\x08\x00"),
        "deflated": _changed(valid, 8, b"\x08\x00"),
        "count-lies": _changed(valid, end + 8, b"\xff\xff\xff\xff"),
        "directory-lies": _changed(valid, end + 12, lies),
        "offset-lies": _changed(valid, end + 16, lies),
        "overlap": _changed(valid, directory + 42, b"\0" * 4)[: directory + 46] + valid[directory + 46 :] + b"\0",
        "comment": _changed(valid, end + 20, b"\x04\x00") + b"note",
        "prefix": b"#!/bin/sh\n" + valid,
        "twice": valid + valid,
        "end-only": valid[end:],
        "empty": b"",
        "cut": valid[: len(valid) // 2],
        "bit": _changed(valid, len(valid) // 2, bytes([valid[len(valid) // 2] ^ 1])),
        "no-signature": build_without_signature(valid),
        **{f"signed-{name}": resealed(valid, {MANIFEST: text.encode()}) for name, text in JSON.items()},
    }


def build_without_signature(valid: bytes) -> bytes:
    """Of the bytes of an archive, all but the second entry."""
    second = valid.index(b"PK\x03\x04", 4)
    third = valid.index(b"PK\x03\x04", second + 4)
    return valid[:second] + valid[third:]


def _bundles() -> dict[str, bytes]:
    valid = bundle()
    found = _archives(valid)
    for name, data in _tensors().items():
        found[f"golden-{name}"] = resealed(valid, {"golden.safetensors": data})
    for name in ("overlap", "nan", "product-overflows", "json-null"):
        for file in ("centring.safetensors", "levelling.safetensors"):
            found[f"{file.partition('.')[0]}-{name}"] = resealed(valid, {file: _tensors()[name]})
    for name, text in JSON.items():
        for file in ("condition.json", "change-plan.json"):
            found[f"{file.partition('.')[0]}-{name}"] = resealed(valid, {file: text.encode()})
    for name, low in {"huge": f"[{DIGITS}]", "text": '["a"]', "nan": "[NaN]", "ragged": "[[1],[1,2]]", "null": "null",
                      "deep": "[" * 900 + "]" * 900, "infinite": "[1e999]"}.items():  # fmt: skip
        text = f'{{"schema":1,"kinds":{{"embedding":{{"low":{low},"high":[1],"source":"0"}}}}}}'
        found[f"condition-low-{name}"] = resealed(valid, {"condition.json": text.encode()})
    for name, kinds in {"list": '["embedding"]', "empty-list": "[]", "text": '"embedding"'}.items():
        found[f"condition-kinds-{name}"] = resealed(
            valid, {"condition.json": f'{{"schema":1,"kinds":{kinds}}}'.encode()}
        )
    manifest = manifest_of(valid)
    found["signed-infinite-note"] = resealed(
        valid, {MANIFEST: manifest.replace(b'"task_info":{', b'"task_info":{"a":1e999,', 1)}
    )
    return found


def _adapters() -> dict[str, bytes]:
    valid = adapter()
    tensors = {f"arrays-{n}": resealed(valid, {"arrays.safetensors": data}) for n, data in _tensors().items()}
    return {**_archives(valid), **tensors, "over-limit": valid + b"\0" * (4 * 1024 * 1024)}


def _manifests() -> dict[str, bytes]:
    found = {name: text.encode() for name, text in JSON.items()}
    for kind, valid in (("bundle", manifest_of(bundle())), ("adapter", manifest_of(adapter()))):
        values = json.loads(valid)
        for key in values:
            for name, odd in (("null", "null"), ("digits", DIGITS), ("deep", "[" * 900 + "]" * 900), ("nan", "NaN")):
                text = json.dumps({**values, key: "@"}, sort_keys=True, separators=(",", ":"))
                found[f"{kind}-{key}-{name}"] = text.replace('"@"', odd).encode()
    return found


def _conditions() -> dict[str, bytes]:
    text, _, body = condition().partition(b"\n")
    values = json.loads(text)
    found = {name: data.encode()[:9000] + b"\n" + body for name, data in JSON.items()}
    for key in values:
        for name, odd in (("null", "null"), ("digits", DIGITS), ("deep", "[" * 900 + "]" * 900), ("list", "[1]")):
            head = json.dumps({**values, key: "@"}).replace('"@"', odd).encode()
            found[f"{key}-{name}"] = head + b"\n" + body
    odd_bodies = {"nan": b"\xff" * len(body), "infinite": b"\x00\x7c" * (len(body) // 2), "odd": body[:-1],
                  "negative": body[: len(body) // 2] + b"\x00\xbc" * (len(body) // 4), "none": b""}  # fmt: skip
    found |= {f"body-{name}": text + b"\n" + odd for name, odd in odd_bodies.items()}
    found["extra-half-pair"] = text.replace(b'"adapter"', b'"\\ud800":1,"adapter"') + b"\n" + body
    found["twice"] = text.replace(b"{", b'{"noise":1,', 1) + b"\n" + body
    return {**found, "no-line": text, "over-limit": condition() + b"\0" * 9000}


def _requests() -> dict[str, bytes]:
    odd = {
        "Authorization": ("", "Bearer", "Bearer " + "u" * 40, "Basic dDp0", "Bearer \xff", "Bearer " + "u" * 5000),
        "Content-Type": ("", "text/plain", "application/json", "\xff"),
        "Content-Length": ("9" * 30, "1e9", "-1", "99999999"),
        "PhysioEdge-Device": ("", "a" * 200, "\xff", "watch-8", "../watch-7"),
        "PhysioEdge-Counter": ("", "-1", "1e3", "9" * 5000, "\xb2", "0x1", "1_0"),
        "PhysioEdge-Nonce": ("", "A" * 32, "a" * 31, "\xff" * 32),
    }
    found = {
        f"{key}-{i}": http_request(changes={key: value})
        for key, values in odd.items()
        for i, value in enumerate(values)
    }
    return found | {f"body-{name}": http_request(data) for name, data in _conditions().items()}


_MAKERS: dict[str, Callable[[], dict[str, bytes]]] = {
    "bundle": _bundles, "adapter": _adapters, "manifest": _manifests, "condition": _conditions, "http": _requests,
}  # fmt: skip


def attacks(kind: str) -> dict[str, bytes]:
    """Inputs of a target that must all be refused, by name."""
    return _MAKERS[kind]()


def write_corpus(folder: Path, most_bytes: int = 45_000) -> None:
    """Seeds and attacks as files, ``<target>/good-*`` and ``<target>/bad-*``: of each target the smallest."""
    for kind in _MAKERS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, data in seeds(kind).items():
            (folder / kind / f"good-{name}").write_bytes(data)
        left = most_bytes
        for name, data in sorted(attacks(kind).items(), key=lambda row: (len(row[1]), row[0])):
            left -= len(data)
            if left >= 0:
                (folder / kind / f"bad-{name}").write_bytes(data)


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]))
