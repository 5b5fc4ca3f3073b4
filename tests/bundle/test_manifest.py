from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive, read_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import Manifest
from physioedge_runtime.bundle.signing import public_key, sign
from physioedge_runtime.engine import load_engine
from physioedge_runtime.errors import (
    BundleError,
    ContractError,
    DigestMismatch,
    FormatError,
    SchemaTooNew,
)
from tiny_bundle import PRIVATE_KEY, tiny_contract, tiny_model, tiny_outputs, write_tiny_bundle

TRUST = public_key(PRIVATE_KEY)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("manifest") / "b.physio"
    write_tiny_bundle(path)
    return {name: bytes(entry.data) for name, entry in read_archive(path.read_bytes()).items()}


def opened(tmp_path: Path, files: dict[str, bytes], manifest: bytes) -> Bundle:
    """Opens the bundle with another manifest, rightly signed."""
    path = tmp_path / "changed.physio"
    path.write_bytes(build_archive({**files, MANIFEST: manifest, SIGNATURE: sign(manifest, PRIVATE_KEY)}))
    return Bundle.open(path, trust=TRUST)


def edited(files: dict[str, bytes], *path: str | int, value: Any) -> bytes:
    """The manifest with one value changed, or removed for the value `...`."""
    values = json.loads(files[MANIFEST])
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(values).encode()


def test_round_trip(files: dict[str, bytes]) -> None:
    manifest = Manifest.from_bytes(files[MANIFEST])
    assert manifest.to_bytes() == files[MANIFEST]
    assert manifest.contract == tiny_contract()


def test_another_spelling_of_the_same_values_opens(tmp_path: Path, files: dict[str, bytes]) -> None:
    loose = json.dumps(json.loads(files[MANIFEST]), indent=2).encode()
    assert opened(tmp_path, files, loose).manifest == Manifest.from_bytes(files[MANIFEST])


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        (("schema_version",), 2, SchemaTooNew),
        (("schema_version",), 0, FormatError),
        (("schema_version",), True, FormatError),
        (("contract", "schema_version"), 5, SchemaTooNew),
        (("contract", "sensors", 0, "fs_hz"), -1, ContractError),
        (("contract", "sensors", 0, "fs_hz"), 10**400, ContractError),
        (("contract", "sensors", 0, "gain"), 2, ContractError),
        (("contract", "sensors"), [], ContractError),
        (("contract", "trigger", "kind"), "whenever", ContractError),
        (("contract", "slots"), 5, ContractError),
        (("contract",), [], FormatError),
        (("surprise",), 1, FormatError),
        (("provenance",), ..., FormatError),
        (("provenance", "training_subjects"), ..., FormatError),
        (("provenance", "training_subjects"), [101], FormatError),
        (("graphs",), [], FormatError),
        (("graphs", 0, "precision"), "int4", FormatError),
        (("graphs", 0, "engine"), "tflite", FormatError),
        (("graphs", 0, "file"), "graphs/none.onnx", FormatError),
        (("graphs", 0, "file"), "graphs/slots.fp32.onnx", FormatError),
        (("graphs", 0, "tolerance", "logits"), 0, FormatError),
        (("graphs", 0, "tolerance", "logits"), 10**400, FormatError),
        (("graphs", 0, "tolerance", "logits"), "1e-3", FormatError),
        (("golden", "windows"), 0, FormatError),
        (("golden", "windows"), 1_000_000, FormatError),
        (("golden", "file"), "other.safetensors", FormatError),
        (("files", "MODEL_CARD.md", "sha256"), "0" * 64, DigestMismatch),
        (("files", "MODEL_CARD.md", "sha256"), "F" * 64, FormatError),
        (("files", "MODEL_CARD.md", "bytes"), 1, DigestMismatch),
        (("files", "MODEL_CARD.md", "bytes"), -1, FormatError),
        (("files", "more.bin"), {"sha256": "0" * 64, "bytes": 0}, FormatError),
        (("files", "MODEL_CARD.md"), ..., FormatError),
    ],
)
def test_signed_but_wrong_manifests(
    tmp_path: Path, files: dict[str, bytes], path: tuple[str | int, ...], value: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        opened(tmp_path, files, edited(files, *path, value=value))
    assert caught.type is kind


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'{"name":"a","name":"b"}',
        b'{"name":NaN}',
        b'{"name":1e999}',
        b"[" * 100_000,
        b'{"a":' * 5_000,
        b"\xff\xfe",
        '{"name":"é"}'.encode(),
        b'{"n":' + b"9" * 5000 + b"}",
    ],
)
def test_signed_texts_that_are_no_manifest(tmp_path: Path, files: dict[str, bytes], text: bytes) -> None:
    with pytest.raises(FormatError):
        opened(tmp_path, files, text)


def as_schema_1(contract: dict[str, Any]) -> dict[str, Any]:
    """The same contract as it was written before there could be several sensors."""
    (sensor,), trigger = contract["sensors"], contract["trigger"]
    lengths = {key: sensor.pop(key) for key in ("context_samples", "window_samples")}
    window = {**lengths, "lookahead_samples": trigger["lookahead_samples"], "trigger": trigger["kind"]}
    kept = {key: value for key, value in contract.items() if key not in ("sensors", "trigger", "values")}
    return {**kept, "schema_version": 1, "sensor": sensor, "window": window}


@pytest.mark.parametrize("old", ["manifest", "graph", "both"])
def test_a_bundle_of_schema_1_is_used_like_any_other(tmp_path: Path, old: str) -> None:
    """Manifest and graphs may be of different schemas, as after an update of one of them."""
    text = json.dumps(as_schema_1(tiny_contract().to_dict()))
    graph = tiny_model(tiny_contract(), slots=False, metadata=None if old == "manifest" else text)
    path = tmp_path / "b.physio"
    write_tiny_bundle(path, files={"graphs/merged.int8.onnx": graph.SerializeToString()})
    files = {name: bytes(entry.data) for name, entry in read_archive(path.read_bytes()).items()}
    if old != "graph":
        files[MANIFEST] = edited(files, "contract", value=json.loads(text))
    bundle = opened(tmp_path, files, files[MANIFEST])
    assert bundle.contract == tiny_contract()
    signal = bundle.golden()["signal"][:1]
    expected = tiny_outputs(tiny_contract(), signal)["logits"]
    np.testing.assert_allclose(load_engine(bundle).run(signal)[0], expected, atol=1e-4)


def test_graph_choice_says_what_there_is(tmp_path: Path, files: dict[str, bytes]) -> None:
    bundle = opened(tmp_path, files, files[MANIFEST])
    assert bundle.graph().file == "graphs/merged.int8.onnx"
    assert bundle.graph(precision="fp32", adapters="slots").file == "graphs/slots.fp32.onnx"
    with pytest.raises(BundleError, match="onnxruntime/fp32/slots"):
        bundle.graph(adapters="slots")
    with pytest.raises(BundleError, match="MODEL_CARD"):
        bundle.read("../secret")


def test_json_that_would_take_many_times_its_size_or_is_nested_without_end_is_refused() -> None:
    for text in (
        b'{"a":[' + b"[]," * 9000 + b"[]]}",
        b'{"a":' * 33 + b"{}" + b"}" * 33,
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ):
        with pytest.raises(FormatError, match="more than"):
            Manifest.from_bytes(text)


def test_numbers_beyond_all_numbers_are_refused(files: dict[str, bytes]) -> None:
    """JSON has no infinity, but 1e999 is read as one."""
    text = files[MANIFEST].replace(b'"task_info":{', b'"task_info":{"a":1e999,', 1)
    with pytest.raises(FormatError, match="no usable JSON"):
        Manifest.from_bytes(text)


def test_a_slot_of_endless_shape_is_refused() -> None:
    values = tiny_contract().to_dict()
    for shape in ([1] * 9, [10**4000], [2**20] * 8):
        values["slots"][0]["shape"] = shape
        with pytest.raises(ContractError):
            type(tiny_contract()).from_dict(values)
