"""The figures of docs/bundle.md are those of the code, and a second reader written from its tables agrees."""

from __future__ import annotations

import dataclasses
import json
import re
import struct
from pathlib import Path

import pytest

from physioedge_runtime import errors
from physioedge_runtime.bundle import archive, contract, manifest, plain, signing, tensors
from physioedge_runtime.bundle.contract import METADATA_KEY
from physioedge_runtime.engine.slots import MAX_SLOT_NORM
from tiny_bundle import tiny_contract, write_tiny_bundle

SPEC = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading."""
    section = SPEC.split(heading, 1)[1].split("\n#", 1)[0]
    lines = [line.strip().strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_limits() -> None:
    stated = {name: int(re.match(r"\d+", value)[0]) for name, value in rows("## 8. Limits")}  # type: ignore[index]
    assert stated == {
        "bundle": archive.MAX_BUNDLE_BYTES,
        "files in it": archive.MAX_ENTRIES,
        "name": archive.MAX_NAME_BYTES,
        "`manifest.json`": archive.MAX_MANIFEST_BYTES,
        "values in it: bytes `,`, `{` and `[`, those in texts included": plain.MAX_JSON_VALUES,
        "levels of objects and arrays in it": plain.MAX_JSON_DEPTH,
        "header of a safetensors file": tensors.MAX_HEADER_BYTES,
        "arrays in it": tensors.MAX_TENSORS,
        "bytes `{`, `[` and `,` in its header": tensors.MAX_VALUES[b"{"],
        "golden windows": manifest.MAX_GOLDEN_WINDOWS,
    }
    braces, brackets, commas = (tensors.MAX_VALUES[mark] for mark in (b"{", b"[", b","))
    assert f"| {braces}, {brackets} and {commas}, in this order |" in SPEC
    assert f"at most {tensors.MAX_RANK} axes" in SPEC
    assert f"norm of each array at most {MAX_SLOT_NORM:g}" in SPEC
    assert f"≤ {manifest.MAX_TOLERANCE:g}" in SPEC
    assert METADATA_KEY in SPEC


def test_error_codes() -> None:
    for code, name, _ in rows("## 10. Errors"):
        assert getattr(errors, name).code == code.strip("`")


def test_signature_form_and_name_pattern() -> None:
    assert len(signing.sign(b"", bytes(32))) == 154
    assert f"`{archive._NAME.pattern.decode()}`" in SPEC
    assert signing._PUBLIC_PREFIX.hex() in SPEC and signing._PRIVATE_PREFIX.hex() in SPEC


def names(heading: str) -> set[str]:
    """Field names in the first column of a table."""
    return {name for row in rows(heading) for name in re.findall(r"`([a-z_.]+)`", row[0])}


def test_fields_of_the_contract() -> None:
    values = tiny_contract().to_dict()
    expected = {
        f"{k}.{inner}" if isinstance(v, dict) else k
        for k, v in values.items()
        for inner in (v if isinstance(v, dict) else [k])
    }
    assert names("## 4. Contract") == expected
    assert names("### Sensors") == set(values["sensors"][0])
    assert names("### Step") >= {field.name for field in dataclasses.fields(contract.StepSpec)}
    assert names("### Values") == {field.name for field in dataclasses.fields(contract.ValueSpec)}


def test_limits_of_the_contract() -> None:
    sections = SPEC.split("## 4. Contract")[1].split("## 5.")[0]
    assert f"1 to {contract.MAX_SENSORS}, below; the first one" in sections
    assert f"2 to {contract.MAX_OUTPUTS}" in sections and f"1 to {contract.MAX_OUTPUTS}, below" in sections
    assert f"at most {contract.MAX_INPUT_SAMPLES:,}.".replace(",", " ") in sections
    assert f"{contract.MIN_FS_HZ:g} to {contract.MAX_FS_HZ:,.0f}.".replace(",", " ") in sections
    assert f"| `schema_version` | integer | {contract.SCHEMA_VERSION}; greater" in sections


def test_fields_of_the_manifest(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "b.physio")
    entry = archive.read_archive((tmp_path / "b.physio").read_bytes())["manifest.json"]
    values = json.loads(bytes(entry.data))
    assert {name for row in rows("## 3. manifest.json") for name in re.findall(r"`(\w+)`", row[0])} == set(values)
    assert {row[0].strip("`") for row in rows("## 6. Graphs")} == set(values["graphs"][0])


@pytest.mark.parametrize(
    ("heading", "magic", "fixed"),
    [("### Local header", b"PK\x03\x04", 30), ("### Central directory record", b"PK\x01\x02", 46)],
)
def test_offsets_of_the_tables(tmp_path: Path, heading: str, magic: bytes, fixed: int) -> None:
    write_tiny_bundle(tmp_path / "b.physio")
    data = (tmp_path / "b.physio").read_bytes()
    start = data.index(magic)
    first = archive.read_archive(data)["manifest.json"]
    size = len(first.data)
    known = {"CRC-32": first.crc, "compressed size": size, "uncompressed size": size, "name length": 13, "offset": 0}
    position = 0
    for offset, width, field, value in rows(heading):
        if not offset.isdigit() or int(offset) >= fixed:
            continue
        assert int(offset) == position
        raw = data[start + position : start + position + int(width)]
        if field == "magic":
            assert raw == bytes.fromhex(value.strip("`"))
        else:
            number = int.from_bytes(raw, "little")
            stated = re.match(r"`?(0x[0-9a-fA-F]+|\d+)", value)
            assert number == known.get(field, int(stated[1], 0) if stated else None), field
        position += int(width)
    assert position == fixed


def test_end_record(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "b.physio")
    data = (tmp_path / "b.physio").read_bytes()
    magic, *disks, here, total, size, offset, comment = struct.unpack("<4s4H2LH", data[-22:])
    assert (magic, disks, here, total, comment) == (b"PK\x05\x06", [0, 0], 8, 8, 0)
    assert offset + size + 22 == len(data)
