"""Forecasts as bundles: a vital sign in, the next minutes out, each with its unit and interval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from physioedge.cli import evaluate_vitals
from physioedge.models.backbone import Backbone
from physioedge.models.config import TINY
from physioedge.models.forecaster import CONTEXT_STEPS, STEP_S, Forecaster, forecast_config, forecast_layout
from physioedge.models.layout import Layout, SensorLayout
from physioedge.report import vitals as report_of_vitals
from physioedge.tasks import blood_pressure, stress
from physioedge.tasks.vital_contracts import ESTIMATED, forecast_contract, interval_contract
from physioedge_export.forms import Choice
from physioedge_export.pipeline import export_bundle
from physioedge_export.request import Card, Destination, Windows
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.errors import ContractError

KEY = bytes(range(32))
CONFIG = forecast_config(replace(TINY, d_model=32, n_heads=2, n_layers=2))
NAMES = [f"heart_rate_in_{s}s{end}" for s in (30, 60, 180) for end in ("", "_low", "_high")]


def rates(n: int, steps: int = CONTEXT_STEPS, seed: int = 0) -> np.ndarray:
    walk = np.cumsum(np.random.default_rng(seed).standard_normal((n, 1, steps)), axis=2)
    return (70 + 0.7 * walk).astype(np.float32)


def forecaster() -> Forecaster:
    torch.manual_seed(3)
    made = Forecaster(Backbone(CONFIG, forecast_layout()))
    with torch.no_grad():
        made.head.projection.weight.normal_(std=0.05)
        made.widen.copy_(torch.tensor([0.1, 0.2, -0.05]))
    return made.eval()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("forecast") / "one.physio"
    export_bundle(
        forecaster(),
        contract=forecast_contract("heart_rate_wrist", CONFIG, "0" * 64),
        windows=Windows(calibration={"vital": rates(8, seed=1)}, golden={"vital": rates(2, seed=2)}),
        card=Card(name="forecast", version="1", model_card="# test\n", licence_text="Apache-2.0\n"),
        destination=Destination(bundle=path, signing_key=KEY),
        choice=Choice(precisions=("fp32",), adapters=("merged",), fallback=()),
    )
    return path


def test_a_forecast_streams_with_intervals_and_units(bundle: Path) -> None:
    opened = Bundle.open(bundle, trust=public_key(KEY))
    assert [value.name for value in opened.contract.values] == NAMES
    assert {value.units for value in opened.contract.values} == {"bpm"}
    series = rates(1, CONTEXT_STEPS + 10, seed=5)[0]
    with Stream(opened, fs_hz=1 / STEP_S, units="bpm", precision="fp32") as stream:
        results = [result for at in range(0, series.shape[1], 7) for result in stream.push(series[:, at : at + 7])]
        results += stream.flush()
    told = [result for result in results if result.values]
    assert len(told) == 11  # one every 5 s as soon as eight minutes are there
    with torch.no_grad():
        for lag, result in enumerate(reversed(told)):
            end = series.shape[1] - lag
            expected = forecaster()(torch.from_numpy(series[None, :, end - CONTEXT_STEPS : end]))[0][0]
            torch.testing.assert_close(torch.tensor(result.values), expected, atol=1e-3, rtol=0)
    for value, low, high in zip(*[iter(told[-1].values)] * 3, strict=True):
        assert low < value < high


def test_a_series_with_a_hole_abstains(bundle: Path) -> None:
    series = rates(1, seed=6)[0]
    series[:, 20:80] = np.nan
    opened = Bundle.open(bundle, trust=public_key(KEY))
    with Stream(opened, fs_hz=1 / STEP_S, units="bpm", precision="fp32") as stream:
        results = stream.push(series) + stream.flush()
    assert results and not any(result.values for result in results)


def test_ends_are_named_and_wider_than_values() -> None:
    layout = Layout(sensors=(SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=4),))
    contract = interval_contract(blood_pressure.TASK, layout, TINY, "0" * 64)
    assert [v.name for v in contract.values] == ["sbp", "sbp_low", "sbp_high", "dbp", "dbp_low", "dbp_high"]
    value, low, _ = contract.values[:3]
    assert low.low < value.low and low.high > value.high and contract.task == "blood_pressure"
    assert tuple(ESTIMATED) == evaluate_vitals.ESTIMATES == report_of_vitals.ESTIMATES  # they load without torch


def test_what_nobody_has_described_is_refused() -> None:
    layout = Layout(sensors=(SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=4),))
    with pytest.raises(ContractError, match="stress"):
        interval_contract(stress.TASK, layout, TINY, "0" * 64)
    with pytest.raises(ContractError, match="temperature"):
        forecast_contract("temperature", CONFIG, "0" * 64)
