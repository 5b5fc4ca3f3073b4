"""Bundles of several sensors and of values: inputs by name, golden vectors, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.bundle.tensors import read_tensors, write_tensors
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.golden import check_golden
from physioedge_runtime.engine.verification import verify_bundle
from physioedge_runtime.errors import (
    ContractError,
    FormatError,
    GoldenMismatch,
    ShapeError,
    SignalError,
    SlotMismatch,
)
from tiny_bundle import (
    DIM,
    PRIVATE_KEY,
    RANK,
    SLOT,
    tiny_contract,
    tiny_files,
    tiny_model,
    tiny_outputs,
    tiny_pair,
    write_tiny_bundle,
)

PAIR = tiny_pair()
CLASSES = tiny_pair(labels=("rest", "stress"), values=())
ONE_VALUE = tiny_contract(labels=(), values=PAIR.values[:1])
MERGED = "graphs/merged.int8.onnx"
Parts = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("pair") / "pair.physio", contract=PAIR)


def windows(contract: Contract = PAIR, seed: int = 3) -> Parts:
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((1, *shape)).astype(np.float32) for shape in contract.input_shapes.values())


def adapter(seed: int = 0) -> dict[str, np.ndarray]:
    return {SLOT: np.random.default_rng(seed).standard_normal((RANK, DIM)).astype(np.float32)}


@pytest.mark.parametrize("contract", [PAIR, CLASSES, ONE_VALUE], ids=["values", "labels", "one sensor"])
def test_every_graph_holds_and_gives_what_numpy_gives(tmp_path: Path, contract: Contract) -> None:
    opened = write_tiny_bundle(tmp_path / "b.physio", contract=contract)
    checks = verify_bundle(opened.path, public_key(PRIVATE_KEY))
    assert [check.state for check in checks] == ["ok"] * 7
    assert opened.contract == contract and opened.manifest.graphs[0].tolerance_logits == 1e-4
    given = windows(contract)
    first, embedding = load_engine(opened).run(given if len(given) > 1 else given[0])
    expected = tiny_outputs(contract, given)
    np.testing.assert_allclose(first, expected[contract.output_name], atol=1e-5)
    np.testing.assert_allclose(embedding, expected["embedding"], atol=1e-5)
    assert first.shape == (1, contract.n_outputs)


def test_one_sensor_may_be_given_as_a_tuple_too(tmp_path: Path) -> None:
    engine = load_engine(write_tiny_bundle(tmp_path / "b.physio"))
    (window,) = windows(tiny_contract())
    np.testing.assert_array_equal(engine.run((window,))[0], engine.run(window)[0])


def test_slots_swap_between_windows_of_several_sensors(bundle: Bundle) -> None:
    engine = load_engine(bundle, precision="fp32", adapters="slots")
    given, first, second = windows(), adapter(1), adapter(2)
    for current in (None, first, second, None):
        found = engine.run(given, current)
        expected = tiny_outputs(PAIR, given, None if current is None else current[SLOT])
        np.testing.assert_allclose(found[0], expected["values"], atol=1e-5)
        np.testing.assert_allclose(found[1], expected["embedding"], atol=1e-5)


def test_signals_that_do_not_fit_are_named(bundle: Bundle) -> None:
    engine = load_engine(bundle, precision="fp32", adapters="slots")
    ppg, acc = windows()
    before = engine.run((ppg, acc))[0]
    for given, word in (
        (ppg, "1 signals; expected one each for signal.ppg, signal.acc"),
        ((ppg,), "1 signals"),
        ((ppg, acc, acc), "3 signals"),
        ((acc, ppg), r"a signal.ppg float32\(1, 3, 80\)"),
        ((ppg, acc[:, :, :-1]), r"a signal.acc float32\(1, 3, 79\)"),
        ((ppg, acc.astype(np.float64)), "a signal.acc float64"),
    ):
        with pytest.raises(ShapeError, match=word):
            engine.run(given)
    bad = acc.copy()
    bad[0, 2, 5] = np.nan
    with pytest.raises(SignalError, match=r"signal\.acc with NaN"):
        engine.run((ppg, bad))
    with pytest.raises(SlotMismatch):
        engine.run((ppg, acc), {})
    np.testing.assert_array_equal(engine.run((ppg, acc))[0], before)


def test_inputs_of_another_name_or_order_of_the_contract_are_refused(tmp_path: Path) -> None:
    ppg, acc = PAIR.sensors
    for other in (
        replace(PAIR, sensors=(ppg, replace(acc, name="accelerometer"))),
        replace(PAIR, sensors=(replace(ppg, context_samples=65), acc)),
        replace(PAIR, labels=("a", "b"), values=()),
    ):
        model = tiny_model(other, slots=False, metadata=PAIR.to_json()).SerializeToString()
        changed = write_tiny_bundle(tmp_path / "c.physio", contract=PAIR, files={MERGED: model})
        with pytest.raises(ContractError, match=r"inputs|outputs"):
            load_engine(changed)
    swapped = replace(PAIR, sensors=(acc, ppg), trigger=replace(PAIR.trigger, hop_samples=32))
    model = tiny_model(PAIR, slots=False, metadata=swapped.to_json()).SerializeToString()
    changed = write_tiny_bundle(tmp_path / "c.physio", contract=PAIR, files={MERGED: model})
    with pytest.raises(ContractError, match="sensors, trigger"):
        load_engine(changed)


def test_golden_vectors_come_in_the_contracts_order_and_are_all_there(bundle: Bundle, tmp_path: Path) -> None:
    golden = bundle.golden()
    assert list(golden)[:2] == ["signal.ppg", "signal.acc"]
    arrays = dict(read_tensors(tiny_files(PAIR)["golden.safetensors"]))
    for change in (
        lambda: arrays.pop("signal.acc"),
        lambda: arrays.__setitem__("signal", arrays["signal.ppg"]),
        lambda: arrays.__setitem__(f"{MERGED}/logits", arrays[f"{MERGED}/values"]),
        lambda: arrays.__setitem__("signal.acc", arrays["signal.acc"][:, :, :-1]),
    ):
        kept = dict(arrays)
        change()
        with pytest.raises(FormatError, match="golden"):
            write_tiny_bundle(
                tmp_path / "d.physio", contract=PAIR, files={"golden.safetensors": write_tensors(arrays)}
            ).golden()
        arrays.clear()
        arrays.update(kept)


def test_a_graph_that_mixes_its_sensors_up_is_refused(bundle: Bundle) -> None:
    golden = dict(bundle.golden())
    golden["signal.acc"] = golden["signal.acc"][::-1].copy()
    with pytest.raises(GoldenMismatch, match=f"values of {MERGED} off by"):
        check_golden(load_engine(bundle), bundle.graph(), golden)
    report = check_golden(load_engine(bundle), bundle.graph(), bundle.golden())
    assert report.windows == 3 and report.first < 1e-4


def test_tolerances_are_named_as_the_output(bundle: Bundle) -> None:
    text = bundle.manifest.to_bytes()
    assert text.count(b'"tolerance":{"embedding":0.0001,"values":0.0001}') == 3 and b'"logits"' not in text
