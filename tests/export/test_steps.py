from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from export_small import CONFIG, KEY, SEVERAL, several_contract
from numpy.typing import NDArray

from physioedge.models.backbone import pooled_streams
from physioedge.models.stepping import StepNetwork, step_spec
from physioedge_export.forms import Choice, forms
from physioedge_export.pipeline import export_bundle
from physioedge_export.request import Card, Destination, Windows
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import STEP_SCHEMA_VERSION, Contract
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.engine import Memory, SteppedEngine, load_engine
from physioedge_runtime.engine.verification import verify_bundle
from physioedge_runtime.errors import ContractError, ExportError, SignalError, SnapshotError
from physioedge_runtime.stream import Stream

SECONDS = 14
RATES, UNITS = {"ppg": 64.0, "acc": 32.0}, {"ppg": "a.u.", "acc": "g"}
CARD = Card(name="small", version="1", model_card="# small\n", licence_text="Apache-2.0\n")
Signals = dict[str, NDArray[np.float32]]


def contract_with_step(exported: dict[str, Any]) -> Contract:
    spec = step_spec(exported["several"].backbone, 1.0)
    return dataclasses.replace(several_contract(), schema_version=STEP_SCHEMA_VERSION, step=spec)


def recording(seconds: int = SECONDS, seed: int = 0) -> Signals:
    rng = np.random.default_rng(seed)
    t = {name: np.arange(int(seconds * fs_hz)) / fs_hz for name, fs_hz in RATES.items()}
    pulse = np.sin(2 * np.pi * 1.2 * t["ppg"]) + 0.3 * np.sin(2 * np.pi * 2.4 * t["ppg"] + 1)
    move = np.stack([np.sin(2 * np.pi * f * t["acc"]) for f in (0.5, 0.8, 1.1)])
    return {
        "ppg": (np.stack([pulse, 0.7 * pulse]) + 0.05 * rng.standard_normal((2, len(pulse)))).astype(np.float32),
        "acc": (0.2 * move + 0.02 * rng.standard_normal(move.shape)).astype(np.float32),
    }


def cut(contract: Contract, signals: Signals, end_s: int) -> tuple[NDArray[np.float32], ...]:
    parts = []
    for sensor in contract.sensors:
        stop = round(end_s * sensor.fs_hz)
        parts.append(np.ascontiguousarray(signals[sensor.name][None, :, stop - sensor.input_samples : stop]))
    return tuple(parts)


def first_end(contract: Contract) -> int:
    return int(np.ceil(max(sensor.input_samples / sensor.fs_hz for sensor in contract.sensors)))


@pytest.fixture(scope="module")
def bundle(exported: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    contract, signals = contract_with_step(exported), recording(60, seed=9)
    ends = range(first_end(contract), 40)
    windows = [cut(contract, signals, end) for end in ends]
    arrays = {s.name: np.concatenate([w[i] for w in windows]) for i, s in enumerate(contract.sensors)}
    folder = tmp_path_factory.mktemp("steps")
    report = export_bundle(
        exported["several"],
        contract=contract,
        windows=Windows(calibration=arrays, golden={name: array[:3] for name, array in arrays.items()}),
        card=CARD,
        destination=Destination(bundle=folder / "small.physio", signing_key=KEY, report=folder),
        adapter=exported["several_adapter"],
        choice=Choice(precisions=("fp32",), step=StepNetwork(exported["several"], contract.step)),
    )
    assert report.holds
    return Bundle.open(folder / "small.physio", trust=public_key(KEY))


def engine_of(bundle: Bundle, mode: str = "step", adapters: str = "merged") -> Any:
    return load_engine(bundle, precision="fp32", adapters=adapters, mode=mode)


def test_the_bundle_holds_every_graph_in_both_modes(bundle: Bundle) -> None:
    held = sorted(graph.file for graph in bundle.manifest.graphs)
    assert held == [f"graphs/{form}.fp32.{tail}" for form in ("merged", "slots") for tail in ("onnx", "step.onnx")]
    assert bundle.contract.schema_version == STEP_SCHEMA_VERSION
    assert Contract.from_json(bundle.contract.to_json()) == bundle.contract


def test_verify_proves_step_graphs_as_any_other(bundle: Bundle) -> None:
    checks = verify_bundle(bundle.path, public_key(KEY))
    golden = [check for check in checks if check.name.startswith("golden")]
    assert len(golden) == 4 and all(check.state == "ok" for check in checks)


def test_a_window_from_scratch_is_what_the_window_graph_gives(bundle: Bundle) -> None:
    signals, step, window = recording(), engine_of(bundle), engine_of(bundle, "window")
    assert isinstance(step, SteppedEngine)
    for end in range(first_end(bundle.contract), SECONDS):
        parts = cut(bundle.contract, signals, end)
        for one, other in zip(step.run(parts), window.run(parts), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-4, rtol=1e-4)


def test_windows_one_after_the_other_give_what_one_causal_pass_gives(bundle: Bundle, exported: dict[str, Any]) -> None:
    contract, signals, engine, memory = bundle.contract, recording(), engine_of(bundle), Memory()
    begin = first_end(contract)
    found = [engine.run_on(cut(contract, signals, end), None, memory)[1] for end in range(begin, SECONDS)]
    network = exported["several"]
    # a pass over everything from the first window's context on
    seconds = SECONDS - 1 - begin
    longer = tuple(
        dataclasses.replace(one, n_tokens=one.n_tokens + round(seconds / CONFIG.modality(one.kind).patch_s))
        for one in SEVERAL.sensors
    )
    whole = network.backbone.laid_out(dataclasses.replace(SEVERAL, sensors=longer))
    starts = {s.name: round(begin * s.fs_hz) - s.input_samples for s in contract.sensors}
    ends = {s.name: round((SECONDS - 1) * s.fs_hz) for s in contract.sensors}
    parts = [torch.from_numpy(signals[n][None, :, starts[n] : ends[n]].copy()) for n in starts]
    with torch.no_grad():
        tokens = whole(*parts)
    first, pooled = 0, []
    for one, long in zip(network.backbone.streams, whole.streams, strict=True):
        first += long.n_tokens
        pooled.append(tokens[:, first - one.pooled : first])
    expected = pooled_streams(pooled, [one.spread for one in network.backbone.streams]).numpy()
    np.testing.assert_allclose(found[-1], expected, atol=1e-4, rtol=1e-4)
    alone = engine.run(cut(contract, signals, SECONDS - 1))[1]
    assert np.abs(alone - expected).max() > 1e-3, "a window alone sees less, so the two must differ"


def test_a_gap_or_another_adapter_begins_anew(bundle: Bundle) -> None:
    contract, signals, engine = bundle.contract, recording(), engine_of(bundle, adapters="slots")
    begin = first_end(contract)
    rng = np.random.default_rng(0)
    adapter = {s.name: (0.05 * rng.standard_normal(s.shape)).astype(np.float32) for s in engine.slots}
    memory = Memory()
    for end in range(begin, begin + 4):
        engine.run_on(cut(contract, signals, end), None, memory)
    after_gap = engine.run_on(cut(contract, signals, begin + 5), None, memory)[0]
    np.testing.assert_array_equal(after_gap, engine.run(cut(contract, signals, begin + 5))[0])
    swapped = engine.run_on(cut(contract, signals, begin + 6), adapter, memory)[0]
    np.testing.assert_array_equal(swapped, engine.run(cut(contract, signals, begin + 6), adapter)[0])
    assert memory.pasts[-1].steps == contract.sensor.window_samples // contract.step_samples("ppg")


def test_streams_that_share_an_engine_do_not_disturb_each_other(bundle: Bundle) -> None:
    contract, engine = bundle.contract, engine_of(bundle)
    every = [recording(seed=1), recording(seed=2)]
    ends = range(first_end(contract), SECONDS)
    alone = []
    for signals in every:
        memory = Memory()
        alone.append([engine.run_on(cut(contract, signals, end), None, memory)[0] for end in ends])
    memories = [Memory(), Memory()]
    for i, end in enumerate(ends):
        for signals, memory, expected in zip(every, memories, alone, strict=True):
            np.testing.assert_array_equal(engine.run_on(cut(contract, signals, end), None, memory)[0], expected[i])


def test_a_bad_window_costs_its_memory_and_nothing_else(bundle: Bundle) -> None:
    contract, signals, engine, memory = bundle.contract, recording(), engine_of(bundle), Memory()
    begin = first_end(contract)
    engine.run_on(cut(contract, signals, begin), None, memory)
    bad = cut(contract, signals, begin + 1)
    bad[1][...] = np.nan
    with pytest.raises(SignalError):
        engine.run_on(bad, None, memory)
    engine.run_on(cut(contract, signals, begin + 2), None, memory)


def stream_of(bundle: Bundle, **changes: Any) -> Stream:
    return Stream(bundle, fs_hz=RATES, units=UNITS, precision="fp32", **changes)


def pushed(stream: Stream, signals: Signals, chunks: list[int]) -> list[Any]:
    """Results of the signals pushed in chunks of so many accelerometer samples, the pulse beside them."""
    results, at = [], 0
    for size in chunks:
        part = slice(at, at + size), slice(2 * at, 2 * (at + size))
        results += stream.push(signals["acc"][:, part[0]], sensor="acc")
        results += stream.push(signals["ppg"][:, part[1]], sensor="ppg")
        at += size
    return results


def test_a_stream_goes_on_from_step_to_step_whatever_the_chunks(bundle: Bundle) -> None:
    signals, total = recording(), SECONDS * 32
    with stream_of(bundle) as stream:
        assert isinstance(stream.engine, SteppedEngine)
        whole = pushed(stream, signals, [total])
        (past,) = stream._judge.memory.pasts
        stream.flush()
        assert past.last == () and stream._judge.memory.pasts == [], "the end of the signal is the end of its memory"
    rng = np.random.default_rng(4)
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(min(int(rng.integers(1, 50)), total - sum(sizes)))
    with stream_of(bundle) as stream:
        assert pushed(stream, signals, sizes) == whole
    assert sum(result.judged for result in whole) > 5
    with stream_of(bundle, mode="window") as stream:
        assert not isinstance(stream.engine, SteppedEngine)
        windows = pushed(stream, signals, [total])
    judged = [(a, b) for a, b in zip(whole, windows, strict=True) if a.judged]
    np.testing.assert_allclose(judged[0][0].values, judged[0][1].values, rtol=1e-4)
    assert judged[-1][0].values != judged[-1][1].values, "steps see further back than the window"


def test_a_snapshot_carries_what_is_remembered(bundle: Bundle) -> None:
    signals, half = recording(), SECONDS * 16
    rest = {"acc": signals["acc"][:, half:], "ppg": signals["ppg"][:, 2 * half :]}
    with stream_of(bundle) as stream:
        pushed(stream, signals, [half])
        state = stream.snapshot()
        expected = pushed(stream, rest, [half])
    with stream_of(bundle) as other:
        other.restore(state)
        assert pushed(other, rest, [half]) == expected
    state["memory"][0]["kept"]["k"] = np.zeros(3, np.float32)
    with stream_of(bundle) as other, pytest.raises(SnapshotError):
        other.restore(state)


def test_what_makes_no_step_is_refused(bundle: Bundle, exported: dict[str, Any]) -> None:
    contract = bundle.contract
    assert contract.step is not None
    with pytest.raises(ContractError, match="schema_version"):
        Contract.from_dict({**contract.to_dict(), "schema_version": 2})
    for changes in (
        {"hops": 2},
        {"streams": (dataclasses.replace(contract.step.streams[0], token_s=0.4), *contract.step.streams[1:])},
        {"head_dim": 3},
        {"streams": (dataclasses.replace(contract.step.streams[0], past_tokens=3), *contract.step.streams[1:])},
    ):
        broken = dataclasses.replace(contract, step=dataclasses.replace(contract.step, **changes))
        with pytest.raises(ContractError):
            Contract.from_dict(broken.to_dict())
    with pytest.raises(ExportError, match="a contract without one"):
        step = StepNetwork(exported["several"], contract.step)
        forms(exported["several"], several_contract(), None, Choice(adapters=("merged",), step=step))
