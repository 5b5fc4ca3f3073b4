"""The network in plain numpy says what torch says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export extra is not installed")

import torch
from bench_small import LAYOUT, SMALL, away_from_zero, small_file, small_network, small_windows

from physioedge.bench.network import random_network, torch_network, write_weights
from physioedge.bench.numpy_arm import _erf, numpy_network, read_weights
from physioedge.models.backbone import Backbone
from physioedge.models.config import TINY
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.network import network_on
from physioedge.tasks import arrhythmia


def torch_outputs(model, windows):
    with torch.inference_mode():
        outputs = [model(torch.from_numpy(window[None])) for window in windows]
    return [torch.cat(values).numpy() for values in zip(*outputs, strict=True)]


def one_sensor(kind, channels, n_tokens, pool_tokens=0, *, spread=False):
    sensor = SensorLayout(
        sensor=kind, kind=kind, channels=channels, n_tokens=n_tokens, pool_tokens=pool_tokens, spread=spread
    )
    return Layout(sensors=(sensor,))


def values_of(config, layout):
    """A network for two values."""
    torch.manual_seed(2)
    return away_from_zero(network_on(Backbone(config, layout), 2, classes=False, head_seed=0)).eval()


NETWORKS = {
    "small": lambda: small_network(),
    "twin": lambda: away_from_zero(random_network(replace(SMALL, causal=False), LAYOUT, 3)),
    "tiny": lambda: random_network(TINY, arrhythmia.LAYOUT, 3),
    "pulse, two channels, values": lambda: values_of(SMALL, one_sensor("ppg", 2, 9)),
    "movement, nine channels": lambda: random_network(SMALL, one_sensor("acc", 9, 7, 2, spread=True), 2),
    "intervals": lambda: random_network(TINY, one_sensor("rr", 2, 10), 3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_torch(name, tmp_path):
    model = NETWORKS[name]()
    run = numpy_network(*read_weights(write_weights(model, tmp_path / "w.npz")))
    (shape,) = model.backbone.layout.input_shapes(model.backbone.config)
    windows = (0.5 + np.random.default_rng(0).standard_normal((3, *shape))).astype(np.float32)
    wanted = torch_outputs(model, windows)
    for found, exact in zip(
        map(np.concatenate, zip(*(run(w[None]) for w in windows), strict=True)), wanted, strict=True
    ):
        assert found.shape == exact.shape and found.dtype == np.float32
        assert np.abs(found - exact).max() < 1e-4


def test_the_error_function_is_as_near_as_it_says():
    x = np.concatenate([np.linspace(-6, 6, 4001), [0.0, 1e-30, -1e-30, 80.0, -80.0]]).astype(np.float32)
    exact = np.array([math.erf(value) for value in x.astype(float)])
    found = _erf(x)
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() < 1.5e-7 + 3 * np.finfo(np.float32).eps


def test_every_array_matters(tmp_path):
    config, arrays = read_weights(small_file(tmp_path))
    window = small_windows(1)
    before = numpy_network(config, arrays)(window)[0]
    constants = {name for name in arrays if name.startswith("kernel.") or name.endswith("prototypes")}
    blind = [
        name for name in arrays if name.endswith("attention.k.bias")
    ]  # softmax does not see the same shift of all keys
    for name in arrays.keys() - constants - set(blind):
        changed = {**arrays, name: arrays[name] + np.float32(0.5) * np.sign(arrays[name] + 1e-3)}
        assert np.abs(numpy_network(config, changed)(window)[0] - before).max() > 1e-6, name


def test_the_file_gives_the_network_back(tmp_path):
    model, windows = small_network(), small_windows(2)
    again = torch_network(small_file(tmp_path))
    assert not again.training
    for a, b in zip(torch_outputs(model, windows), torch_outputs(again, windows), strict=True):
        assert np.array_equal(a, b)
    kept = {name for name, _ in again.named_parameters() if "embed" in name}
    assert kept == {"backbone.embed.ecg.weight", "backbone.embed.ecg.bias"}  # other sensors' are no part of it
    pulse = values_of(SMALL, one_sensor("ppg", 2, 9))
    x = np.random.default_rng(1).standard_normal((2, *pulse.backbone.layout.input_shapes(SMALL)[0])).astype(np.float32)
    found = torch_outputs(torch_network(write_weights(pulse, tmp_path / "v.npz")), x)
    assert all(np.array_equal(a, b) for a, b in zip(torch_outputs(pulse, x), found, strict=True))


def test_random_weights_are_the_same_each_time_and_leave_torchs_own_generator_alone():
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    a, b = random_network(SMALL, LAYOUT, 3).state_dict(), random_network(SMALL, LAYOUT, 3).state_dict()
    assert torch.equal(torch.rand(1), wanted)
    assert all(torch.equal(a[name], b[name]) for name in a)
