"""Shapelets: distances as defined, as tslearn has them, and as the exported graph gives them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ACC, ECG, PPG
from physioedge.models.shapelets import Extractor, ShapeletTransform, stream_rows
from physioedge_runtime.errors import ShapeError

MODALITIES = {m.kind: m for m in (ECG, PPG, ACC)}
WRIST = Layout(
    sensors=(
        SensorLayout(sensor="ppg", kind="ppg", channels=2, n_tokens=6),
        SensorLayout(sensor="acc", kind="acc", channels=3, n_tokens=3),
    )
)


def groups(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, rows, length, generator=generator) for n, length in ((3, 7), (2, 20))]


def naive(shapelets, rows):
    """The definition, stretch by stretch."""
    out = []
    for w in shapelets:
        length = w.shape[1]
        stretches = [rows[:, i : i + length] for i in range(rows.shape[1] - length + 1)]
        out.append(min(float(((w - s) ** 2).mean()) for s in stretches))
    return out


@pytest.mark.parametrize("rows", [1, 3])
def test_distances_are_mean_squares_to_the_nearest_stretch(rows):
    found = groups(rows)
    x = torch.randn(4, rows, 50, generator=torch.Generator().manual_seed(1))
    wanted = [naive([w.numpy() for group in found for w in group], one.numpy()) for one in x]
    with torch.no_grad():
        np.testing.assert_allclose(ShapeletTransform(found)(x).numpy(), wanted, atol=1e-5)


def test_a_window_that_holds_a_shapelet_has_distance_zero():
    found = groups(1)
    x = torch.randn(1, 1, 60)
    x[0, :, 30:50] = found[1][1]
    with torch.no_grad():
        distances = ShapeletTransform(found)(x)[0]
    assert distances[4] == pytest.approx(0.0, abs=1e-5) and distances[:4].min() > 1e-2


def test_the_transform_is_that_of_tslearn(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras", reason="tslearn's shapelets need keras")
    shapelets = pytest.importorskip("tslearn.shapelets", reason="tslearn is the reference, not a requirement")
    rng = np.random.default_rng(0)
    series = rng.normal(size=(12, 40, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own internals
        sizes = {7: 3, 12: 2}
        model = shapelets.LearningShapelets(n_shapelets_per_size=sizes, max_iter=1, random_state=0, scale=False)
        model.fit(series, rng.integers(0, 2, 12))
        there = model.transform(series)
        learned = [torch.tensor(s.tolist()).T[None] for s in model.shapelets_]
    by_length = [torch.cat([s for s in learned if s.shape[2] == n]) for n in (7, 12)]
    with torch.no_grad():
        ours = ShapeletTransform(by_length)(torch.from_numpy(series.transpose(0, 2, 1)).float())
    order = np.argsort([s.shape[2] for s in learned], kind="stable")
    np.testing.assert_allclose(ours.numpy(), there[:, order], atol=1e-4)


def test_rows_follow_time_channel_by_channel_and_view_by_view():
    b, t, p = 2, 3, ACC.patch_samples
    views = torch.arange(b * 6 * t * p, dtype=torch.float32).reshape(b, 6, t * p)  # channel 0 zscore, fixed, 1 ...
    patches = views.reshape(b, 6, t, p).transpose(1, 2).reshape(b, t, 6 * p)
    torch.testing.assert_close(stream_rows(patches, ACC), views)


def test_an_extractor_reads_the_networks_own_inputs_and_exports(tmp_path):
    banks = {"ppg": ShapeletTransform(groups(1)), "acc": ShapeletTransform(groups(6, seed=3))}
    extractor = Extractor(WRIST, MODALITIES, banks).eval()
    assert extractor.n_distances == 3 * 5
    shapes = [(2, PPG.context_samples + 6 * 32), (3, ACC.context_samples + 3 * 32)]
    signals = [torch.randn(1, *shape, generator=torch.Generator().manual_seed(i)) for i, shape in enumerate(shapes)]
    with torch.no_grad():
        both = extractor(*signals)
        swapped = extractor(signals[0].flip(1), signals[1])
    assert both.shape == (1, 15)
    torch.testing.assert_close(both[:, :5], swapped[:, 5:10])  # two streams of one kind share their shapelets
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    del onnx
    path = tmp_path / "extractor.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        torch.onnx.export(extractor, tuple(signals), path, dynamo=True, verbose=False)
    session = ort.InferenceSession(path)
    (found,) = session.run(None, {i.name: x.numpy() for i, x in zip(session.get_inputs(), signals, strict=True)})
    np.testing.assert_allclose(found, both.numpy(), atol=1e-4)


def test_products_give_the_same_distances():
    banks = {"ppg": ShapeletTransform(groups(1)), "acc": ShapeletTransform(groups(6, seed=3))}
    extractor = Extractor(WRIST, MODALITIES, banks).eval()
    shapes = [(2, PPG.context_samples + 6 * 32), (3, ACC.context_samples + 3 * 32)]
    signals = [torch.randn(1, *shape, generator=torch.Generator().manual_seed(i)) for i, shape in enumerate(shapes)]
    products = extractor.by_products()
    assert products.n_distances == extractor.n_distances == 15
    with torch.no_grad():
        torch.testing.assert_close(products(*signals), extractor(*signals), atol=1e-4, rtol=1e-5)
        assert isinstance(extractor.banks["ppg"], ShapeletTransform)  # left alone


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="no shapelets for acc"):
        Extractor(WRIST, MODALITIES, {"ppg": ShapeletTransform(groups(1))})
    long = ShapeletTransform([torch.zeros(1, 1, 500)])
    with pytest.raises(ShapeError, match="500 samples"):
        Extractor(WRIST, MODALITIES, {"ppg": long, "acc": ShapeletTransform(groups(6))})
