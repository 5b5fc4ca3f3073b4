from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_small import small_adapter, small_model
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from physioedge_export.merge import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    LoraAdapter,
    LoraPair,
    adapter_from_arrays,
    delta_noise,
    merged_state,
    read_adapter,
)
from physioedge_runtime.errors import AdapterError, BackboneMismatch, NonFiniteAdapter

LAYER = "backbone.blocks.0.attention.q"
PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none"}


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        f"base_model.model.{LAYER}.lora_A.weight": rng.standard_normal((2, 5)).astype(np.float32),
        f"base_model.model.{LAYER}.lora_B.weight": rng.standard_normal((4, 2)).astype(np.float32),
        "base_model.model.head.projection.weight": rng.standard_normal((3, 4)).astype(np.float32),
    }


def test_reads_a_peft_folder(tmp_path: Path) -> None:
    save_file(arrays(), tmp_path / WEIGHTS_FILE)
    (tmp_path / CONFIG_FILE).write_text(json.dumps(PLAIN))
    adapter = read_adapter(tmp_path)
    a, b = (arrays()[f"base_model.model.{LAYER}.lora_{half}.weight"] for half in "AB")
    np.testing.assert_allclose(adapter.pairs[LAYER].delta(), 3.0 * b @ a, rtol=1e-6)
    assert adapter.pairs[LAYER].rank == 2
    assert set(adapter.replaced) == {"head.projection.weight"}


def test_rank_stabilised_scale() -> None:
    assert adapter_from_arrays(arrays(), {**PLAIN, "use_rslora": True}).pairs[LAYER].scale == pytest.approx(6 / 2**0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"use_dora": True},
        {"rank_pattern": {"q": 4}},
        {"bias": "all"},
        {"peft_type": "VERA"},
        {"r": 0},
        {"lora_alpha": None},
    ],
)
def test_more_than_plain_lora_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AdapterError):
        adapter_from_arrays(arrays(), {**PLAIN, **change})


def test_nan_and_lone_halves_are_refused() -> None:
    broken = arrays()
    broken[f"base_model.model.{LAYER}.lora_B.weight"][0, 0] = np.nan
    with pytest.raises(NonFiniteAdapter):
        adapter_from_arrays(broken, PLAIN)
    lone = arrays()
    del lone[f"base_model.model.{LAYER}.lora_A.weight"]
    with pytest.raises(AdapterError, match="A \\(rank, in\\) and B"):
        adapter_from_arrays(lone, PLAIN)


@pytest.mark.parametrize("damage", ["missing", "no json", "cut"])
def test_a_damaged_folder_gives_one_message(tmp_path: Path, damage: str) -> None:
    save_file(arrays(), tmp_path / WEIGHTS_FILE)
    if damage != "missing":
        (tmp_path / CONFIG_FILE).write_text("{" if damage == "no json" else json.dumps(PLAIN))
    if damage == "cut":
        (tmp_path / WEIGHTS_FILE).write_bytes((tmp_path / WEIGHTS_FILE).read_bytes()[:40])
    with pytest.raises(AdapterError, match="Name an adapter's folder"):
        read_adapter(tmp_path)


def test_merging_is_the_sum_of_both_paths() -> None:
    model, _ = small_model()
    adapter = small_adapter(model)
    before = model.state_dict()
    after = merged_state(before, adapter)
    x = torch.randn(7, 32, dtype=torch.float64)
    pair = adapter.pairs[LAYER]
    low = pair.scale * (x @ torch.from_numpy(pair.a).double().T @ torch.from_numpy(pair.b).double().T)
    expected = x @ before[f"{LAYER}.weight"].double().T + low
    torch.testing.assert_close(x @ after[f"{LAYER}.weight"].double().T, expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(before[name], after[name]) for name in before if "norm" in name or "embed" in name)


def test_an_adapter_of_another_model_is_refused() -> None:
    model, _ = small_model()
    wide = LoraAdapter(
        pairs={LAYER: LoraPair(a=np.zeros((2, 8), np.float32), b=np.zeros((8, 2), np.float32), scale=1.0)}
    )
    with pytest.raises(BackboneMismatch):
        merged_state(model.state_dict(), wide)


@given(st.floats(0.1, 10.0), st.integers(0, 2**32 - 1))
def test_a_larger_change_is_drowned_less(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, delta = (rng.standard_normal((6, 9)).astype(np.float32) for _ in range(2))
    small = delta_noise(weight, 1e-3 * delta)
    assert small > delta_noise(weight, (1e-3 + 1e-2 * factor) * delta) > 0
    assert delta_noise(weight, 0 * delta) == 0.0


@pytest.mark.slow
def test_merges_as_peft_does(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, _ = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=["q", "v", "expand"], modules_to_save=["projection"])
    wrapped = peft.get_peft_model(model, config)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter) * parameter.requires_grad)
    wrapped.save_pretrained(str(tmp_path))
    ours = merged_state(before, read_adapter(tmp_path))
    theirs = wrapped.merge_and_unload().state_dict()
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-6, rtol=1e-5)
