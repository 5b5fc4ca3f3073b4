from __future__ import annotations

import math
import stat
from pathlib import Path

import numpy as np
import pytest

from physioedge_export.pack import write_bundle
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import make_keys, public_key
from physioedge_runtime.bundle.tensors import read_tensors, write_tensors
from physioedge_runtime.errors import BundleError, ExportError, FormatError
from tiny_bundle import PRIVATE_KEY, tiny_contract, tiny_files, tiny_parts, write_tiny_bundle


def test_byte_equal_twice_and_in_any_order(tmp_path: Path) -> None:
    contract = tiny_contract()
    files = tiny_files(contract)
    digests = set()
    for i, content in enumerate((files, dict(reversed(files.items())))):
        bundle = write_bundle(
            tmp_path / f"{i}.physio", parts=tiny_parts(contract), files=content, signing_key=PRIVATE_KEY
        )
        digests.add(bundle.digest)
    assert (tmp_path / "0.physio").read_bytes() == (tmp_path / "1.physio").read_bytes()
    assert len(digests) == 1


def test_key_files_sign_and_what_was_packed_comes_out(tmp_path: Path) -> None:
    contract = tiny_contract()
    files = tiny_files(contract)
    make_keys(tmp_path / "keys")
    target = tmp_path / "new" / "b.physio"
    write_bundle(target, parts=tiny_parts(contract), files=files, signing_key=tmp_path / "keys" / "private.pem")
    bundle = Bundle.open(target, trust=tmp_path / "keys" / "public.pem")
    assert bundle.path == target
    assert {name: bundle.read(name) for name in bundle.manifest.files} == files
    assert bundle.golden()["signal"].shape == (3, 1, 60)
    assert bundle.manifest.golden_windows == 3
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def changed_golden(**arrays: np.ndarray | None) -> dict[str, bytes]:
    golden = {**read_tensors(tiny_files(tiny_contract())["golden.safetensors"]), **arrays}
    return {"golden.safetensors": write_tensors({n: a for n, a in golden.items() if a is not None})}


@pytest.mark.parametrize(
    "files",
    [
        {"../outside": b"x"},
        {"model_card.md": b"differs only in case"},
        {"manifest.txt/": b""},
        {f"f{i}": b"" for i in range(100)},
        {"golden.safetensors": b"no tensors"},
        changed_golden(signal=np.zeros((3, 1, 61), np.float32)),
        changed_golden(signal=np.full((3, 1, 60), np.nan, np.float32)),
        changed_golden(signal=None),
        changed_golden(more=np.zeros(1, np.float32)),
        changed_golden(**{"graphs/merged.int8.onnx/logits": None}),
        changed_golden(**{"graphs/merged.int8.onnx/logits": np.zeros((3, 3), np.int64)}),
        changed_golden(**{"graphs/slots.fp32.onnx/adapted_logits": None}),
    ],
)
def test_a_bundle_that_readers_would_refuse_is_not_written(tmp_path: Path, files: dict[str, bytes]) -> None:
    target = tmp_path / "b.physio"
    target.write_bytes(b"the one before")
    with pytest.raises(FormatError):
        write_tiny_bundle(target, files=files)
    assert [path.name for path in tmp_path.iterdir()] == ["b.physio"]
    assert target.read_bytes() == b"the one before"


@pytest.mark.parametrize(
    "provenance", [{"training_subjects": [], "f1": math.nan}, {"training_subjects": [], "x": np.float32(1)}]
)
def test_provenance_must_be_json(tmp_path: Path, provenance: dict[str, object]) -> None:
    with pytest.raises(ExportError, match="finite JSON"):
        write_tiny_bundle(tmp_path / "b.physio", provenance=provenance)


def test_missing_parts(tmp_path: Path) -> None:
    files = tiny_files(tiny_contract())
    del files["LICENCE.txt"]
    with pytest.raises(ExportError, match=r"LICENCE\.txt"):
        write_bundle(tmp_path / "b", parts=tiny_parts(tiny_contract()), files=files, signing_key=PRIVATE_KEY)
    with pytest.raises(BundleError):
        write_tiny_bundle(tmp_path / "b", provenance={})
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ExportError, match="cannot be written"):
        write_tiny_bundle(tmp_path / "file" / "b.physio")


def test_the_returned_bundle_is_the_written_one(tmp_path: Path) -> None:
    written = write_tiny_bundle(tmp_path / "b.physio")
    assert written.digest == Bundle.open(tmp_path / "b.physio", trust=public_key(PRIVATE_KEY)).digest
