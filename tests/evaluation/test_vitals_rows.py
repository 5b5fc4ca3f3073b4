"""Rows of the forecasts' table by hand; the command in the file says what was run; frozen parts are run once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from physioedge.adapters.forecasting import _Still
from physioedge.evaluation.vitals.forecast import Plan, command
from physioedge.evaluation.vitals.forecast_rows import series_rows
from physioedge.evaluation.vitals.forecast_scores import SUMS
from physioedge.models.backbone import Backbone
from physioedge.models.config import TINY
from physioedge.models.forecaster import HORIZON_STEPS, Forecaster, forecast_config, forecast_layout
from physioedge.pretraining.vitals import SPAN, quantile_loss
from physioedge.results import Row

SERIES = "heart_rate_wrist"


def job(squared: float, people: int = 4, **more: object) -> dict[str, object]:
    """Sums of a job in which every error squared is the same, one span a person."""
    one = dict.fromkeys(SUMS, 1.0) | {"squared": squared, "absolute": squared**0.5}
    sums = np.broadcast_to([one[name] for name in SUMS], (people, HORIZON_STEPS, len(SUMS)))
    return {"sums": sums.astype(np.float32), **more}


def test_arms_are_held_against_lora_and_seeds_against_each_other() -> None:
    fitted = {"trained": np.array(7), "device": np.array("cpu"), "seconds": np.array(2.0), "memory": np.zeros(0)}
    by_arm = {
        "lora": [job(4.0, **fitted), job(6.0, **fitted)],
        "vera": [job(8.0, **fitted), job(6.0, **fitted), job(100.0, **fitted)],
        "naive": [job(12.0)],
    }
    rows = {(row.arm, row.group, row.metric): row for row in series_rows(SERIES, by_arm, 4)}
    group = f"{SERIES} 60 s"
    assert rows["lora", group, "mse"].value == pytest.approx(5) and rows["lora", group, "mse"].seeds == 2
    assert rows["lora", group, "mse:seed_sd"].value == pytest.approx(2**0.5)
    assert ("naive", group, "mse:seed_sd") not in rows and ("lora", group, "mse:over_lora") not in rows
    # seed beside seed: 8 over 4 and 6 over 6, the third seed is LoRA's not; 12 over 4 and over 6
    assert rows["vera", group, "mse:over_lora"].value == pytest.approx(0.5)
    assert rows["vera", group, "mse:over_lora"].seeds == 2
    assert rows["naive", group, "mse:over_lora"].value == pytest.approx(1.5)
    low, high = rows["naive", group, "mse:over_lora"].low, rows["naive", group, "mse:over_lora"].high
    assert low == pytest.approx(1.5) == high  # all people are alike
    assert rows["lora", f"{SERIES} cost", "trained_numbers"].value == 7
    assert ("naive", f"{SERIES} cost", "trained_numbers") not in rows


def test_the_command_says_what_was_run_and_no_more(tmp_path: Path) -> None:
    packed = tmp_path / "series.npz"
    np.savez(packed, **{f"{name}/values": np.zeros(1) for name in (SERIES, "rmssd_sleep", "heart_rate_sleep")})
    plan = Plan(inputs=packed, base=packed, work=tmp_path, seeds=9, steps=60, batch=16, only=("rmssd_sleep", SERIES))
    assert plan.series == ("rmssd_sleep", SERIES)  # in the order that was asked for
    assert len(replace(plan, only=()).series) == 3
    rows = [
        Row(task="forecast", arm=arm, group=f"{SERIES} 30 s", metric="mse", unit="1", value=1, low=None, high=None,
            n=1, seeds=seeds)
        for arm, seeds in (("lora", 3), ("zero_shot", 1), ("ets", 1))
    ]  # fmt: skip
    said = command(plan, rows, {"steps": 5, "batch": 6})
    assert "--seeds 3 --steps 60 --batch 16" in said and f"--series {SERIES} --arms lora,zero_shot" in said
    assert said.endswith("--rivals ets --base-steps 5 --base-batch 6")


def test_a_head_alone_sees_embeddings_made_once() -> None:
    torch.manual_seed(0)
    network = Forecaster(Backbone(forecast_config(replace(TINY, d_model=16, n_heads=2, n_layers=1)), forecast_layout()))
    spans = (70 + np.cumsum(np.random.default_rng(0).standard_normal((9, SPAN)), axis=1)).astype(np.float32)
    rows = np.array([4, 0, 4, 8])
    still = _Still(network, spans, "cpu")
    found, expected = still.loss(network, rows), quantile_loss(network, torch.from_numpy(spans[rows]))
    torch.testing.assert_close(found, expected)
    found.backward()
    slope = network.head.projection.weight.grad.clone()
    network.zero_grad()
    expected.backward()
    torch.testing.assert_close(network.head.projection.weight.grad, slope)
