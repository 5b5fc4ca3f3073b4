"""Every method trains, saves, loads, merges, exports and streams; quantised bases are small where it counts."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from physioedge.adapters.memory import float_bytes, training_memory
from physioedge.adapters.methods import METHODS, inner, load, merged, method_of, save, trained_numbers, wrap
from physioedge.adapters.qlora.quantised import QuantisedLinear, nf4_levels
from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.estimator import Estimator
from physioedge.models.gpt2 import fill_from_gpt2
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ECG
from physioedge.tasks.vital_contracts import interval_contract
from physioedge.tasks.windowed import Task
from physioedge_export.forms import Choice
from physioedge_export.merge import LoraAdapter, read_adapter
from physioedge_export.pipeline import export_bundle
from physioedge_export.request import Card, Destination, Windows
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.errors import AdapterError, ShapeError

CONFIG = BackboneConfig(name="test", d_model=32, n_heads=2, n_layers=2, modalities=(replace(ECG, norm_patches=3),))
LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=5),))
(SAMPLES,) = (samples for _, samples in LAYOUT.input_shapes(CONFIG))
TASK = Task(name="ecg_rate", dataset="none", labels=(), units="bpm", sensors=("ecg",), window_s=1.0, hop_s=1.0,
            metric="mae", protocol="none")  # fmt: skip
KEY = bytes(range(32))
HEAD = ("projection",)
SMALL: dict[str, dict[str, Any]] = {"vera": {"rank": 8}, "fourierft": {"coefficients": 12}}


def network() -> Estimator:
    torch.manual_seed(4)
    made = Estimator(Backbone(CONFIG, LAYOUT), 1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
    made.head.offset.fill_(75.0)
    made.head.scale.fill_(15.0)
    made.half_width.fill_(9.0)
    return made.eval()


def signals(n: int, seed: int = 0, samples: int = SAMPLES) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / ECG.fs_hz
    wave = np.sin(2 * np.pi * rng.uniform(1, 3, (n, 1, 1)) * t + rng.uniform(0, 6, (n, 1, 1)))
    return (wave**9 + 0.05 * rng.standard_normal((n, 1, samples))).astype(np.float32)


def fitted(name: str, base: nn.Module, steps: int = 12) -> tuple[Any, list[float]]:
    torch.manual_seed(0)
    wrapped = wrap(name, copy.deepcopy(base), train_modules=HEAD, **SMALL.get(name, {})).train()
    x, y = torch.from_numpy(signals(16)), torch.linspace(-1.5, 1.5, 16)[:, None]
    optimiser = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], 5e-3)
    losses = []
    for _ in range(steps):
        loss = (inner(wrapped).standard(inner(wrapped).embed(x)) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return wrapped.eval(), losses


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_saves_loads_merges_exports_and_streams(name: str, tmp_path: Path) -> None:
    base = network()
    wrapped, losses = fitted(name, base)
    assert losses[-1] < 0.9 * losses[0]
    x = torch.from_numpy(signals(4, seed=1))
    with torch.no_grad():
        expected = wrapped(x)[0]
        assert not torch.allclose(expected, base(x)[0], atol=1e-3)

        save(tmp_path / "adapter", name, wrapped, train_modules=HEAD, **SMALL.get(name, {}))
        again = load(tmp_path / "adapter", copy.deepcopy(base))
        torch.testing.assert_close(again(x)[0], expected, atol=1e-6, rtol=0)

        plain = merged(wrapped)
        scale = base.head.scale.item()
        assert ((plain(x)[0] - expected).abs().max() / scale).item() <= 1e-5
        assert {type(m) for m in plain.modules() if isinstance(m, nn.Linear)} == {nn.Linear}
        torch.testing.assert_close(wrapped(x)[0], expected, atol=0, rtol=0)  # merging leaves it as it was

    adapters, adapter = ("merged",), None
    if METHODS[name].slots:
        adapters, adapter = ("merged", "slots"), LoraAdapter(pairs=read_adapter(tmp_path / "adapter").pairs)
    export_bundle(
        plain,
        contract=interval_contract(TASK, LAYOUT, CONFIG, "0" * 64),
        windows=Windows(calibration={"ecg": signals(8, seed=2)}, golden={"ecg": signals(2, seed=3)}),
        card=Card(name=name, version="1", model_card="# test\n", licence_text="Apache-2.0\n"),
        destination=Destination(bundle=tmp_path / "one.physio", signing_key=KEY),
        adapter=adapter,
        choice=Choice(precisions=("fp32",), adapters=adapters, fallback=()),
    )
    bundle = Bundle.open(tmp_path / "one.physio", trust=public_key(KEY))
    assert len(bundle.contract.slots) == (4 if METHODS[name].slots else 0)
    signal = signals(1, seed=5, samples=3 * 125)[0]
    with Stream(bundle, fs_hz=ECG.fs_hz, units="mV", precision="fp32") as stream:
        results = [result for result in stream.push(signal) + stream.flush() if result.values]
    assert results and [value.units for value in bundle.contract.values] == ["bpm"] * 3
    with torch.no_grad():
        at_once = plain(torch.from_numpy(signal[None, :, -SAMPLES:]))[0][0]
    torch.testing.assert_close(torch.tensor(results[-1].values), at_once, atol=1e-2, rtol=0)
    value, low, high = results[-1].values
    assert low == pytest.approx(value - 9, abs=1e-3) and high == pytest.approx(value + 9, abs=1e-3)


def test_numbers_are_counted() -> None:
    base = network()
    found = {name: trained_numbers(wrap(name, copy.deepcopy(base), **SMALL.get(name, {}))) for name in METHODS}
    assert found["fourierft"] == 12 * 12 and found["vera"] == 4 * (8 + 32) and found["ln_tuning"] == 5 * 64
    assert found["bitfit"] == 2 * (4 * 32 + 4 * 32 + 32 + 2 * 32) and found["ia3"] == 2 * (32 + 32 + 128)
    assert found["lora"] == found["qlora_int8"] == found["qlora_4bit"] > found["lora_shared"] / 2
    assert found["dora"] - found["lora"] == 2 * (4 * 32 + 128 + 32)


@pytest.mark.parametrize(("name", "share"), [("qlora_int8", 0.3), ("qlora_4bit", 0.2)])
def test_a_quantised_base_is_small_while_it_is_trained(name: str, share: float) -> None:
    base = Estimator(Backbone(replace(CONFIG, d_model=128, n_heads=4, n_layers=6), LAYOUT), 1)
    x = torch.from_numpy(signals(2))
    held = {}
    for how in ("lora", name):
        wrapped = wrap(how, copy.deepcopy(base), train_modules=HEAD)
        one = inner(wrapped)

        def loss(one: Any = one) -> torch.Tensor:
            return one.standard(one.embed(x)).square().mean()

        held[how] = training_memory(wrapped, loss)
    assert held[name].base_bytes <= share * float_bytes(base) < held["lora"].base_bytes
    assert held[name].saved_bytes == held["lora"].saved_bytes  # no float copy of a weight waits for the backward pass
    assert held[name].trained_bytes == held["lora"].trained_bytes == held[name].gradient_bytes
    assert 2 * held[name].trained_bytes <= held[name].optimiser_bytes < 2.1 * held[name].trained_bytes


def test_gpt2_is_a_quantised_base(tmp_path: Path) -> None:
    """Blocks read through transformers, here of a model of random numbers, held in four bits under a LoRA."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(2)
    config = transformers.GPT2Config(n_embd=32, n_head=2, n_layer=2, n_positions=8, vocab_size=5, bos_token_id=0,
                                     eos_token_id=0)  # fmt: skip
    transformers.GPT2Model(config).save_pretrained(tmp_path / "gpt2")
    base = network()
    fill_from_gpt2(base.backbone, str(tmp_path / "gpt2"))
    before = copy.deepcopy(base.state_dict())
    wrapped, losses = fitted("qlora_4bit", base)
    assert losses[-1] < losses[0]
    quantised = [m for m in inner(wrapped).modules() if isinstance(m, QuantisedLinear)]
    assert len(quantised) == 12 and all(m.bits == 4 for m in quantised)
    assert all(torch.equal(before[name], value) for name, value in base.state_dict().items())


def test_four_bits_are_those_of_the_source() -> None:
    levels = nf4_levels()
    assert levels[0] == -1 and levels[7] == 0 and levels[15] == 1 and bool((levels.diff() > 0).all())
    assert levels[[1, 8, 14]].tolist() == pytest.approx([-0.6961928, 0.0795803, 0.7229568], abs=1e-6)


@pytest.mark.parametrize(("bits", "most"), [(8, 0.008), (4, 0.12)])
@pytest.mark.parametrize("shape", [(128, 128), (10, 7), (512, 128)])
def test_quantised_layers_are_near_and_have_gradients(bits: int, most: float, shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    linear = nn.Linear(shape[1], shape[0])
    layer = QuantisedLinear(linear, bits)
    error = (layer.dequantised() - linear.weight).norm() / linear.weight.norm()
    assert 0 < error.item() < most
    x = torch.randn(3, shape[1], requires_grad=True)
    layer(x).square().sum().backward()
    twin = x.detach().clone().requires_grad_(True)
    layer.plain()(twin).square().sum().backward()
    torch.testing.assert_close(x.grad, twin.grad)
    assert layer.bias is not None and not layer.bias.requires_grad
    if shape[1] > 100:
        assert layer.held_bytes() < {8: 0.27, 4: 0.14}[bits] * 4 * linear.weight.numel()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    base = network()
    with pytest.raises(AdapterError, match="one of lora"):
        method_of("prompt")
    with pytest.raises(AdapterError, match="rank"):
        method_of("bitfit", rank=4)
    with pytest.raises(ShapeError, match="3 bits"):
        QuantisedLinear(nn.Linear(4, 4), 3)
    with pytest.raises(AdapterError, match="without"):
        wrap("qlora_int8", nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(AdapterError, match="without a bias"):
        wrap("bitfit", nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(AdapterError, match=r"method\.json"):
        load(tmp_path, copy.deepcopy(base))
    for name in ("bitfit", "lora"):
        save(tmp_path / name, name, wrap(name, copy.deepcopy(base)))
        other = Estimator(Backbone(replace(CONFIG, n_layers=1), LAYOUT), 1)
        with pytest.raises(AdapterError):
            load(tmp_path / name, other)
        (tmp_path / name / "adapter_model.safetensors").write_bytes(b"none")
        with pytest.raises(AdapterError, match="of this network"):
            load(tmp_path / name, copy.deepcopy(base))
