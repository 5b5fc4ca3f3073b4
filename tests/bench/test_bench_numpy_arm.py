"""The network in plain numpy says what torch says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export extra is not installed")

import torch
from bench_small import SMALL, small_file, small_network, small_windows

from physioedge.bench.network import random_network, torch_network, write_weights
from physioedge.bench.numpy_arm import numpy_network, read_weights
from physioedge.models.config import TINY


def torch_outputs(model, windows):
    with torch.inference_mode():
        outputs = [model(torch.from_numpy(window[None])) for window in windows]
    return [torch.cat(values).numpy() for values in zip(*outputs, strict=True)]


@pytest.mark.parametrize(
    "config", [SMALL, dataclasses.replace(SMALL, causal=False), TINY], ids=["small", "twin", "tiny"]
)
def test_agrees_with_torch(config, tmp_path):
    model = random_network(config, 3) if config is not SMALL else small_network()
    run = numpy_network(*read_weights(write_weights(model, tmp_path / "w.npz")))
    windows = np.random.default_rng(0).standard_normal((3, 1, config.input_samples)).astype(np.float32)
    wanted = torch_outputs(model, windows)
    for found, exact in zip(
        map(np.concatenate, zip(*(run(w[None]) for w in windows), strict=True)), wanted, strict=True
    ):
        assert found.shape == exact.shape and found.dtype == np.float32
        assert np.abs(found - exact).max() < 1e-4


def test_every_array_matters(tmp_path):
    config, arrays = read_weights(small_file(tmp_path))
    window = small_windows(1)
    before = numpy_network(config, arrays)(window)[0]
    constants = {name for name in arrays if name.endswith(("frontend.kernel", "prototypes"))}
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


def test_random_weights_are_the_same_each_time_and_leave_torchs_own_generator_alone():
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    a, b = random_network(SMALL, 3).state_dict(), random_network(SMALL, 3).state_dict()
    assert torch.equal(torch.rand(1), wanted)
    assert all(torch.equal(a[name], b[name]) for name in a)
