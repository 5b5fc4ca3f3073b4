"""Errors of forecasts and estimates by hand, intervals that hold what they promise, runs that go on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from physioedge.adapters.forecasting import ForecastFit, fit_forecaster, forecast, widening
from physioedge.evaluation.vitals import agreement, workers
from physioedge.evaluation.vitals.estimate import _metric
from physioedge.evaluation.vitals.estimate_jobs import NOMINAL, half_from_others, half_of, half_width
from physioedge.evaluation.vitals.forecast_data import Part
from physioedge.evaluation.vitals.forecast_scores import METRICS, metric, sums_of
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance
from physioedge.models.config import TINY
from physioedge.models.forecaster import (
    CONTEXT_STEPS,
    HORIZON_STEPS,
    LEVELS,
    Forecaster,
    forecast_config,
    forecast_layout,
    load_forecaster,
    pinball,
    save_forecaster,
)
from physioedge.pretraining.vitals import SPAN, drawn, made_up
from physioedge_runtime.errors import PhysioEdgeError
from windows_made_up import length_of, task_of, windows_of

STEPS = np.arange(SPAN, dtype=np.float32)


def part(spans: np.ndarray, person: list[int]) -> Part:
    return Part(spans=spans.astype(np.float32), person=np.array(person), people=tuple(map(str, sorted(set(person)))))


def forecaster() -> Forecaster:
    from dataclasses import replace

    torch.manual_seed(1)
    return Forecaster(Backbone(forecast_config(replace(TINY, d_model=16, n_heads=2, n_layers=1)), forecast_layout()))


def test_errors_are_those_worked_out_by_hand() -> None:
    """A line that rises by one a step, forecast two too low, by quantiles that are all alike."""
    judged = part(np.stack([STEPS + 100, STEPS + 100]), [0, 1])
    truth = judged.spans[:, CONTEXT_STEPS:]
    quantiles = np.repeat((truth - 2.0)[:, :, None], len(LEVELS), axis=2)
    by_step = sums_of(quantiles, judged)
    assert by_step.shape[:2] == (2, HORIZON_STEPS)
    sums = by_step.sum(1)
    found = {name: metric(sums, name) for name in METRICS}
    assert found["mse"] == pytest.approx(4) and found["mae"] == pytest.approx(2)
    assert found["mase"] == pytest.approx(2)  # the context moves by one a step
    assert found["wql"] == pytest.approx(2 / truth.mean())  # 2 * mean level * 2
    assert found["coverage_80"] == pytest.approx(0)


def test_estimates_are_judged_by_hand() -> None:
    error = np.array([1.0, -3.0])
    sums = np.array([2, 4, 10, error.sum(), 1, 8.0, 2, 12.0])
    found = {name: float(_metric(sums, name=name)) for name in ("mae", "rmse", "bias", "coverage_90", "width_90")}
    assert found == pytest.approx({"mae": 2, "rmse": 5**0.5, "bias": -1, "coverage_90": 0.5, "width_90": 4})
    assert agreement.limits(error) == pytest.approx((-1, -1 - 1.96 * 2, -1 + 1.96 * 2))
    assert float(_metric(sums, name="agreement_low")) == pytest.approx(-1 - 1.96 * 2)


def test_an_interval_holds_its_share_of_new_people() -> None:
    rng, task, held = np.random.default_rng(0), task_of(labels=(), units="bpm"), []
    for _ in range(40):
        subject = np.repeat(np.arange(24), 5).astype(str)
        windows = windows_of(task, np.zeros((120, 1), np.float32), subject,
                             samples={"ppg": np.zeros((120, 1, length_of(task, "ppg")))})  # fmt: skip
        away = np.repeat(rng.standard_normal(24), 5)[:, None]
        half = half_width(object(), windows, away)
        held.append(float((np.abs(rng.standard_normal(500)) <= half[0]).mean()))
    assert NOMINAL - 0.02 < np.mean(held) < 0.98


def test_nobody_has_a_say_in_ones_own_interval() -> None:
    subject = np.repeat(np.arange(12), 3).astype(str)
    size = np.repeat(np.arange(12.0), 3)[:, None]
    half = half_from_others(size, subject)
    assert half[-1, 0] == 10 and half[0, 0] == 11  # of eleven people, the level of twelve is that of all
    size[-3:] = 100.0
    assert half_from_others(size, subject)[-1, 0] == 10
    assert half_of(size[:6], subject[:6])[0] == 1  # two people can promise no more than their largest


def test_a_forecaster_learns_is_calibrated_and_reads_back(tmp_path: Path) -> None:
    pool = made_up(8, 256, 0)
    spans, person = drawn(pool, 96, np.random.default_rng(0)), np.arange(96) % 6
    base = forecaster()
    fitted = fit_forecaster(base, spans, person, "full", ForecastFit(steps=12, batch=24), seed=0, measure=True)
    assert fitted.trained == sum(p.numel() for p in base.parameters()) and fitted.memory is not None
    truth = torch.from_numpy(spans[:, CONTEXT_STEPS:])
    before, after = (
        pinball(torch.from_numpy(forecast(one, spans)).float(), truth) for one in (base, fitted.forecaster)
    )
    assert after < before
    quantiles = forecast(fitted.forecaster, spans)
    assert (np.diff(quantiles, axis=2) > 0).all()  # levels never cross
    shape, wide = fitted.forecaster.shape, widening(fitted.forecaster, spans, person, 0.8)
    deviation = fitted.forecaster.scaled(torch.from_numpy(spans[:, None, :CONTEXT_STEPS]))[2][:, 0, 0].numpy()
    for column, ahead in enumerate(shape.steps_ahead):
        low, high = (quantiles[:, ahead - 1, end] for end in (shape.low, shape.high))
        true = spans[:, CONTEXT_STEPS + ahead - 1]
        inside = (true >= low - wide[column] * deviation) & (true <= high + wide[column] * deviation)
        assert 0.79 <= inside.mean() < 0.9
    seen = Provenance(training_subjects=("a",), datasets=("synthetic",), objective="none", details={})
    save_forecaster(tmp_path / "one.safetensors", fitted.forecaster, seen)
    again, said = load_forecaster(tmp_path / "one.safetensors")
    assert np.array_equal(forecast(again, spans[:4]), quantiles[:4]) and said == seen
    (tmp_path / "one.safetensors").write_bytes(b"no weights")
    with pytest.raises(PhysioEdgeError, match="forecaster"):
        load_forecaster(tmp_path / "one.safetensors")


@dataclass(frozen=True)
class Counted:
    path: Path
    fails: bool = False

    def run(self, device: str) -> dict[str, Any]:
        if self.fails:
            raise RuntimeError("none")
        return {"device": np.array(device)}


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [Counted(tmp_path / "a.npz"), Counted(tmp_path / "b.npz", fails=True), Counted(tmp_path / "c.npz")]
    assert workers.do(jobs, workers.Crew(until=time.time() - 1), print) == 3  # too late to begin
    assert workers.do(jobs, workers.Crew(), print) == 1
    assert "RuntimeError: none" in capsys.readouterr().err
    stamp = jobs[0].path.stat().st_mtime_ns
    assert workers.do([jobs[0], Counted(tmp_path / "b.npz")], workers.Crew(), print) == 0
    assert jobs[0].path.stat().st_mtime_ns == stamp and str(workers.read(tmp_path / "b.npz")["device"]) == "cpu"
    assert not list(tmp_path.glob("*.claim"))
