"""Step graphs of one stream, whose keys and values lie in rows: on both engines."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_small import CONFIG, KEY, RANK
from numpy.typing import NDArray

from physioedge.models.backbone import Backbone, pooled_streams
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ECG
from physioedge.models.network import Network, network_on
from physioedge.models.stepping import StepNetwork, step_spec
from physioedge.tasks.arrhythmia import contract_for
from physioedge_export.forms import Choice
from physioedge_export.merge import LoraAdapter, LoraPair
from physioedge_export.pipeline import export_bundle
from physioedge_export.request import Card, Destination, Windows
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import ROWS_SCHEMA_VERSION, Contract
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.engine import Memory, load_engine
from physioedge_runtime.errors import ContractError

CARD = Card(name="rows", version="1", model_card="# rows\n", licence_text="Apache-2.0\n")
LEAD = CONFIG.modality("ecg")
LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=10, spread=True),))
SHORT = dataclasses.replace(CONFIG, attention_window=13)
SECONDS = 12


def network() -> Network:
    torch.manual_seed(3)
    made = network_on(Backbone(SHORT, LAYOUT), 3, classes=True, head_seed=0).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def contract_of(made: Network) -> Contract:
    base, spec = contract_for("0" * 64, SHORT, LAYOUT), step_spec(made.backbone, 1.0)
    trigger = dataclasses.replace(base.trigger, kind="hop", lookahead_samples=0, hop_samples=125)
    contract = dataclasses.replace(base, schema_version=ROWS_SCHEMA_VERSION, trigger=trigger, step=spec)
    return Contract.from_dict(contract.to_dict())


def adapter_of() -> LoraAdapter:
    rng = np.random.default_rng(0)
    d = SHORT.d_model
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32) / np.float32(d**0.5)  # noqa: E731
    names = [f"backbone.blocks.{i}.attention.{part}" for i in range(SHORT.n_layers) for part in "qv"]
    zero = np.zeros((d, RANK), np.float32)
    return LoraAdapter(pairs={name: LoraPair(a=draw(RANK, d), b=zero, scale=1.0) for name in names})


def recording(contract: Contract) -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    t = np.arange(SECONDS * 125 + contract.sensor.input_samples) / 125
    return (np.sin(2 * np.pi * 1.3 * t) ** 9 + 0.05 * rng.standard_normal(len(t))).astype(np.float32)[None, None]


def cut(contract: Contract, signal: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(signal[..., hop * 125 : hop * 125 + contract.sensor.input_samples])


def bundle_of(folder: Path, target: str, precision: str) -> tuple[Network, Bundle]:
    made = network()
    contract = contract_of(made)
    signal = recording(contract)
    windows = np.concatenate([cut(contract, signal, hop) for hop in range(SECONDS)])
    report = export_bundle(
        made,
        contract=contract,
        windows=Windows(calibration={"ecg": windows}, golden={"ecg": windows[:3]}),
        card=CARD,
        destination=Destination(bundle=folder / "rows.physio", signing_key=KEY, report=folder),
        adapter=adapter_of(),
        choice=Choice(targets=(target,), precisions=(precision,), step=StepNetwork(made, contract.step)),
    )
    assert report.holds
    return made, Bundle.open(folder / "rows.physio", trust=public_key(KEY))


@pytest.fixture(scope="module", params=["onnx", "executorch"])
def exported_rows(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Bundle, str]:
    if request.param == "executorch":
        folder = request.getfixturevalue("native_engine")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PHYSIOEDGE_ENGINE_DIR", str(folder))
            made, bundle = bundle_of(tmp_path_factory.mktemp("rows"), "executorch", "fp32")
        return made, bundle, "executorch"
    made, bundle = bundle_of(tmp_path_factory.mktemp("rows"), "onnx", "fp32")
    return made, bundle, "onnxruntime"


def loaded(bundle: Bundle, engine: str, mode: str = "step", adapters: str = "merged") -> Any:
    return load_engine(bundle, engine=engine, precision="fp32", adapters=adapters, mode=mode)


def causal(made: Network, contract: Contract, signal: NDArray[np.float32], hops: int) -> NDArray[np.float32]:
    """The embedding that one pass over everything up to this window gives."""
    spec = contract.step
    assert spec is not None
    n = 10 + hops * spec.new_tokens
    whole = made.backbone.laid_out(Layout(sensors=(dataclasses.replace(LAYOUT.sensors[0], n_tokens=n),)))
    with torch.no_grad():
        samples = LEAD.context_samples + n * ECG.patch_samples
        tokens = whole(torch.from_numpy(signal[..., :samples].copy()))
        return pooled_streams([tokens[:, -10:]], [True]).numpy()


def test_steps_in_rows_give_what_one_causal_pass_gives(
    exported_rows: tuple[Network, Bundle, str], engine_here: Path
) -> None:
    made, bundle, name = exported_rows
    contract, engine, memory = bundle.contract, loaded(bundle, name), Memory()
    assert contract.step is not None and contract.step.layout == "rows" and contract.schema_version == 4
    signal = recording(contract)
    window = loaded(bundle, name, "window")
    first = cut(contract, signal, 0)
    for one, other in zip(engine.run(first), window.run(first), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4, rtol=1e-4)
    for hop in range(SECONDS):
        found = engine.run_on(cut(contract, signal, hop), None, memory)[1]
        np.testing.assert_allclose(found, causal(made, contract, signal, hop), atol=1e-4, rtol=1e-4)
        if hop == 5:  # somebody else uses the engine in between
            engine.run(first)
    assert memory.pasts[-1].steps == SECONDS + 1


def test_slots_in_rows_do_what_they_do_in_windows(
    exported_rows: tuple[Network, Bundle, str], engine_here: Path
) -> None:
    _, bundle, name = exported_rows
    step, window = (loaded(bundle, name, mode, "slots") for mode in ("step", "window"))
    signal = cut(bundle.contract, recording(bundle.contract), 2)
    rng = np.random.default_rng(0)
    adapter = {s.name: (0.1 * rng.standard_normal(s.shape)).astype(np.float32) for s in step.slots}
    for one, other in zip(step.run(signal, adapter), window.run(signal, adapter), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4, rtol=1e-4)
    assert np.abs(step.run(signal, adapter)[1] - step.run(signal)[1]).max() > 1e-3


def test_a_memory_in_rows_goes_on_elsewhere(exported_rows: tuple[Network, Bundle, str], engine_here: Path) -> None:
    _, bundle, name = exported_rows
    contract, signal, engine, memory = bundle.contract, recording(bundle.contract), loaded(bundle, name), Memory()
    for hop in range(4):
        engine.run_on(cut(contract, signal, hop), None, memory)
    state = engine.snapshot(memory)
    expected = engine.run_on(cut(contract, signal, 4), None, memory)
    other = loaded(bundle, name)
    for one, two in zip(
        other.run_on(cut(contract, signal, 4), None, other.restored(state, None)), expected, strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_rows_are_of_one_stream_and_of_their_schema() -> None:
    contract = contract_of(network())
    assert contract.step is not None
    columns = dataclasses.replace(contract.step, layout="columns")
    older = Contract.from_dict(dataclasses.replace(contract, schema_version=3, step=columns).to_dict())
    assert "layout" not in older.to_dict()["step"] and Contract.from_json(older.to_json()) == older
    twice = dataclasses.replace(contract.step, streams=contract.step.streams * 2)
    for broken in (
        dataclasses.replace(contract, schema_version=3),
        dataclasses.replace(contract, step=twice),
        dataclasses.replace(contract, step=dataclasses.replace(contract.step, layout="diagonals")),
    ):
        with pytest.raises(ContractError):
            Contract.from_dict(broken.to_dict())
