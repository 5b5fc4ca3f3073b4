"""The estimators in scikit-learn's manner: its own checks, and that they tell signals apart."""

from __future__ import annotations

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="the extra train is not installed")
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from physioedge.models.classifier import PhysioClassifier  # noqa: E402
from physioedge.shapelets.estimator import ShapeletClassifier, ShapeletFeatures  # noqa: E402
from physioedge_runtime.errors import SampleRateMismatch, ShapeError  # noqa: E402
from tiny_training import FS_HZ, INPUT_SAMPLES, write_backbone  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    write_backbone(path)
    return str(path)


def swings(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Windows that swing slowly or fast, in turn."""
    rng = np.random.default_rng(0)
    label, t = np.arange(n) % 2, np.arange(INPUT_SAMPLES) / FS_HZ
    rate = np.array([1.5, 6.0])[label][:, None] * rng.uniform(0.9, 1.1, (n, 1))
    return np.sin(2 * np.pi * (rate * t + rng.random((n, 1)))) + 0.1 * rng.standard_normal((n, t.size)), label


def failures(estimator) -> list[str]:
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    assert sum(one["status"] == "passed" for one in found) > 30
    return [f"{one['check_name']}: {one['exception']!r}" for one in found if one["status"] == "failed"]


@pytest.mark.filterwarnings("default")
def test_the_physio_classifier_passes_the_checks(weights):
    assert failures(PhysioClassifier(fs_hz=FS_HZ, backbone=weights, short="hold")) == []


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", [ShapeletFeatures, ShapeletClassifier])
def test_shapelets_pass_the_checks(kind):
    assert failures(kind(count=2, drawn=50)) == []


def test_it_tells_windows_apart_in_cross_validation(weights):
    x, label = swings()
    model = PhysioClassifier(fs_hz=FS_HZ, backbone=weights)
    assert cross_val_score(model, x, label, cv=4).mean() > 0.9
    model.fit(x, np.array(["slow", "fast"])[label])
    assert list(model.classes_) == ["fast", "slow"] and model.embed(x).shape[0] == len(x)


def test_shapelets_tell_windows_apart():
    x, label = swings()
    assert cross_val_score(ShapeletClassifier(random_state=1), x, label, cv=4).mean() > 0.9
    found = ShapeletFeatures(count=3).fit(x)
    assert found.transform(x).shape == (40, 6) and (found.transform(x) >= 0).all()
    planted = x[:2].copy()
    planted[0, 30 : 30 + found.shapelets_[0].shape[2]] = found.shapelets_[0][1, 0]
    assert found.transform(planted)[0, 1] < 1e-12


def test_rate_and_length_must_be_right(weights):
    x, label = swings(8)
    for fs_hz in (None, 250.0):
        with pytest.raises(SampleRateMismatch):
            PhysioClassifier(fs_hz=fs_hz, backbone=weights).fit(x, label)
    with pytest.raises(ShapeError, match="short='hold'"):
        PhysioClassifier(fs_hz=FS_HZ, backbone=weights).fit(x[:, :50], label)
    with pytest.raises(ShapeError, match="multiple of 3"):
        PhysioClassifier(fs_hz=FS_HZ, backbone=weights, channels=3).fit(x[:, :100], label)
