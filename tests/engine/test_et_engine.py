"""The ExecuTorch engine through our C library: same protocol, same checks, no torch."""

from __future__ import annotations

import logging
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physioedge_runtime import Bundle
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.native.library import FOLDER_VARIABLE, load_library
from physioedge_runtime.engine.verification import verify_bundle
from physioedge_runtime.errors import (
    ContractError,
    EngineError,
    GoldenMismatch,
    NonFiniteAdapter,
    ShapeError,
    SignalError,
    SlotMismatch,
)
from tiny_bundle import DIM, PRIVATE_KEY, RANK, SLOT, tiny_contract, tiny_outputs, tiny_pair

pytest.importorskip("executorch", reason="programs are made with the executorch package")
from tiny_program import MERGED, SLOTS, tiny_program, write_program_bundle

CONTRACT = tiny_contract()
pytestmark = pytest.mark.usefixtures("engine_here")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_program_bundle(tmp_path_factory.mktemp("programs") / "tiny.physio")


def load(bundle: Bundle, **changes: object):
    return load_engine(bundle, **{"engine": "executorch", "precision": "fp32", **changes})


def windows(n: int = 4) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((n, 1, CONTRACT.window.input_samples)).astype(np.float32)


def adapter(seed: int = 0) -> dict[str, np.ndarray]:
    return {SLOT: np.random.default_rng(seed).standard_normal((RANK, DIM)).astype(np.float32)}


def test_outputs_are_those_of_numpy_and_of_the_callers_own(bundle: Bundle) -> None:
    engine = load(bundle)
    signal = windows()
    found = [engine.run(window[None]) for window in signal]
    expected = tiny_outputs(CONTRACT, signal)
    for i, (logits, embedding) in enumerate(found):
        assert logits.shape == (1, 3) and embedding.shape == (1, DIM)
        np.testing.assert_allclose(logits[0], expected["logits"][i], atol=1e-5)
        np.testing.assert_allclose(embedding[0], expected["embedding"][i], atol=1e-5)
    assert engine.slots == () and engine.name.startswith("executorch 1.") and engine.refused == ()


def test_slots_swap_between_windows(bundle: Bundle) -> None:
    engine = load(bundle, adapters="slots")
    signal = windows(1)
    first, second = adapter(1), adapter(2)
    for current in (None, first, second, first, None, second):
        logits, embedding = engine.run(signal, current)
        expected = tiny_outputs(CONTRACT, signal, None if current is None else current[SLOT])
        np.testing.assert_allclose(logits, expected["logits"], atol=1e-5)
        np.testing.assert_allclose(embedding, expected["embedding"], atol=1e-5)


def test_two_engines_of_one_process_keep_apart(bundle: Bundle) -> None:
    one, two, other = load(bundle), load(bundle, adapters="slots"), load_engine(bundle)
    signal = windows(2)
    for window in signal:
        wanted = one.run(window[None])[0]
        two.run(window[None], adapter(3))
        np.testing.assert_array_equal(one.run(window[None])[0], wanted)
        np.testing.assert_allclose(other.run(window[None])[0], wanted, atol=1e-5)


def test_nothing_is_copied(engine_here: Path) -> None:
    method = load_library(engine_here).open(tiny_program(slots=True)).method("forward")
    assert [tensor.copied for tensor in (*method.inputs, *method.outputs)] == [False] * 4
    assert [tensor.shape for tensor in method.inputs] == [(1, 1, CONTRACT.window.input_samples), (RANK, DIM)]


def test_windows_and_adapters_are_checked_as_by_the_other_engine(bundle: Bundle) -> None:
    engine = load(bundle, adapters="slots")
    good = adapter(5)
    before = engine.run(windows(1), good)[0]
    bad = windows(1)
    bad[0, 0, 7] = np.nan
    for kind, window, given in (
        (ShapeError, np.zeros((1, 1, 59), np.float32), good),
        (SignalError, bad, good),
        (SlotMismatch, windows(1), {}),
        (NonFiniteAdapter, windows(1), {SLOT: np.full((RANK, DIM), np.nan, np.float32)}),
    ):
        with pytest.raises(kind):
            engine.run(window, given)
    np.testing.assert_array_equal(engine.run(windows(1), good)[0], before)
    with pytest.raises(EngineError, match="not finite"):
        engine.run(np.full((1, 1, CONTRACT.window.input_samples), 3e38, np.float32))


def test_signed_bytes_that_are_no_program(tmp_path: Path) -> None:
    for content in (b"", b"no program", bytes(1000), tiny_program(slots=False)[:900]):
        changed = write_program_bundle(tmp_path / "changed.physio", {MERGED: content})
        with pytest.raises(
            EngineError, match=r"refused by executorch 1\..*\((no ExecuTorch program|the program|a prog)"
        ):
            load(changed)


def test_programs_that_contradict_the_manifest(tmp_path: Path) -> None:
    other = tiny_program(slots=False, written=tiny_contract(labels=("N", "S", "X")))
    for file, content, form, word in (
        (MERGED, other, "merged", "labels"),
        (MERGED, tiny_program(slots=True), "merged", "inputs"),
        (SLOTS, tiny_program(slots=False), "slots", "inputs"),
    ):
        changed = write_program_bundle(tmp_path / f"{word}{form}.physio", {file: content})
        with pytest.raises(ContractError, match=word):
            load(changed, adapters=form)


def test_a_missing_method_is_named(bundle: Bundle, engine_here: Path) -> None:
    program = load_library(engine_here).open(tiny_program(slots=False))
    assert set(program.methods) == {"forward", "contract", "graph_notes"}
    with pytest.raises(EngineError, match=r"method backward.*refused by executorch"):
        program.method("backward")
    with pytest.raises(EngineError, match="gives no text"):
        program.text("forward")
    method = program.method("forward")
    with pytest.raises(EngineError, match="input 0 has no buffer"):
        method.run()
    with pytest.raises(EngineError, match="input 0 takes 240 bytes, not 40"):
        method.bind_input(0, np.zeros(10, np.float32))
    with pytest.raises(EngineError, match="no such output"):
        method.bind_output(2, np.zeros(10, np.float32))


def test_programs_of_several_sensors_know_them_by_position(tmp_path: Path) -> None:
    pair = tiny_pair()
    opened = write_program_bundle(tmp_path / "pair.physio", contract=pair)
    rng = np.random.default_rng(4)
    given = tuple(rng.standard_normal((1, *shape)).astype(np.float32) for shape in pair.input_shapes.values())
    for form, current in (("merged", None), ("slots", adapter(6))):
        values, embedding = load(opened, adapters=form).run(given, current)
        expected = tiny_outputs(pair, given, None if current is None else current[SLOT])
        np.testing.assert_allclose(values, expected["values"], atol=1e-4)
        np.testing.assert_allclose(embedding, expected["embedding"], atol=1e-4)
    ppg, acc = pair.sensors
    swapped = tiny_pair(sensors=(acc, ppg), trigger=replace(pair.trigger, hop_samples=32))
    changed = write_program_bundle(
        tmp_path / "swapped.physio",
        {MERGED: tiny_program(slots=False, contract=swapped, written=pair)},
        contract=pair,
    )
    with pytest.raises(ContractError, match="inputs are"):
        load(changed)


def test_the_number_of_threads_is_one_for_the_process(bundle: Bundle) -> None:
    load(bundle)
    with pytest.raises(EngineError, match="2 threads"):
        load(bundle, threads=2)
    with pytest.raises(EngineError, match="at least 1"):
        load(bundle, threads=0)


def test_a_program_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    changed = write_program_bundle(tmp_path / "changed.physio", {MERGED: tiny_program(slots=False, scale=1.1)})
    with pytest.raises(GoldenMismatch, match=f"logits of {MERGED} off by"):
        load(changed)


def test_fallback_goes_on_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changed = write_program_bundle(tmp_path / "changed.physio", {MERGED: tiny_program(slots=False, scale=1.1)})
    with caplog.at_level(logging.WARNING, "physioedge_runtime"):
        engine = load(changed, fallback=True)
    assert engine.name.startswith("onnxruntime ")
    assert len(engine.refused) == 1 and engine.refused[0].startswith(f"{MERGED}: logits of")
    assert MERGED in caplog.text
    np.testing.assert_allclose(engine.run(windows(1))[0], tiny_outputs(CONTRACT, windows(1))["logits"], atol=1e-5)
    assert load(changed, adapters="slots", fallback=True).refused == ()


def test_fallback_keeps_the_form_of_adapters(tmp_path: Path) -> None:
    other = {SLOTS: tiny_program(slots=True, scale=1.1)}
    engine = load(write_program_bundle(tmp_path / "changed.physio", other), adapters="slots", fallback=True)
    assert engine.slots == CONTRACT.slots and engine.name.startswith("onnxruntime ")


def test_without_the_engine_the_error_tells_what_to_do(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "empty"))
    with pytest.raises(EngineError, match="physioedge engines build"):
        load(bundle)
    assert load(bundle, fallback=True).name.startswith("onnxruntime ")
    states = {c.name: c.state for c in verify_bundle(bundle.path, _public())}
    assert states[f"golden {MERGED}"] == "skipped" and states["golden graphs/merged.fp32.onnx"] == "ok"


def test_verify_proves_the_programs(bundle: Bundle) -> None:
    checks = verify_bundle(bundle.path, _public())
    assert {c.name: c.state for c in checks}[f"golden {SLOTS}"] == "ok"
    assert all(check.state == "ok" for check in checks)


def test_a_library_of_another_kind(tmp_path: Path, native_engine: Path) -> None:
    shutil.copytree(native_engine, tmp_path / "engine")
    (tmp_path / "engine" / "libexecutorch.so").unlink()
    (tmp_path / "engine" / "libphysioedge_engine.so").write_bytes(b"\x7fELF no library")
    with pytest.raises(EngineError, match="does not load"):
        load_library(tmp_path / "engine")


def _public() -> bytes:
    from physioedge_runtime.bundle.signing import public_key

    return public_key(PRIVATE_KEY)


def test_several_methods_and_programs_that_copy(engine_here: Path) -> None:
    """A program of another exporter: two networks, memory planned for inputs and outputs as by default."""
    import torch
    from executorch.exir import to_edge_transform_and_lower
    from torch import nn

    from physioedge_export.lowering import export_program

    networks = {"double": nn.Linear(4, 4), "halve": nn.Linear(4, 2)}
    with torch.no_grad():
        networks["double"].weight.copy_(2 * torch.eye(4))
        networks["halve"].weight.copy_(0.5 * torch.eye(4)[:2])
        for network in networks.values():
            network.bias.zero_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # executorch's own
        programs = {name: export_program(network, (torch.zeros(1, 4),)) for name, network in networks.items()}
        data = bytes(to_edge_transform_and_lower(programs).to_executorch().buffer)
    program = load_library(engine_here).open(data)
    assert set(program.methods) == set(networks)
    signal = np.array([[1, 2, 3, 4]], np.float32)
    for name, factor in (("double", 2.0), ("halve", 0.5), ("double", 2.0)):
        method = program.method(name)
        assert [tensor.copied for tensor in (*method.inputs, *method.outputs)] == [True, True]
        out = np.zeros(method.outputs[0].shape, np.float32)
        method.bind_input(0, signal)
        method.bind_output(0, out)
        for step in (0.0, 1.0):
            signal[0, 0] = 1 + step
            method.run()
            np.testing.assert_allclose(out[0], factor * signal[0, : out.shape[1]], atol=1e-6)
        signal[0, 0] = 1


def test_an_operator_that_is_missing_is_named(engine_here: Path) -> None:
    """The true cause comes from ExecuTorch's log; its status code says little."""
    data = tiny_program(slots=False)
    assert data.count(b"XnnpackBackend") == 1
    program = load_library(engine_here).open(data.replace(b"XnnpackBackend", b"AbsentBackends"))
    with pytest.raises(EngineError, match=r"method forward.*AbsentBackends"):
        program.method("forward")
