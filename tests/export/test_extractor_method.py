"""The extractor as a method of ExecuTorch programs, run by our C library: the same distances, the same condition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_small import CONFIG, KEY, LAYOUT, ecg_windows, small_contract

from physioedge.models.shapelets import Extractor as ShapeletExtractor
from physioedge.models.shapelets import ShapeletTransform
from physioedge_export import conditions
from physioedge_export.conditions import Extraction, check_methods
from physioedge_export.forms import Choice
from physioedge_export.personal import Personal
from physioedge_export.pipeline import export_bundle
from physioedge_export.request import Card, Destination, Windows
from physioedge_runtime.adaptation.condition import ConditionSpec
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.extractor import Extractor, MethodExtractor, load_extractor
from physioedge_runtime.errors import ContractError, ExportError, GoldenMismatch, ShapeError
from physioedge_runtime.stream import Stream

pytest.importorskip("executorch", reason="programs are made with the executorch package")
pytestmark = [pytest.mark.usefixtures("engine_here"), pytest.mark.filterwarnings("ignore")]
LIMIT = 1e-4


def extraction(seed: int = 0) -> Extraction:
    generator = torch.Generator().manual_seed(seed)
    bank = ShapeletTransform([torch.randn(3, 1, 25, generator=generator), torch.randn(2, 1, 50, generator=generator)])
    module = ShapeletExtractor(LAYOUT, {m.kind: m for m in CONFIG.modalities}, {"ecg": bank}).eval()
    return Extraction(module=module, source="bank", program=module.by_products())


@pytest.fixture(scope="module")
def bundle(exported: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path: Path = tmp_path_factory.mktemp("methods") / "small.physio"
    export_bundle(
        exported["model"], contract=small_contract(), adapter=exported["adapter"],
        windows=Windows(calibration={"ecg": ecg_windows(24)}, golden={"ecg": ecg_windows(3, seed=1)}),
        card=Card(name="small", version="1", model_card="# small\n", licence_text="Apache-2.0\n"),
        destination=Destination(bundle=path, signing_key=KEY), personal=Personal(extraction=extraction()),
        choice=Choice(targets=("onnx", "executorch"), adapters=("merged",), precisions=("fp32",)),
    )  # fmt: skip
    return Bundle.open(path, trust=public_key(KEY))


def both(bundle: Bundle) -> tuple[Extractor, MethodExtractor]:
    spec = ConditionSpec.all_of(bundle)["shapelets"]
    assert spec.graph is not None and spec.golden is not None
    found = [
        load_extractor(bundle, spec.graph, spec.golden, load_engine(bundle, engine=engine, precision="fp32"))
        for engine in ("onnxruntime", "executorch")
    ]
    assert isinstance(found[0], Extractor) and isinstance(found[1], MethodExtractor)
    return found[0], found[1]


def test_both_engines_give_the_same_distances(bundle: Bundle) -> None:
    onnx, method = both(bundle)
    signals = ecg_windows(8, seed=9)
    with torch.no_grad():
        wanted = extraction().module(torch.from_numpy(signals)).numpy()
    for signal, row in zip(signals, wanted, strict=True):
        np.testing.assert_allclose(method.run(signal[None]), onnx.run(signal[None]), atol=LIMIT)
        np.testing.assert_allclose(method.run((signal[None],)), row, atol=2 * LIMIT)
    first = method.run(signals[:1])
    method.run(signals[1:2])
    np.testing.assert_array_equal(first, method.run(signals[:1]))  # answers are the caller's own


def test_a_stream_makes_the_same_condition_with_either_engine(bundle: Bundle) -> None:
    signal = np.concatenate([window[0] for window in ecg_windows(40, seed=5)])[None]
    found = []
    for engine in ("onnxruntime", "executorch"):
        stream = Stream(bundle, fs_hz=CONFIG.modality("ecg").fs_hz, units="mV", engine=engine, precision="fp32",
                        collect="shapelets")  # fmt: skip
        stream.push(signal)
        found.append(stream.condition())
    assert found[0].windows == found[1].windows >= 30
    np.testing.assert_allclose(found[0].mean, found[1].mean, atol=LIMIT)
    np.testing.assert_allclose(found[0].deviation, found[1].deviation, atol=LIMIT)


def test_another_method_or_another_length_is_refused(bundle: Bundle) -> None:
    spec, engine = ConditionSpec.all_of(bundle)["shapelets"], load_engine(bundle, engine="executorch", precision="fp32")
    assert spec.golden is not None
    with pytest.raises(GoldenMismatch):
        MethodExtractor(bundle, engine, spec.golden + 0.5)  # type: ignore[arg-type]
    with pytest.raises(ContractError):
        MethodExtractor(bundle, engine, spec.golden[:, :-1])  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        both(bundle)[1].run(np.zeros((1, 1, 1), np.float32))


def test_an_export_whose_engines_disagree_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = (graph.file for graph in bundle.manifest.graphs if graph.engine == "executorch")
    files = {name: bundle.read(name) for name in (program, conditions.GRAPH)}
    golden = {"signal": ecg_windows(3, seed=1)}
    check_methods(extraction(), small_contract(), files, (program,), golden)
    check_methods(None, small_contract(), {}, (program,), golden)  # nothing to compare
    monkeypatch.setattr(conditions, "_run", lambda data, windows: np.zeros((3, 5), np.float32))
    with pytest.raises(ExportError, match="distances"):
        check_methods(replace(extraction(), source="other"), small_contract(), files, (program,), golden)
