"""Whatever is done to an adapter's bytes, by strangers or by a careless holder of the key: one clear error."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_adapters import TRUST, made_adapter, made_arrays, resigned, unpacked

from physioedge_runtime.adaptation.adapter import MAX_ADAPTER_BYTES, MAX_ADAPTER_MANIFEST_BYTES, AdapterFile
from physioedge_runtime.adaptation.manifest import ARRAYS, MAX_COUNTER, MAX_TIME_S, AdapterManifest
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive, read_archive
from physioedge_runtime.bundle.manifest import file_entry
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import (
    BundleError,
    DigestMismatch,
    FormatError,
    NonFiniteAdapter,
    PhysioEdgeError,
    SchemaTooNew,
    SignatureInvalid,
    UntrustedKey,
)
from tiny_bundle import SLOT, write_tiny_bundle

GOOD = made_adapter()
FILES = unpacked(GOOD)
VALUES: dict[str, Any] = json.loads(FILES[MANIFEST])
SPANS = {
    name: range(entry.offset + 30 + len(name), entry.offset + 30 + len(name) + len(entry.data))
    for name, entry in read_archive(GOOD).items()
}


def refused(data: bytes) -> type[Exception]:
    """Class of the error that opening these bytes raises."""
    try:
        AdapterFile.open(data, trust=TRUST)
    except PhysioEdgeError as error:
        assert error.came and error.expected and error.do
        return type(error)
    raise AssertionError("an attacked adapter opened")


def with_arrays(content: bytes, **changes: Any) -> bytes:
    """Other arrays, rightly named in a rightly signed manifest."""
    entry = file_entry(content)
    files = {ARRAYS: {"sha256": entry.sha256, "bytes": entry.bytes}}
    return resigned({ARRAYS: content}, {**VALUES, "files": files, **changes})


def tensors(rows: list[tuple[str, str, list[int], bytes]]) -> bytes:
    """A tensors file from rows of name, type, shape and content, names as often as they come."""
    parts, position = [], 0
    for name, kind, shape, content in rows:
        row = {"dtype": kind, "shape": shape, "data_offsets": [position, position + len(content)]}
        parts.append(f"{json.dumps(name)}:{json.dumps(row)}")
        position += len(content)
    header = ("{" + ",".join(parts) + "}").encode()
    return len(header).to_bytes(8, "little") + header + b"".join(content for *_, content in rows)


def test_the_untouched_adapter_opens() -> None:
    assert AdapterFile.open(GOOD, trust=TRUST).manifest.id == "made"
    assert AdapterFile.open(resigned(FILES, VALUES), trust=TRUST).manifest.id == "made"
    assert with_arrays(FILES[ARRAYS]) == GOOD


def test_every_bit_flipped() -> None:
    changed = bytearray(GOOD)
    for position in range(len(GOOD)):
        inside = next((name for name, span in SPANS.items() if position in span), None)
        for bit in range(8):
            changed[position] ^= 1 << bit
            kind = refused(bytes(changed))
            changed[position] ^= 1 << bit
            if inside == MANIFEST:
                assert kind is SignatureInvalid
            elif inside == SIGNATURE:
                assert kind in (SignatureInvalid, UntrustedKey, FormatError)
            else:
                assert kind is (DigestMismatch if inside == ARRAYS else FormatError)


def test_every_truncation_and_anything_added() -> None:
    for length in range(len(GOOD)):
        assert refused(GOOD[:length]) is FormatError
    for extra in (b"\0", GOOD, bytes(5000)):
        assert refused(GOOD + extra) is FormatError and refused(extra + GOOD) is FormatError


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(1, 255)), min_size=1, max_size=20), st.binary())
def test_many_bytes_changed(changes: list[tuple[int, int]], tail: bytes) -> None:
    data = bytearray(GOOD)
    for position, change in changes:
        data[position] ^= change
    changed = bytes(data) + tail
    assert changed == GOOD or issubclass(refused(changed), BundleError)


@settings(max_examples=200)
@given(st.binary(max_size=400))
@example(b"")
def test_any_bytes(data: bytes) -> None:
    assert refused(data) is FormatError


def test_forged_by_another_key_or_under_a_stolen_name() -> None:
    other = bytes(reversed(range(32)))
    assert refused(resigned(FILES, VALUES, key=other)) is UntrustedKey
    ours = json.loads(FILES[SIGNATURE])["key_id"]
    theirs = json.loads(unpacked(resigned(FILES, VALUES, key=other))[SIGNATURE])
    claimed = json.dumps({**theirs, "key_id": ours}, separators=(",", ":")).encode()
    assert refused(build_archive({**FILES, SIGNATURE: claimed})) is SignatureInvalid


def test_parts_of_two_adapters_mixed() -> None:
    other = unpacked(made_adapter(counter=2))
    assert refused(build_archive({**FILES, ARRAYS: other[ARRAYS]})) is DigestMismatch
    assert refused(build_archive({**FILES, MANIFEST: other[MANIFEST]})) is SignatureInvalid
    assert refused(build_archive({**FILES, SIGNATURE: other[SIGNATURE]})) is SignatureInvalid


def test_files_added_or_left_out() -> None:
    assert refused(build_archive({**FILES, "more.bin": b"x"})) is FormatError
    assert refused(build_archive({n: FILES[n] for n in (MANIFEST, SIGNATURE)})) is FormatError
    entry = file_entry(b"x")
    listed = {**VALUES["files"], "more.bin": {"sha256": entry.sha256, "bytes": 1}}
    assert refused(resigned({**FILES, "more.bin": b"x"}, {**VALUES, "files": listed})) is FormatError


def test_a_bundle_is_no_adapter(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "b.physio")
    assert refused((tmp_path / "b.physio").read_bytes()) is FormatError


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"schema_version": 2, "new": 1}, SchemaTooNew),
        ({"schema_version": 0}, FormatError),
        ({"schema_version": True}, FormatError),
        ({"surprise": 1}, FormatError),
        *[({key: value}, FormatError) for key in VALUES for value in (None, ..., [], 1.5)],
        ({"id": "x" * 129}, FormatError),
        ({"id": " x"}, FormatError),
        ({"id": "\u00e9"}, FormatError),
        ({"task": ""}, FormatError),
        ({"backbone_digest": ""}, FormatError),
        ({"backbone_digest": "A" * 64}, FormatError),
        ({"bundle_digest": "b" * 63}, FormatError),
        ({"binding": {"kind": "device"}}, FormatError),
        ({"binding": {"kind": "device", "id": ""}}, FormatError),
        ({"binding": {"kind": "any", "id": "x"}}, FormatError),
        ({"binding": {"kind": "Device", "id": "x"}}, FormatError),
        ({"binding": {"kind": "device", "id": "x", "more": 1}}, FormatError),
        ({"counter": 0}, FormatError),
        ({"counter": -1}, FormatError),
        ({"counter": MAX_COUNTER + 1}, FormatError),
        ({"counter": 10**400}, FormatError),
        ({"counter": "1"}, FormatError),
        ({"issued_s": VALUES["expires_s"]}, FormatError),
        ({"issued_s": -1}, FormatError),
        ({"expires_s": MAX_TIME_S + 1}, FormatError),
        ({"files": {}}, FormatError),
        ({"files": {"other": VALUES["files"][ARRAYS]}}, FormatError),
        ({"files": {ARRAYS: {"sha256": "0" * 64, "bytes": VALUES["files"][ARRAYS]["bytes"]}}}, DigestMismatch),
        ({"files": {ARRAYS: {**VALUES["files"][ARRAYS], "bytes": 1}}}, DigestMismatch),
        ({"files": {ARRAYS: {**VALUES["files"][ARRAYS], "bytes": -1}}}, FormatError),
        ({"arrays": {}}, FormatError),
        ({"arrays": {SLOT: [2, 8]}}, FormatError),
        ({"arrays": {**VALUES["arrays"], "more": [1]}}, FormatError),
        ({"arrays": {**VALUES["arrays"], SLOT: [8, 2]}}, FormatError),
        ({"arrays": {**VALUES["arrays"], SLOT: [2, 8, 1]}}, FormatError),
        ({"arrays": {**VALUES["arrays"], SLOT: [2, 8.0]}}, FormatError),
        ({"arrays": {**VALUES["arrays"], SLOT: [-2, -8]}}, FormatError),
        ({"arrays": {**VALUES["arrays"], SLOT: []}}, FormatError),
        ({"arrays": {"a\x00b": [1]}}, FormatError),
        ({"provenance": {"x": "y" * 9000}}, FormatError),
        ({"provenance": [1]}, FormatError),
    ],
)
def test_a_signed_manifest_with_one_field_wrong(changes: dict[str, Any], kind: type[Exception]) -> None:
    values = {key: value for key, value in {**VALUES, **changes}.items() if value is not ...}
    assert refused(resigned(FILES, values)) is kind


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 20_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        FILES[MANIFEST] + b"\n",
        FILES[MANIFEST].replace(b",", b", ", 1),
        FILES[MANIFEST].replace(b'"counter":1', b'"counter":1,"counter":1'),
        FILES[MANIFEST].replace(b'"counter":1', b'"counter":1e0'),
        FILES[MANIFEST].replace(b'"made up"', b"NaN"),
        FILES[MANIFEST].replace(b'"made up"', b"1e999"),
        FILES[MANIFEST].replace(b'"made up"', b"\xff"),
        FILES[MANIFEST].replace(b'"made up"', b'"\\u006dade up"'),
        FILES[MANIFEST].replace(b'"made up"', b'"' + b"x" * MAX_ADAPTER_MANIFEST_BYTES + b'"'),
    ],
    ids=range(14),
)
def test_a_signed_manifest_in_another_spelling(text: bytes) -> None:
    assert text != FILES[MANIFEST] and refused(resigned(FILES, text)) is FormatError


def _row(name: str, array: np.ndarray, kind: str) -> tuple[str, str, list[int], bytes]:
    return name, kind, list(array.shape), array.tobytes()


ONES, BIG = np.ones((2, 8), np.float32), np.full((2, 8), 3e38, np.float32)
HALF = np.ones((2, 8), np.float16)
ONLY = {"arrays": {SLOT: [2, 8]}}


@pytest.mark.parametrize(
    ("content", "changes", "kind"),
    [
        (tensors([_row(SLOT, ONES.astype(np.float64), "F64")]), ONLY, FormatError),
        (tensors([_row(SLOT, ONES.astype(np.int8), "I8")]), ONLY, FormatError),
        (tensors([_row(SLOT, ONES.astype(np.int64), "I64")]), ONLY, FormatError),
        (tensors([_row(SLOT, HALF, "BF16")]), ONLY, FormatError),
        (tensors([_row(SLOT, HALF, "F16"), _row(SLOT, HALF, "F16")]), ONLY, FormatError),
        (tensors([_row(BIAS, np.ones(3, np.float16), "F16")]), {"arrays": {BIAS: [3]}}, FormatError),
        (tensors([_row(SLOT, HALF, "F16"), _row("more", HALF, "F16")]), ONLY, FormatError),
        (tensors([]), ONLY, FormatError),
        (tensors([_row(SLOT, HALF, "F16")])[:-1], ONLY, FormatError),
        (tensors([_row(SLOT, HALF, "F16")]) + b"\0", ONLY, FormatError),
        (b"no tensors", ONLY, FormatError),
        (tensors([_row(SLOT, HALF * np.float16("nan"), "F16")]), ONLY, NonFiniteAdapter),
        (tensors([_row(SLOT, HALF * np.float16("inf"), "F16")]), ONLY, NonFiniteAdapter),
        (tensors([_row(SLOT, -ONES * np.float32("inf"), "F32")]), ONLY, NonFiniteAdapter),
        (tensors([_row(SLOT, BIG, "F32")]), ONLY, NonFiniteAdapter),
        (tensors([_row(SLOT, HALF * np.float16(60_000), "F16")]), ONLY, NonFiniteAdapter),
        (tensors([_row(SLOT, HALF * np.float16(25.1), "F16")]), ONLY, NonFiniteAdapter),
    ],
    ids=range(17),
)
def test_signed_arrays_that_are_wrong(content: bytes, changes: dict[str, Any], kind: type[Exception]) -> None:
    assert refused(with_arrays(content, **changes)) is kind


def test_the_same_way_right_ones_open() -> None:
    adapter = AdapterFile.open(with_arrays(tensors([_row(SLOT, HALF * np.float16(25), "F16")]), **ONLY), trust=TRUST)
    assert np.array_equal(adapter.arrays[SLOT], ONES * 25)
    many = {f"s{i:04d}": np.zeros(1, np.float32) for i in range(1000)}
    shapes = {"arrays": {name: [1] for name in many}}
    assert len(AdapterFile.open(with_arrays(write_tensors(many), **shapes), trust=TRUST).arrays) == 1000


def test_sizes_over_the_limits(tmp_path: Path) -> None:
    huge = np.zeros(MAX_ADAPTER_BYTES // 4, np.float32)
    data = with_arrays(write_tensors({SLOT: huge}), arrays={SLOT: [len(huge)]})
    assert len(data) > MAX_ADAPTER_BYTES and refused(data) is FormatError
    with (tmp_path / "huge.adapter").open("wb") as file:
        file.truncate(2**40)  # sparse: takes no room, and would take all memory
    with pytest.raises(FormatError, match="at most"):
        AdapterFile.open(tmp_path / "huge.adapter", trust=TRUST)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.adapter", tmp_path):
        with pytest.raises(BundleError, match=path.name):
            AdapterFile.open(path, trust=TRUST)
    os.mkfifo(tmp_path / "pipe.adapter")
    with pytest.raises(FormatError, match="no regular file"):
        AdapterFile.open(str(tmp_path / "pipe.adapter"), trust=TRUST)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.data())
def test_a_signed_manifest_of_anything_is_an_adapter_or_one_error(data: st.DataObject) -> None:
    values = json.loads(json.dumps(VALUES))
    spots = [
        values,
        values["binding"],
        values["files"],
        values["files"][ARRAYS],
        values["arrays"],
        values["provenance"],
    ]
    spot = data.draw(st.sampled_from(spots))
    spot[data.draw(st.sampled_from(sorted(spot)) | st.text(max_size=3))] = data.draw(json_values)
    try:
        adapter = AdapterFile.open(resigned(FILES, values), trust=TRUST)
    except (BundleError, NonFiniteAdapter):
        return
    assert adapter.manifest == AdapterManifest.from_bytes(adapter.manifest.to_bytes())
    assert np.array_equal(adapter.arrays[SLOT], made_arrays(1)[SLOT])


def test_random_pieces_of_real_files() -> None:
    rng = random.Random(7)
    for _ in range(500):
        a, b, c, d = (rng.randrange(len(GOOD)) for _ in range(4))
        data = GOOD[: min(a, b)] + GOOD[max(a, b) :] + GOOD[min(c, d) : max(c, d)]
        assert data == GOOD or refused(data) is FormatError
