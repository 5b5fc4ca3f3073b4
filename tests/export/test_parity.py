from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from export_small import ecg_feeds

from physioedge_export import speed
from physioedge_export.feeds import by_window
from physioedge_export.parity import FP32, INT8, SAME, compare, demand, probabilities
from physioedge_export.quantize import QuantizeConfig, quantize, quantized_layers
from physioedge_export.runners import Outputs
from physioedge_export.sqnr import MAX_DB, layer_outputs, layer_sqnr, plot_sqnr, worst
from physioedge_runtime.errors import ExportError


def outputs(shift: float = 0.0) -> Outputs:
    rng = np.random.default_rng(0)
    logits, embedding = rng.standard_normal((50, 3)).astype(np.float32), rng.standard_normal((50, 4)).astype(np.float32)
    logits[:, 0] += np.float32(shift)
    return Outputs(first=logits, embedding=embedding)


def test_equal_outputs_hold_under_every_tolerance() -> None:
    for tolerance in (FP32, INT8, SAME):
        row = compare(("a", "b"), outputs(), outputs(), tolerance)
        assert row.holds
        assert (row.max_first, row.max_probability, row.same_label, row.windows) == (0.0, 0.0, 1.0, 50)
        demand([row])


def test_other_labels_and_other_logits_do_not_hold() -> None:
    row = compare(("fp32", "int8"), outputs(), outputs(3.0), INT8)
    assert not row.holds
    assert row.same_label < 0.9
    with pytest.raises(ExportError, match="int8 differing from fp32 in 50 windows: same label in"):
        demand([row])
    assert not compare(("a", "b"), outputs(), outputs(0.02), FP32).holds
    assert compare(("a", "b"), outputs(), outputs(0.02), INT8).holds


@pytest.mark.parametrize("which", ["first", "embedding"])
@pytest.mark.parametrize("output", ["logits", "values"])
def test_nan_never_holds(which: str, output: str) -> None:
    broken = outputs()
    getattr(broken, which)[3, 1] = np.nan
    for tolerance in (FP32, INT8, SAME):
        assert not compare(("a", "b"), outputs(), broken, tolerance, output=output).holds


def test_values_are_held_to_their_spread() -> None:
    """The rule by hand: mean absolute difference over the reference's standard deviation, the worst value decides."""
    rng = np.random.default_rng(1)
    first = (np.array([100.0, 60.0]) + np.array([15.0, 5.0]) * rng.standard_normal((200, 2))).astype(np.float32)
    noise = rng.standard_normal((200, 2)) * np.array([0.1, 0.09])
    embedding = np.zeros((200, 4), np.float32)
    fp32 = Outputs(first=first, embedding=embedding)
    int8 = Outputs(first=(first + noise).astype(np.float32), embedding=embedding)
    row = compare(("fp32", "int8"), fp32, int8, INT8, output="values")
    assert row.mean_difference == pytest.approx(np.abs(noise).mean(0), rel=1e-3)
    assert row.mean_of_sd == pytest.approx(np.abs(noise[:, 1]).mean() / first[:, 1].std(), rel=1e-3)
    assert row.holds
    assert (row.same_label, row.p99_probability) == (None, None)
    assert not compare(("fp32", "int8"), fp32, int8, FP32, output="values").holds
    far = Outputs(first=first + np.array([0.0, 0.5], np.float32), embedding=embedding)
    row = compare(("fp32", "int8"), fp32, far, INT8, output="values")
    assert not row.holds
    with pytest.raises(ExportError, match=r"values by 0, 0.5 on average, up to 0.5, \d+.\d+% of their deviation"):
        demand([row])


def test_one_window_of_values_must_be_the_same() -> None:
    embedding = np.ones((1, 2), np.float32)
    one, near = (Outputs(first=np.full((1, 1), value, np.float32), embedding=embedding) for value in (7, 7.01))
    assert compare(("a", "b"), one, one, INT8, output="values").holds
    assert not compare(("a", "b"), one, near, INT8, output="values").holds


def test_probabilities_are_a_softmax() -> None:
    logits = np.array([[1000.0, 1000.0, -1000.0]], np.float32)
    np.testing.assert_allclose(probabilities(logits), [[0.5, 0.5, 0.0]])


def test_sqnr_of_a_graph_against_itself_and_with_fewer_bits(exported: dict[str, Any], tmp_path: Any) -> None:
    inputs = list(by_window(ecg_feeds(6)))
    rows = layer_sqnr(exported["fp32"], exported["int8"], inputs)
    assert [row.layer for row in rows] == quantized_layers(exported["int8"])
    assert all(20 < row.sqnr_db < 70 and row.signal_rms > 0 for row in rows)
    seven = layer_sqnr(exported["fp32"], quantize(exported["fp32"], QuantizeConfig(weight_bits=7)), inputs)
    assert np.mean([row.sqnr_db for row in seven]) < np.mean([row.sqnr_db for row in rows]) - 1.0
    assert [row.sqnr_db for row in worst(rows, 3)] == sorted(row.sqnr_db for row in rows)[:3]
    plot_sqnr(rows, tmp_path / "plot.png", title="a title")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_sqnr_is_the_ratio_it_says(exported: dict[str, Any]) -> None:
    """Recomputed by hand for one layer from the tensors both graphs give."""
    import onnx
    import onnxruntime

    inputs = ecg_feeds(1)
    layer = "backbone.blocks.1.attention.o"
    tensor = layer_outputs(exported["fp32"])[layer]
    values = []
    for name in ("fp32", "int8"):
        model = onnx.ModelProto()
        model.CopyFrom(exported[name])
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        values.append(session.run([tensor], inputs)[0].astype(float))
    expected = 10 * np.log10((values[0] ** 2).sum() / ((values[0] - values[1]) ** 2).sum())
    row = next(row for row in layer_sqnr(exported["fp32"], exported["int8"], [inputs]) if row.layer == layer)
    assert row.sqnr_db == pytest.approx(expected, abs=0.2)


def test_no_noise_is_reported_as_the_limit(exported: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from physioedge_export import sqnr

    monkeypatch.setattr(sqnr, "quantized_layers", lambda model: list(layer_outputs(model)))
    rows = layer_sqnr(exported["fp32"], exported["fp32"], [ecg_feeds(1)])
    assert {row.sqnr_db for row in rows} == {MAX_DB}


@pytest.mark.parametrize(
    ("int8_ms", "words"), [(0.5, "2.00 times as fast"), (1.0, "no faster than"), (2.0, "slower than")]
)
def test_the_answer_says_what_was_measured(int8_ms: float, words: str) -> None:
    fp32 = speed.Speed(file="merged.fp32.onnx", p50_ms=1.0, p90_ms=1.0)
    int8 = speed.Speed(file="merged.int8.onnx", p50_ms=int8_ms, p90_ms=int8_ms)
    text = speed.answer(int8, fp32)
    assert words in text
    assert ("because" in text or "products" in text) == (int8_ms >= 1.0)


def test_rounds_take_turns() -> None:
    seen: list[str] = []

    def runner(name: str) -> Any:
        def run(inputs: Any) -> Any:
            seen.append(name)
            return np.zeros(1), np.zeros(1)

        return run

    found = speed.measure({n: (runner(n), {}) for n in "ab"}, ecg_feeds(1), rounds=2, calls=1)
    assert "".join(seen) == "aaabbbaaabbb"
    assert [row.file for row in found] == ["a", "b"]
    assert all(0 <= row.p50_ms <= row.p90_ms for row in found)


def test_two_withheld_labels_are_the_same_answer():
    def logits(*rows: tuple[float, float, float]) -> Outputs:
        return Outputs(first=np.log(np.array(rows, np.float32)), embedding=np.zeros((len(rows), 2), np.float32))

    tied, other = logits((0.41, 0.39, 0.2), (0.8, 0.1, 0.1)), logits((0.39, 0.41, 0.2), (0.8, 0.1, 0.1))
    assert compare(("a", "b"), tied, other, INT8).same_label == 0.5
    assert compare(("a", "b"), tied, other, INT8, min_probability=0.5).same_label == 1.0
    flipped, tied = logits((0.3, 0.6, 0.1), (0.8, 0.1, 0.1)), logits((0.49, 0.41, 0.1), (0.8, 0.1, 0.1))
    given = logits((0.51, 0.39, 0.1), (0.8, 0.1, 0.1))
    assert compare(("a", "b"), given, tied, INT8, min_probability=0.5).same_label == 1.0
    assert (
        compare(("a", "b"), logits((0.6, 0.3, 0.1), (0.8, 0.1, 0.1)), flipped, INT8, min_probability=0.5).same_label
        == 0.5
    )
