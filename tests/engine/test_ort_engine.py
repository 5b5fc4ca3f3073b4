from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.slots import MAX_SLOT_NORM
from physioedge_runtime.errors import (
    BundleError,
    ContractError,
    EngineError,
    GoldenMismatch,
    NonFiniteAdapter,
    ShapeError,
    SignalError,
    SlotMismatch,
)
from tiny_bundle import DIM, RANK, SLOT, tiny_contract, tiny_model, tiny_outputs, write_tiny_bundle

MERGED, FP32, SLOTS = "graphs/merged.int8.onnx", "graphs/merged.fp32.onnx", "graphs/slots.fp32.onnx"
CONTRACT = tiny_contract()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("engine") / "tiny.physio")


def windows(n: int = 4) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((n, 1, CONTRACT.window.input_samples)).astype(np.float32)


def adapter(seed: int = 0) -> dict[str, np.ndarray]:
    return {SLOT: np.random.default_rng(seed).standard_normal((RANK, DIM)).astype(np.float32)}


def with_graph(tmp_path: Path, file: str, model: onnx.ModelProto | bytes) -> Bundle:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return write_tiny_bundle(tmp_path / "changed.physio", files={file: content})


def test_outputs_are_those_of_numpy_and_of_the_callers_own(bundle: Bundle) -> None:
    engine = load_engine(bundle)
    signal = windows()
    found = [engine.run(window[None]) for window in signal]
    expected = tiny_outputs(CONTRACT, signal)
    for i, (logits, embedding) in enumerate(found):
        assert logits.shape == (1, 3) and embedding.shape == (1, DIM)
        np.testing.assert_allclose(logits[0], expected["logits"][i], atol=1e-5)
        np.testing.assert_allclose(embedding[0], expected["embedding"][i], atol=1e-5)
    assert engine.slots == () and engine.name.startswith("onnxruntime ")


def test_windows_need_not_be_contiguous(bundle: Bundle) -> None:
    engine = load_engine(bundle)
    signal = np.repeat(windows(1), 2, axis=2)
    np.testing.assert_array_equal(engine.run(signal[:, :, ::2])[0], engine.run(signal[:, :, ::2].copy())[0])


def test_slots_swap_between_windows(bundle: Bundle) -> None:
    engine = load_engine(bundle, precision="fp32", adapters="slots")
    signal = windows(1)
    first, second = adapter(1), adapter(2)
    for current in (None, first, second, first, None, second):
        logits, embedding = engine.run(signal, current)
        expected = tiny_outputs(CONTRACT, signal, None if current is None else current[SLOT])
        np.testing.assert_allclose(logits, expected["logits"], atol=1e-5)
        np.testing.assert_allclose(embedding, expected["embedding"], atol=1e-5)
    assert engine.slots == CONTRACT.slots


def test_zero_adapter_is_the_global_model(bundle: Bundle) -> None:
    slots = load_engine(bundle, precision="fp32", adapters="slots")
    merged = load_engine(bundle, precision="fp32")
    zeros = {SLOT: np.zeros((RANK, DIM), np.float32)}
    for window in windows():
        np.testing.assert_array_equal(slots.run(window[None], zeros)[0], slots.run(window[None])[0])
        np.testing.assert_allclose(slots.run(window[None])[0], merged.run(window[None])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ({}, SlotMismatch),
        ({SLOT: adapter()[SLOT], "more": adapter()[SLOT]}, SlotMismatch),
        ({"other": adapter()[SLOT]}, SlotMismatch),
        ({SLOT: adapter()[SLOT].T}, SlotMismatch),
        ({SLOT: adapter()[SLOT].astype(np.float64)}, SlotMismatch),
        ({SLOT: adapter()[SLOT].tolist()}, SlotMismatch),
        ([adapter()[SLOT]], SlotMismatch),
        ({SLOT: np.full((RANK, DIM), np.nan, np.float32)}, NonFiniteAdapter),
        ({SLOT: np.full((RANK, DIM), np.inf, np.float32)}, NonFiniteAdapter),
        ({SLOT: np.full((RANK, DIM), MAX_SLOT_NORM, np.float32)}, NonFiniteAdapter),
    ],
)
def test_bad_adapters_leave_the_bound_one_in_place(bundle: Bundle, bad: object, kind: type[Exception]) -> None:
    engine = load_engine(bundle, precision="fp32", adapters="slots")
    good = adapter(5)
    before = engine.run(windows(1), good)[0]
    with pytest.raises(kind):
        engine.run(windows(1), bad)  # type: ignore[arg-type]
    np.testing.assert_array_equal(engine.run(windows(1), good)[0], before)


def test_a_merged_graph_takes_no_adapter(bundle: Bundle) -> None:
    with pytest.raises(SlotMismatch, match="without slots"):
        load_engine(bundle).run(windows(1), adapter())


@pytest.mark.parametrize("shape", [(1, 1, 59), (1, 2, 60), (2, 1, 60), (1, 60), (60,)])
def test_windows_of_another_shape(bundle: Bundle, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"1, 1, 60"):
        load_engine(bundle).run(np.zeros(shape, np.float32))


def test_windows_of_another_type_or_not_finite(bundle: Bundle) -> None:
    engine = load_engine(bundle)
    with pytest.raises(ShapeError, match="float64"):
        engine.run(windows(1).astype(np.float64))  # type: ignore[arg-type]
    for value in (np.nan, np.inf, -np.inf):
        bad = windows(1)
        bad[0, 0, 7] = value
        with pytest.raises(SignalError, match="NaN"):
            engine.run(bad)


def test_outputs_that_overflow_are_an_error(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="not finite"):
        load_engine(bundle).run(np.full((1, 1, 60), 3e38, np.float32))


def test_choices_that_cannot_be(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="does not hold"):
        load_engine(bundle, adapters="slots")
    with pytest.raises(BundleError, match="does not hold"):
        load_engine(bundle, engine="executorch")
    with pytest.raises(EngineError, match="threads"):
        load_engine(bundle, threads=0)
    assert load_engine(bundle, threads=2).run(windows(1))[0].shape == (1, 3)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "{}",
        json.dumps({**CONTRACT.to_dict(), "labels": ["N", "S", "X"]}),
        json.dumps({**CONTRACT.to_dict(), "surprise": 1}),
    ],
)
def test_graphs_with_another_contract_in_their_metadata(tmp_path: Path, metadata: str) -> None:
    changed = with_graph(tmp_path, MERGED, tiny_model(CONTRACT, slots=False, metadata=metadata))
    with pytest.raises(ContractError):
        load_engine(changed)
    assert load_engine(changed, precision="fp32").run(windows(1))[0].shape == (1, 3)


def test_a_contract_spelt_otherwise_is_the_same_contract(tmp_path: Path) -> None:
    text = json.dumps(CONTRACT.to_dict(), indent=1).replace("125.0", "125")
    load_engine(with_graph(tmp_path, MERGED, tiny_model(CONTRACT, slots=False, metadata=text)))


def test_graphs_without_metadata_or_with_other_ends(tmp_path: Path) -> None:
    bare = tiny_model(CONTRACT, slots=False)
    del bare.metadata_props[:]
    renamed = tiny_model(CONTRACT, slots=False)
    renamed.graph.output[0].name = "scores"
    renamed.graph.node[-1].output[0] = "scores"
    longer = tiny_model(tiny_contract(window=41), slots=False, metadata=CONTRACT.to_json())
    with_slot_input = tiny_model(CONTRACT, slots=True)
    for model, word in ((bare, "metadata"), (renamed, "outputs"), (longer, "inputs"), (with_slot_input, "inputs")):
        with pytest.raises(ContractError, match=word):
            load_engine(with_graph(tmp_path, MERGED, model))
    with pytest.raises(ContractError, match="inputs"):
        load_engine(with_graph(tmp_path, SLOTS, tiny_model(CONTRACT, slots=False)), precision="fp32", adapters="slots")


@pytest.mark.parametrize("content", [b"", b"no model", bytes(1000)])
def test_signed_bytes_that_are_no_model(tmp_path: Path, content: bytes) -> None:
    with pytest.raises((EngineError, ContractError)):
        load_engine(with_graph(tmp_path, MERGED, content))


def test_external_data_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(CONTRACT, slots=False)
    weight = next(t for t in model.graph.initializer if t.name == "w")
    (tmp_path / "w.bin").write_bytes(weight.raw_data)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(len(weight.raw_data)))):
        weight.external_data.add(key=key, value=value)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="cannot be loaded"):
        load_engine(with_graph(tmp_path, MERGED, model))


def test_an_engine_that_computes_something_else(tmp_path: Path) -> None:
    model = tiny_model(CONTRACT, slots=False)
    weight = next(t for t in model.graph.initializer if t.name == "h")
    values = np.frombuffer(weight.raw_data, np.float32).copy()
    values[0] += 0.1
    weight.raw_data = values.tobytes()
    changed = with_graph(tmp_path, FP32, model)
    with pytest.raises(GoldenMismatch) as caught:
        load_engine(changed, precision="fp32")
    for word in (FP32, "logits", "0.0001", "onnxruntime 1."):
        assert word in str(caught.value)
    load_engine(changed)


def test_slots_wired_wrongly_show_only_with_an_adapter(tmp_path: Path) -> None:
    model = tiny_model(CONTRACT, slots=True)
    zero = helper.make_node("Sub", ["delta", "delta"], ["nothing"])  # as if the slot were not connected
    model.graph.node.insert(4, zero)
    add = next(node for node in model.graph.node if node.op_type == "Add")
    add.input[1] = "nothing"
    with pytest.raises(GoldenMismatch, match=SLOTS):
        load_engine(with_graph(tmp_path, SLOTS, model), precision="fp32", adapters="slots")
