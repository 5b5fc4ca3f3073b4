"""Learning rates of estimates are chosen on people kept from a fit, one task's for all, and the file says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from physioedge.adapters.estimating import RATES
from physioedge.evaluation.vitals import workers
from physioedge.evaluation.vitals.estimate import CHOSEN_ON, Plan, run, write
from physioedge.evaluation.vitals.estimate_data import LEVELS, packed
from physioedge.evaluation.vitals.estimate_jobs import by_person
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge.models.config import TINY
from physioedge.models.layout import Layout, SensorLayout
from physioedge.report.vitals import page
from physioedge.tasks.windowed import TaskWindows, task_module
from windows_made_up import length_of, windows_of

SMALL = replace(TINY, d_model=16, n_heads=2, n_layers=1)
ECG = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=4),))
SEEN = Provenance(training_subjects=("mitbih:101",), datasets=("mitbih",), objective="none")
CREW = workers.Crew()


def windows_for(name: str, folds: int) -> TaskWindows:
    """Twelve people of a set, six windows each; without folds eight are fitted on and four judged."""
    task, rng = task_module(name).TASK, np.random.default_rng(len(name))
    sensor = task.sensors[0]
    rate = rng.uniform(50, 110, 72).astype(np.float32)
    x = rng.standard_normal((72, 1, length_of(task, sensor)))
    person = np.repeat(np.arange(12), 6)
    fold = person % folds if folds > 1 else np.where(person < 8, -1, 0)
    return windows_of(task, rate[:, None], [f"{task.dataset}:{name}{one}" for one in person], samples={sensor: x},
                      fold=fold)  # fmt: skip


def write_packed(path: Path, **folds: int) -> Path:
    arrays = {}
    for name, number in folds.items():
        windows = windows_for(name, number)
        for sensor, x in windows.samples.items():
            low, high = x.min(2, keepdims=True), x.max(2, keepdims=True)
            step = ((high - low) / LEVELS).astype(np.float32)
            arrays[f"{name}/samples/{sensor}"] = np.round((x - low) / step).astype(np.uint16)
            arrays[f"{name}/low/{sensor}"], arrays[f"{name}/step/{sensor}"] = low, step
        for column in ("target", "subject", "record", "start_s", "calibration", "fold"):
            arrays[f"{name}/{column}"] = getattr(windows, column)
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    root = tmp_path_factory.mktemp("choices")
    torch.manual_seed(0)
    save_backbone(root / "backbone.safetensors", Backbone(SMALL, ECG), SEEN)
    return Plan(
        task="heart_rate", inputs=write_packed(root / "both.npz", ecg_rate=1, heart_rate=2), work=root / "work",
        backbone=root / "backbone.safetensors", seeds=2, steps=2, arms=("lora", "full", "majority"), factors=(1 / 3, 3),
    )  # fmt: skip


def test_another_task_takes_the_rate_that_was_chosen(plan: Plan, tmp_path: Path) -> None:
    assert plan.losses() == {} and [job.arm for job in plan.jobs()] == ["majority"] * 2  # nothing is chosen yet
    told: list[str] = []
    assert run(plan, CREW, told.append) == 0
    choices = plan.choices()
    assert {(job.task, job.seed, job.arm) for job in choices} == {(CHOSEN_ON, 0, "lora"), (CHOSEN_ON, 0, "full")}
    assert len(choices) == 4 and len({job.path for job in choices}) == 4
    worse = next(job for job in choices if job.arm == "full" and job.factor == 3)
    values = workers.read(worse.path)
    workers.save(worse.path, {**values, "validation": np.array(1e3)})  # full at three times its rate: worst
    loss = plan.losses()
    expected = {arm: min(each, key=each.__getitem__) for arm, each in loss.items()}
    assert plan.chosen_factors() == expected and expected["full"] == pytest.approx(1 / 3)
    assert run(plan, CREW, told.append) == 0
    assert {job.factor for job in plan.jobs() if job.arm == "full"} == {1 / 3}
    assert "full 0.33" in told[-1]
    rows = write(plan, tmp_path)
    assert {row.arm: row.seeds for row in rows} == {"lora": 2, "full": 2, "majority": 1}
    said = json.loads((tmp_path / "vitals-heart_rate.json").read_text())
    assert said["chosen_on"] == [CHOSEN_ON] and said["choices"]["full"]["3"] == 1000
    assert said["rates"]["full"] == pytest.approx(RATES["full"] / 3) and "--factors 0.333,3 " in said["command"]
    assert "Learning rates were chosen from 0.3333, 3 times each method's own, on people of ecg_rate" in page(tmp_path)


def test_a_task_chooses_on_its_own_people_where_they_are_never_judged(plan: Plan, tmp_path: Path) -> None:
    assert plan.chosen_on == CHOSEN_ON  # everybody of its own is judged in some fold
    apart = replace(plan, inputs=write_packed(tmp_path / "apart.npz", ecg_rate=1, heart_rate=1))
    assert apart.chosen_on == "heart_rate" and {job.task for job in apart.choices()} == {"heart_rate"}


def test_a_set_by_itself_has_nobody_to_choose_on(plan: Plan, tmp_path: Path) -> None:
    alone = replace(plan, inputs=write_packed(tmp_path / "one.npz", heart_rate=2), factors=(1 / 3, 1.2, 3))
    assert packed(alone.inputs) == ("heart_rate",) and alone.choices() == []
    assert {job.factor for job in alone.jobs() if job.arm == "lora"} == {1.2}  # nearest to a method's own
    assert replace(plan, factors=(3.0,)).choices() == []
    assert {job.factor for job in replace(plan, factors=(3.0,)).jobs() if job.arm == "lora"} == {3.0}


def test_people_weigh_alike_in_what_chooses() -> None:
    error = np.array([[1.0, 3.0], [1.0, 3.0], [1.0, 3.0], [7.0, 9.0]])
    assert by_person(error, np.array(["a", "a", "a", "b"])) == pytest.approx((2 + 8) / 2)
