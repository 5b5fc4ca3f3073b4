from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_small import (
    CONFIG,
    KEY,
    LAYOUT,
    SAMPLES,
    ecg_windows,
    several_contract,
    several_windows,
    small_contract,
)
from numpy.typing import NDArray

from physioedge.models.shapelets import Extractor, ShapeletTransform
from physioedge_export import build, parity
from physioedge_export.centring import Head, centring_file, head_of
from physioedge_export.conditions import Extraction
from physioedge_export.forms import Choice
from physioedge_export.merge import LoraAdapter
from physioedge_export.parity import Tolerance
from physioedge_export.personal import Personal
from physioedge_export.pipeline import adapter_noise, export_bundle
from physioedge_export.quantize import QuantizeConfig, quantize_weight
from physioedge_export.request import Card, Destination, Windows
from physioedge_export.runners import run_windows, torch_runner
from physioedge_runtime.adaptation.centring import Centre
from physioedge_runtime.adaptation.condition import ConditionSpec
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import ConditionError, ExportError, SnapshotError
from physioedge_runtime.stream import Stream

CARD = Card(name="small", version="1", model_card="# small\n", licence_text="Apache-2.0\n")
BOTH = Choice(precisions=("fp32", "int8"))


def windows() -> Windows:
    return Windows(calibration={"ecg": ecg_windows(24)}, golden={"ecg": ecg_windows(3, seed=1)})


def of(**changes: Any) -> Windows:
    """`windows` with other arrays of the one sensor."""
    return dataclasses.replace(windows(), **{name: {"ecg": array} for name, array in changes.items()})


def extractor() -> Extractor:
    generator = torch.Generator().manual_seed(0)
    bank = ShapeletTransform([torch.randn(3, 1, 25, generator=generator), torch.randn(2, 1, 50, generator=generator)])
    return Extractor(LAYOUT, {m.kind: m for m in CONFIG.modalities}, {"ecg": bank}).eval()


def export(exported: dict[str, Any], folder: Path, **changes: Any) -> Any:
    parts: dict[str, Any] = {
        "contract": small_contract(),
        "windows": windows(),
        "card": CARD,
        "destination": Destination(bundle=folder / "small.physio", signing_key=KEY, report=folder / "report"),
        "adapter": exported["adapter"],
        "personal": Personal(
            head=head_of(exported["model"].head, CONFIG.d_model, 0.5),
            extraction=Extraction(module=extractor(), source="bank"),
        ),
        "choice": BOTH,
    }
    return export_bundle(exported["model"], **{**parts, **changes})


@pytest.fixture(scope="module")
def made(exported: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("export")
    return folder, export(exported, folder)


def test_the_runtime_loads_every_graph(made: tuple[Path, Any], exported: dict[str, Any]) -> None:
    folder, report = made
    bundle = Bundle.open(folder / "small.physio", trust=public_key(KEY))
    assert bundle.digest == report.digest
    assert [slot.name for slot in bundle.contract.slots] == [slot.name for slot in exported["slotted"].slots]
    window = ecg_windows(1, seed=9)
    expected = torch_runner(exported["model"], ["signal"])({"signal": window})[0]
    for precision, limit in (("fp32", 1e-3), ("int8", 0.5)):
        for adapters in ("merged", "slots"):
            logits, embedding = load_engine(bundle, precision=precision, adapters=adapters).run(window)
            assert np.abs(logits - expected).max() < limit
            assert embedding.shape == (1, CONFIG.d_model)
    golden = bundle.golden()
    assert (
        np.abs(golden["graphs/slots.int8.onnx/adapted_logits"] - golden["graphs/slots.int8.onnx/logits"]).max() > 1e-3
    )


def test_a_device_can_centre_what_the_graph_says(made: tuple[Path, Any], exported: dict[str, Any]) -> None:
    folder, _ = made
    centre = Centre.of(Bundle.open(folder / "small.physio", trust=public_key(KEY)))
    found = run_windows(torch_runner(exported["model"], ["signal"]), {"signal": ecg_windows(8, seed=3)})
    level = found.first - found.embedding @ centre.weight.T
    np.testing.assert_allclose(level, np.broadcast_to(level[:1], level.shape), atol=1e-4)
    seen = run_windows(torch_runner(exported["model"], ["signal"]), {"signal": windows().calibration["ecg"]})
    np.testing.assert_allclose(centre.reference, seen.embedding.mean(0), atol=0.02)  # int8 against float
    assert centre.share == 0.5
    bent = Head(weight=centre.weight + 0.5, constant=level[0], share=0.5)
    with pytest.raises(ExportError, match="strays"):
        centring_file(bent, found)


def a_signal() -> NDArray[np.float32]:
    return np.concatenate([window[0] for window in ecg_windows(40, seed=5)])[None]


@pytest.mark.parametrize("kind", ["embedding", "shapelets"])
def test_a_stream_gives_the_condition_of_the_windows_it_judged(made: tuple[Path, Any], kind: str) -> None:
    bundle = Bundle.open(made[0] / "small.physio", trust=public_key(KEY))
    signal, told = a_signal(), {"fs_hz": CONFIG.modality("ecg").fs_hz, "units": "mV", "collect": kind}
    stream, whole = Stream(bundle, **told), Stream(bundle, **told)
    with pytest.raises(ConditionError, match="0 windows"):
        stream.condition()
    results = whole.push(signal)
    asked = [result for result in results if result.embedding is not None]
    assert len(asked) >= 30
    half = signal.shape[1] // 2
    stream.push(signal[:, :half])
    again = Stream(bundle, **told)  # a restart in the middle
    again.restore(stream.snapshot())
    again.push(signal[:, half:])
    found, at_once = again.condition(), whole.condition()
    assert found.windows == at_once.windows == len(asked)
    np.testing.assert_allclose(found.mean, at_once.mean, atol=1e-6)
    spec = ConditionSpec.all_of(bundle)[kind]
    if kind == "embedding":
        features = np.stack([result.embedding for result in asked])
    else:
        starts = [round(r.t_anchor_s * told["fs_hz"]) + bundle.contract.trigger.lookahead_samples for r in asked]
        cuts = [signal[None, :, s + 1 - SAMPLES : s + 1] for s in starts]
        with torch.no_grad():
            features = np.concatenate([extractor()(torch.from_numpy(np.ascontiguousarray(c))).numpy() for c in cuts])
    clipped = np.clip(features, spec.low, spec.high)
    np.testing.assert_allclose(found.mean, clipped.mean(0), atol=2e-4)
    np.testing.assert_allclose(found.deviation, clipped.std(0), atol=2e-4)


@pytest.mark.parametrize("kind", ["embedding", "shapelets"])
def test_collecting_begins_anew_where_it_must(made: tuple[Path, Any], kind: str) -> None:
    bundle = Bundle.open(made[0] / "small.physio", trust=public_key(KEY))
    told = {"fs_hz": CONFIG.modality("ecg").fs_hz, "units": "mV", "collect": kind}
    again = Stream(bundle, **told)
    again.push(a_signal())
    state = again.snapshot()
    again.set_adapter({BIAS: np.zeros(3, np.float32)}, "mine")  # distances do not depend on adapters, embeddings do
    if kind == "embedding":
        with pytest.raises(ConditionError):
            again.condition()
    else:
        assert again.condition().adapter == "mine"
    again.forget()
    with pytest.raises(ConditionError):
        again.condition()
    with pytest.raises(SnapshotError, match="collects"):
        Stream(bundle, **{**told, "collect": None}).restore(state)
    with pytest.raises(ConditionError, match="collects nothing"):
        Stream(bundle, **{**told, "collect": None}).condition()
    with pytest.raises(ConditionError, match="bundle offers"):
        Stream(bundle, **{**told, "collect": "waveform"})


def test_several_sensors_and_values(exported: dict[str, Any], tmp_path: Path) -> None:
    """Through the whole chain and back: what the runtime computes is what torch does, and the report says values."""
    contract = several_contract()
    few = several_windows(3, seed=1)
    asked = {
        "contract": contract,
        "windows": Windows(calibration=several_windows(48), golden=few),
        "card": CARD,
        "destination": Destination(bundle=tmp_path / "several.physio", signing_key=KEY),
        "choice": Choice(precisions=("fp32", "int8"), fallback=("merged",)),
    }
    report = export_bundle(exported["several"], **asked, adapter=exported["several_adapter"])
    bundle = Bundle.open(tmp_path / "several.physio", trust=public_key(KEY))
    assert [sensor.name for sensor in bundle.contract.sensors] == ["ppg", "acc"]
    golden = bundle.golden()
    np.testing.assert_array_equal(golden["signal.acc"], few["acc"])
    assert golden["graphs/slots.int8.onnx/adapted_values"].shape == (3, 2)
    signals = tuple(array[1:2] for array in few.values())
    expected = torch_runner(exported["several"], ["ppg", "acc"])({k: v[1:2] for k, v in few.items()})[0]
    for form in ("merged", "slots"):
        values, embedding = load_engine(bundle, precision="fp32", adapters=form).run(signals)
        np.testing.assert_allclose(values, expected, atol=1e-2)
        assert embedding.shape == (1, contract.embedding_dim)
        load_engine(bundle, precision="int8", adapters=form)
    rows = [row for row in report.agreement if row.candidate == "graphs/merged.int8.onnx"]
    assert all(0 < difference < 1 for difference in rows[0].mean_difference)
    assert rows[0].same_label is None
    text = (tmp_path / "export-report.md").read_text()
    assert "| mean difference | of the deviation | values |" in text
    assert "same label" not in text


def test_as_many_windows_of_each_sensor(exported: dict[str, Any], tmp_path: Path) -> None:
    windows_of_both = several_windows(3)
    windows_of_both["acc"] = windows_of_both["acc"][:2]
    asked = Windows(calibration=windows_of_both, golden=several_windows(1))
    with pytest.raises(ExportError, match="as many of each sensor"):
        asked.fed(several_contract())


def test_the_report_says_what_was_measured(made: tuple[Path, Any]) -> None:
    folder, _ = made
    values = json.loads((folder / "report" / "export-report.json").read_text())
    assert values["holds"]
    assert values["bundle_bytes"] == (folder / "small.physio").stat().st_size
    stages = [(row["reference"], row["candidate"]) for row in values["agreement"]]
    assert ("torch merged", "torch slots holding zeros") in stages
    for form in ("merged", "slots"):
        files = [f"graphs/{form}.{precision}.onnx" for precision in ("fp32", "int8")]
        chain = [f"torch {form}", *files]
        assert set(itertools.pairwise(chain)) <= set(stages)
        assert {(file, f"{file} in the bundle") for file in files} <= set(stages)
        assert len(values["worst_layers"][files[1]]) == 5
    sizes = {graph["file"]: graph for graph in values["graphs"]}
    twin = sizes["graphs/merged.int8.onnx"]
    assert twin["ratio_to_fp32"] == pytest.approx(twin["bytes"] / sizes["graphs/merged.fp32.onnx"]["bytes"])
    assert any("fp32 here" in line for line in values["answers"])
    assert all(0 < noise < 0.5 for noise in values["delta_noise"].values())
    text = (folder / "report" / "export-report.md").read_text()
    page = (folder / "report" / "export-report.html").read_text()
    for layer in values["worst_layers"]["graphs/merged.int8.onnx"]:
        assert layer in text
        assert layer in page
    assert str(folder) not in text + page + json.dumps(values)
    assert page.count("data:image/png;base64") == 4  # merged and slots, dynamic and static


def test_a_second_export_gives_the_same_bundle(
    made: tuple[Path, Any], exported: dict[str, Any], tmp_path: Path
) -> None:
    again = export(exported, tmp_path)
    assert (tmp_path / "small.physio").read_bytes() == (made[0] / "small.physio").read_bytes()
    assert again.digest == made[1].digest


def test_only_what_was_asked_for_is_shipped(exported: dict[str, Any], tmp_path: Path) -> None:
    choice = Choice(adapters=("merged",), scheme="static-qdq")
    report = export(exported, tmp_path, choice=choice, adapter=None)
    bundle = Bundle.open(tmp_path / "small.physio", trust=public_key(KEY))
    assert [graph.variant for graph in bundle.manifest.graphs] == [("onnxruntime", "int8", "merged")]
    assert not bundle.contract.slots
    assert [graph.shipped for graph in report.graphs] == [False, True]
    load_engine(bundle)


def test_out_of_tolerance_is_an_error_with_a_report_and_no_bundle(
    exported: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Tolerance(first=1e-9, embedding=1e-9, p99_probability=1e-9, same_label=1.0, mean_of_sd=0.0)
    monkeypatch.setattr(parity, "INT8", strict)
    with pytest.raises(ExportError, match=r"graphs/merged\.int8\.onnx differing from graphs/merged\.fp32\.onnx"):
        export(exported, tmp_path)
    assert not (tmp_path / "small.physio").exists()
    values = json.loads((tmp_path / "report" / "export-report.json").read_text())
    assert not values["holds"]
    assert values["digest"] is None
    assert "OUT OF TOLERANCE" in (tmp_path / "report" / "export-report.md").read_text()


def test_an_adapter_drowned_by_rounding_is_refused(exported: dict[str, Any], tmp_path: Path) -> None:
    faint = {n: dataclasses.replace(p, scale=p.scale * 1e-3) for n, p in exported["adapter"].pairs.items()}
    with pytest.raises(ExportError, match="int8 rounding drowns"):
        export(exported, tmp_path, adapter=LoraAdapter(pairs=faint))


def test_noise_of_an_adapter_is_that_of_all_layers_together(exported: dict[str, Any]) -> None:
    """By hand: the rounding of every weight against every change, as two long vectors."""
    model, adapter = exported["model"], exported["adapter"]
    names = sorted(adapter.pairs)
    first = dataclasses.replace(adapter.pairs[names[0]], scale=1e-3 * adapter.pairs[names[0]].scale)
    pairs = {**adapter.pairs, names[0]: first}
    by_layer, together = adapter_noise(model, LoraAdapter(pairs=pairs))
    assert by_layer[names[0]] > 10  # a layer that hardly changed does not decide
    rounding, change = [], []
    for name in names:
        weight = model.state_dict()[f"{name}.weight"].numpy().T
        levels, scale = quantize_weight(weight)
        rounding.append((levels * scale - weight).ravel())
        change.append(pairs[name].delta().ravel())
    expected = np.linalg.norm(np.concatenate(rounding)) / np.linalg.norm(np.concatenate(change))
    assert together == pytest.approx(expected, rel=1e-4)
    assert together < 0.5
    spared, less = adapter_noise(model, LoraAdapter(pairs=pairs), ("blocks.0.attention",))
    assert {n for n, found in spared.items() if found == 0.0} == {n for n in names if ".blocks.0.attention." in n}
    assert less < together


def test_a_fallback_out_of_tolerance_is_left_out_and_said(
    exported: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of three bits in the static graph alone: the fallback is wrong, everything else stands."""
    right = build.quantize

    def quantize(model: Any, config: QuantizeConfig, calibration: Any = ()) -> Any:
        bits = 3 if config.scheme == "static" else 8
        return right(model, dataclasses.replace(config, weight_bits=bits), calibration)

    monkeypatch.setattr(build, "quantize", quantize)
    report = export(exported, tmp_path, choice=Choice(adapters=("merged",)))
    rows = {row.candidate: row for row in report.agreement}
    assert not rows["graphs/merged.int8_static.onnx"].holds
    assert report.holds
    bundle = Bundle.open(tmp_path / "small.physio", trust=public_key(KEY))
    assert [graph.precision for graph in bundle.manifest.graphs] == ["int8"]
    assert "graphs/merged.int8_static.onnx is out of tolerance and left out" in report.summary()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"choice": Choice(targets=("tflite",))}, "target tflite"),
        ({"choice": Choice(adapters=())}, "adapters none"),
        ({"adapter": None}, "slots without an adapter"),
        ({"windows": of(calibration=ecg_windows(2)[:, :, 1:])}, "calibration windows"),
        ({"windows": of(golden=ecg_windows(1) * np.float32(np.nan))}, "NaN"),
        ({"windows": of(golden=ecg_windows(0).reshape(0, 1, SAMPLES))}, "golden"),
        ({"windows": of(parity=ecg_windows(2).astype(np.float64))}, "parity windows of ecg float64"),
        ({"windows": dataclasses.replace(windows(), golden={"ppg": ecg_windows(1)})}, "golden windows of ppg"),
    ],
)
def test_wrong_requests_give_one_message(
    exported: dict[str, Any], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExportError, match=words):
        export(exported, tmp_path, **change)


def test_layers_that_int8_harms_most_stay_in_fp32_within_the_budget(exported: dict[str, Any], tmp_path: Path) -> None:
    plain = export(exported, tmp_path / "plain", choice=Choice(adapters=("merged",), fallback=()))
    rows = sorted(plain.sqnr["graphs/merged.int8.onnx"], key=lambda row: row.sqnr_db)
    one_layer = 3 * CONFIG.d_model**2  # of an attention's projections; the feed-forward ones are four times as large
    choice = Choice(adapters=("merged",), fallback=(), float_budget_bytes=one_layer)
    helped = export(exported, tmp_path / "helped", choice=choice)
    left = {row.layer for row in helped.sqnr["graphs/merged.int8.onnx"]}
    small = next(row.layer for row in rows if "attention" in row.layer)
    assert {row.layer for row in rows} - left == {small}
    sizes = [next(g.bytes for g in report.graphs if g.shipped) for report in (plain, helped)]
    assert 0 < sizes[1] - sizes[0] < one_layer + 500
    assert helped.agreement[0].max_embedding < plain.agreement[0].max_embedding * 1.5
