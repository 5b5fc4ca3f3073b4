"""Adapter files: what is written comes back, and fits only where it was made for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_adapters import DAY_S, DEVICE, NOW_S, TARGET, TRUST, made_adapter, made_arrays, said, unpacked

from physioedge_export.adapters import build_adapter, write_adapter
from physioedge_runtime.adaptation.adapter import AdapterFile, Target
from physioedge_runtime.adaptation.freshness import Freshness
from physioedge_runtime.adaptation.manifest import Binding
from physioedge_runtime.bundle.archive import MANIFEST
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.bundle.signing import key_id
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import (
    AdapterExpired,
    AdapterReplayed,
    BackboneMismatch,
    BundleMismatch,
    ExportError,
    FastForwarded,
    FormatError,
    NonFiniteAdapter,
    SlotMismatch,
    TaskMismatch,
    WrongBinding,
)
from tiny_bundle import PRIVATE_KEY, SLOT, tiny_contract, write_tiny_bundle


def fits(data: bytes, target: Target = TARGET, *, freshness: Freshness | None = None, clock_s: float = NOW_S) -> None:
    adapter = AdapterFile.open(data, trust=TRUST)
    adapter.check_fits(target, freshness=freshness or Freshness(), clock_s=clock_s)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    arrays = made_arrays()
    written = write_adapter(tmp_path / "a.adapter", said(), arrays, signing_key=PRIVATE_KEY)
    read = AdapterFile.open(tmp_path / "a.adapter", trust=TRUST)
    assert [path.name for path in tmp_path.iterdir()] == ["a.adapter"]
    assert (read.digest, read.key_id) == (written.digest, key_id(TRUST)) and len(read.digest) == 64
    assert read.manifest == written.manifest
    shapes = {name: array.shape for name, array in arrays.items()}
    assert read.manifest == replace(said(), files=read.manifest.files, arrays=shapes)
    for name, array in arrays.items():  # the slots hold what float16 holds, so nothing is lost
        assert read.arrays[name].dtype == np.float32 and np.array_equal(read.arrays[name], array)
    read.check_fits(TARGET, freshness=Freshness(), clock_s=NOW_S)


def test_the_same_values_give_the_same_bytes_and_a_canonical_manifest() -> None:
    data = made_adapter()
    assert data == made_adapter(dict(reversed(made_arrays(1).items())))
    text = unpacked(data)[MANIFEST]
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()


def test_half_precision_is_for_slots_only() -> None:
    fine = {SLOT: np.full((2, 8), 1 / 3, np.float32), BIAS: np.full(3, 1 / 3, np.float32)}
    half, whole = (AdapterFile.open(made_adapter(fine, half=half), trust=TRUST) for half in (True, False))
    assert np.array_equal(half.arrays[SLOT], fine[SLOT].astype(np.float16).astype(np.float32))
    assert np.array_equal(whole.arrays[SLOT], fine[SLOT]) and np.array_equal(half.arrays[BIAS], fine[BIAS])


def test_a_rank_8_adapter_of_the_tiny_backbone_is_at_most_40_kb() -> None:
    slots = {f"blocks.{i}.attention.{m}.B": np.ones((8, 128), np.float32) for i in range(6) for m in "qv"}
    data = made_adapter({**slots, BIAS: np.zeros(3, np.float32)}, provenance={"condition": "c" * 64, "note": "n" * 500})
    assert 24_576 < len(data) <= 40_000


def test_nothing_of_an_opened_adapter_can_be_changed() -> None:
    adapter = AdapterFile.open(made_adapter(), trust=TRUST)
    with pytest.raises(ValueError, match="read-only"):
        adapter.arrays[SLOT][0] = 1
    with pytest.raises(TypeError):
        adapter.arrays[SLOT] = np.zeros(1)  # type: ignore[index]
    with pytest.raises(AttributeError):
        adapter.digest = ""  # type: ignore[misc]


@pytest.mark.parametrize(
    "arrays", [made_arrays(), made_arrays(bias=False), {BIAS: np.ones(3, np.float32)}], ids=["both", "slots", "bias"]
)
def test_slots_a_bias_or_both(arrays: dict[str, Any]) -> None:
    fits(made_adapter(arrays))


def test_a_bias_alone_fits_a_contract_without_slots() -> None:
    bare = replace(TARGET, contract=tiny_contract(slots=()))
    fits(made_adapter({BIAS: np.ones(3, np.float32)}), bare)
    with pytest.raises(SlotMismatch):
        fits(made_adapter(), bare)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"task": "af"}, TaskMismatch),
        ({"backbone_digest": "1" * 64}, BackboneMismatch),
        ({"bundle_digest": "c" * 64}, BundleMismatch),
        ({"binding": Binding(kind="device", id="watch-8")}, WrongBinding),
        ({"binding": Binding(kind="device", id="ward-3")}, WrongBinding),
        ({"binding": Binding(kind="fleet", id="watch-7")}, WrongBinding),
        ({"binding": Binding(kind="fleet", id="ward-4")}, WrongBinding),
        ({"issued_s": NOW_S - 9 * DAY_S, "expires_s": NOW_S}, AdapterExpired),
        ({"counter": 1_000_001}, FastForwarded),
        ({"issued_s": NOW_S + 4000 * DAY_S, "expires_s": NOW_S + 4001 * DAY_S}, FastForwarded),
        ({"arrays": {SLOT: np.zeros((2, 7), np.float32)}}, SlotMismatch),
        ({"arrays": {SLOT: np.zeros((8, 2), np.float32)}}, SlotMismatch),
        ({"arrays": {"other": np.zeros((2, 8), np.float32)}}, SlotMismatch),
        ({"arrays": {**made_arrays(), "more": np.zeros(1, np.float32)}}, SlotMismatch),
        ({"arrays": {BIAS: np.zeros(4, np.float32)}}, SlotMismatch),
        ({"arrays": {BIAS: np.zeros((1, 3), np.float32)}}, SlotMismatch),
    ],
)
def test_made_for_something_else(changes: dict[str, Any], kind: type[Exception]) -> None:
    data = made_adapter(changes.pop("arrays", None), **changes)
    with pytest.raises(kind) as caught:
        fits(data)
    assert type(caught.value) is kind


def test_half_an_adapter() -> None:
    slots = tuple(SlotSpec(name=name, shape=(2, 2)) for name in "ab")
    target = replace(TARGET, contract=tiny_contract(slots=slots))
    full = {name: np.ones((2, 2), np.float32) for name in "ab"}
    fits(made_adapter(full), target)
    with pytest.raises(SlotMismatch, match="missing"):
        fits(made_adapter({"a": full["a"]}), target)


@pytest.mark.parametrize(
    "binding", [DEVICE, Binding(kind="fleet", id="ward-3"), Binding()], ids=["device", "fleet", "any"]
)
def test_bindings_that_are_ours(binding: Binding) -> None:
    fits(made_adapter(binding=binding, bundle_digest="b" * 64))
    nobody = replace(TARGET, device=None, fleet=None)
    if binding.kind == "any":
        fits(made_adapter(binding=binding), nobody)
    else:
        with pytest.raises(WrongBinding, match="any"):
            fits(made_adapter(binding=binding), nobody)


def test_a_replay() -> None:
    seen = Freshness().accepted(said(counter=7))
    for counter in (1, 6, 7):
        with pytest.raises(AdapterReplayed, match="more than 7"):
            fits(made_adapter(counter=counter), freshness=seen)
    fits(made_adapter(counter=8), freshness=seen)


def test_a_target_is_a_bundle_on_a_device(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b.physio")
    target = Target.of(bundle, device="watch-7")
    fits(made_adapter(bundle_digest=bundle.digest), target)
    assert (target.contract, target.bundle_digest, target.fleet) == (bundle.contract, bundle.digest, None)


@pytest.mark.parametrize(
    ("arrays", "changes", "kind"),
    [
        ({SLOT: np.full((2, 8), np.nan, np.float32)}, {}, NonFiniteAdapter),
        ({SLOT: np.full((2, 8), 1e6, np.float32)}, {}, NonFiniteAdapter),
        ({SLOT: np.full((2, 8), 26, np.float32)}, {}, NonFiniteAdapter),
        ({BIAS: np.array([0, np.inf, 0], np.float32)}, {}, NonFiniteAdapter),
        ({SLOT: np.zeros((2, 8))}, {}, ExportError),
        ({SLOT: np.zeros((2, 8), np.float16)}, {}, ExportError),
        ({}, {}, FormatError),
        ({SLOT: np.zeros((0, 8), np.float32)}, {}, FormatError),
        ({SLOT: np.zeros((), np.float32)}, {}, FormatError),
        (None, {"provenance": {"x": np.nan}}, ExportError),
        (None, {"provenance": {"x": object()}}, ExportError),
        (None, {"provenance": {"x": "y" * 9000}}, FormatError),
        (None, {"counter": 0}, FormatError),
        (None, {"id": ""}, FormatError),
        (None, {"id": "a\nb"}, FormatError),
        (None, {"expires_s": NOW_S - DAY_S}, FormatError),
        (None, {"binding": Binding(kind="any", id="x")}, FormatError),
        (None, {"binding": Binding(kind="device")}, FormatError),
        (None, {"binding": Binding(kind="person", id="x")}, FormatError),
    ],
)
def test_what_no_reader_takes_is_not_signed(tmp_path: Path, arrays: Any, changes: Any, kind: type[Exception]) -> None:
    target = tmp_path / "a.adapter"
    target.write_bytes(b"the one before")
    given = made_arrays() if arrays is None else arrays
    with pytest.raises(kind):
        write_adapter(target, said(**changes), given, signing_key=PRIVATE_KEY)
    assert target.read_bytes() == b"the one before" and len(list(tmp_path.iterdir())) == 1


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ExportError, match="cannot be written"):
        write_adapter(tmp_path / "file" / "a.adapter", said(), made_arrays(), signing_key=PRIVATE_KEY)


def test_arrays_that_are_not_in_one_piece() -> None:
    turned = np.arange(16, dtype=np.float32).reshape(8, 2).T
    read = AdapterFile.open(build_adapter(said(), {SLOT: turned}, signing_key=PRIVATE_KEY), trust=TRUST)
    assert np.array_equal(read.arrays[SLOT], turned)


def test_a_stream_takes_what_was_opened(tmp_path: Path) -> None:
    from physioedge_runtime.stream import Stream

    bundle = write_tiny_bundle(tmp_path / "b.physio")
    adapter = AdapterFile.open(made_adapter(), trust=TRUST)
    with Stream(bundle, fs_hz=125, units="mV", adapters="slots", precision="fp32") as stream:
        stream.set_adapter(adapter.arrays, adapter.manifest.id)
        assert stream.adapter_id == "made"
