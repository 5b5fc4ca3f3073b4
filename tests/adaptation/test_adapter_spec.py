"""The figures, names and codes of docs/adapter.md are those of the code, and a second reader of it agrees."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
from made_adapters import NOW_S, TARGET, TRUST, made_adapter, made_arrays

from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime import errors
from physioedge_runtime.adaptation import adapter, files, freshness, manifest, state
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine.slots import BIAS, MAX_SLOT_NORM
from tiny_bundle import SLOT

SPEC = (Path(__file__).parents[2] / "docs" / "adapter.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table under a heading."""
    lines = SPEC.split(f"\n## {heading}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    end = next(i for i, line in enumerate([*lines[start:], ""]) if not line.startswith("|")) + start
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 : end]]


def test_limits() -> None:
    stated = {name: int(re.match(r"\d+", value)[0]) for name, value in rows("8. Limits")}  # type: ignore[index]
    assert stated == {
        "adapter file": adapter.MAX_ADAPTER_BYTES,
        "`manifest.json`": adapter.MAX_ADAPTER_MANIFEST_BYTES,
        "text": manifest.MAX_TEXT,
        "provenance": manifest.MAX_PROVENANCE_BYTES,
        "step of a counter": freshness.MAX_LEAP,
        "tasks and bindings with a counter": freshness.MAX_COUNTERS,
        "state file": state.MAX_STATE_BYTES,
        "events of the history": state.MAX_EVENTS,
        "reason": state.MAX_REASON,
        "adapters to roll back to": state.MAX_PREVIOUS,
    }
    assert manifest.MAX_COUNTER == 2**53 and "1 to 2⁵³" in SPEC and f"≤ {manifest.MAX_TIME_S}" in SPEC
    assert f"norm of each array is at most {MAX_SLOT_NORM:g}" in SPEC
    days = freshness.HORIZON_S // 86_400
    assert freshness.HORIZON_S % 86_400 == 0 and SPEC.count(f"{days} days") == 2
    assert freshness._date(freshness.FLOOR_S).startswith("2026-01-01 00:00:00") and "2026-01-01" in SPEC


def test_fields_of_the_manifest() -> None:
    stated = {name for row in rows("2. manifest.json") for name in re.findall(r"`(\w+)`", row[0])}
    assert stated == {field.name for field in dataclasses.fields(manifest.AdapterManifest)}


def test_error_codes() -> None:
    table = {name: code.strip("`") for code, name, _ in rows("9. Errors")}
    assert all(getattr(errors, name).code == code for name, code in table.items())
    ours = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, (errors.AdapterError, errors.StoreError))
    }
    assert ours <= set(table)


def test_files_of_the_store() -> None:
    disk = Disk()
    store = AdapterStore.open(disk, target=TARGET, trust=TRUST, clock=lambda: float(NOW_S))
    digest = store.stage(made_adapter()).digest
    store.start_trial()
    stated = {name for row in rows("6. The store") for name in re.findall(r"`(\w+)`", " ".join(row))}
    assert all(hasattr(store, name) for name in stated) and {"stage", "revert", "forget"} <= stated
    assert set(disk.files) == {f"{digest}.adapter", *files.STATES}
    for name in ("<digest of the adapter>.adapter", *files.STATES, files.UNFINISHED, "lock"):
        assert f"`{name}`" in SPEC
    for name, data in disk.files.items():
        if name in files.STATES:
            checksum, body = data[:64], data[65:]
            assert checksum.decode() == hashlib.sha256(body).hexdigest() and data[64:65] == b"\n"
            values = json.loads(body)
            assert values["sequence"] % 2 == int(name[-1])
            assert body == json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def test_a_reader_written_from_the_page_alone() -> None:
    """Walks the entries, checks digests, reads the arrays; nothing of the runtime is used."""
    data, entries, at = made_adapter(), {}, 0
    while data[at : at + 4] == b"PK\x03\x04":
        size, length = struct.unpack_from("<L", data, at + 22)[0], struct.unpack_from("<H", data, at + 26)[0]
        start = at + 30 + length
        entries[data[at + 30 : start].decode()] = data[start : start + size]
        at = start + size
    assert list(entries) == ["manifest.json", "manifest.sig", "arrays.safetensors"]
    said, content = json.loads(entries["manifest.json"]), entries["arrays.safetensors"]
    file = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert said["files"] == {"arrays.safetensors": file}
    header_bytes = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + header_bytes]), content[8 + header_bytes :]
    types = {"F32": "<f4", "F16": "<f2"}
    found = {}
    for name, row in header.items():
        begin, end = row["data_offsets"]
        assert row["shape"] == said["arrays"][name]
        found[name] = np.frombuffer(body[begin:end], types[row["dtype"]]).reshape(row["shape"]).astype(np.float32)
    wanted = made_arrays(1)
    assert {name: header[name]["dtype"] for name in header} == {SLOT: "F16", BIAS: "F32"}
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted) and found.keys() == wanted.keys()
