"""Pre-training from recordings to a weights file."""

from __future__ import annotations

import json

import pytest
import torch
from made_up_pools import MIXTURE, put_in_place

from physioedge.models.checkpoint import load_backbone
from physioedge.pretraining import run
from physioedge.pretraining.run import Course, Learner, Start, pretrain, twin_of
from physioedge_runtime.errors import PhysioEdgeError
from tiny_training import LAYOUT, tiny_backbone, tiny_config

COURSE = Course(steps=12, learning_rate=1e-2)
DETAILS = {"seed": 0, "steps": 12, "rows": 1.0, "learning_rate": 1e-2, "mixture": {"ecg": 6, "pulse": 4}}


@pytest.fixture(autouse=True)
def _pools(monkeypatch):
    put_in_place(monkeypatch)


@pytest.mark.parametrize(("config", "objective"), [(tiny_config(), "next patch"),
                                                   (twin_of(tiny_config()), "masked patches")])  # fmt: skip
def test_end_to_end(tmp_path, config, objective):
    digest, history = pretrain(config, tmp_path, COURSE, mixture=MIXTURE)
    backbone, provenance, found = load_backbone(tmp_path / "backbone.safetensors", LAYOUT)
    assert found == digest and backbone.config == config
    assert provenance.training_subjects == ("leads:1", "leads:2", "wrists:1")
    assert provenance.datasets == ("leads", "wrists")
    assert provenance.objective == objective and provenance.details == DETAILS
    written = json.loads((tmp_path / "history.json").read_text())
    assert written["digest"] == digest and written["step"] == history.step == list(range(1, 13))
    assert set(written["parts"]) == {"ecg", "pulse/acc", "pulse/ppg"}
    assert all(len(curve) == 12 for curve in written["parts"].values())
    means = [sum(history.parts[name]) / 12 for name in ("ecg", "pulse/acc", "pulse/ppg")]
    whole = (means[0] + (means[1] + means[2]) / 2) / 2
    assert sum(history.loss) / 12 == pytest.approx(whole, rel=1e-5)
    assert history.loss[-1] < history.loss[0]


def test_the_cost_is_of_the_steps_that_were_taken(tmp_path):
    pretrain(tiny_config(), tmp_path, Course(steps=3, rows=0.5), mixture=MIXTURE)
    cost = json.loads((tmp_path / "history.json").read_text())["cost"]
    tokens = 3 * 8 + 2 * (6 + 3)
    assert cost["steps"] == 3 and cost["tokens_per_step"] == tokens and cost["threads"] == torch.get_num_threads()
    assert cost["core_s"] > 0 and cost["tokens_per_s"] > 0
    assert run.cost_of(4, 50, 2.0, 3.0)["tokens_per_s"] == 100.0


def test_a_run_that_was_cut_off_gives_the_same_weights(tmp_path, monkeypatch):
    config = tiny_config()
    digest, whole = pretrain(config, tmp_path / "whole", COURSE, mixture=MIXTURE)
    real_loop, real_draw, drawn = run.LoopConfig, run.draw, []
    monkeypatch.setattr(run, "LoopConfig", lambda **kw: real_loop(**kw, save_every_s=-1.0))

    def cut_off(*args):
        drawn.append(1)
        if len(drawn) == 13:
            raise KeyboardInterrupt
        return real_draw(*args)

    monkeypatch.setattr(run, "draw", cut_off)
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, tmp_path / "cut", COURSE, mixture=MIXTURE)
    assert not (tmp_path / "cut" / "backbone.safetensors").exists()
    found, history = pretrain(config, tmp_path / "cut", COURSE, mixture=MIXTURE)
    assert found == digest and history == whole
    assert len(drawn) == 13 + 2 * 6  # two parts a step; the six steps before the cut are not done again
    assert json.loads((tmp_path / "cut" / "history.json").read_text())["cost"]["steps"] == 6


def test_the_seed_decides(tmp_path):
    seeds = enumerate((0, 0, 1))
    course = {s: Course(steps=4, seed=s) for s in (0, 1)}
    digests = {pretrain(tiny_config(), tmp_path / str(i), course[s], mixture=MIXTURE)[0] for i, s in seeds}
    assert len(digests) == 2


@pytest.mark.parametrize("change", [{"rows": 2.0}, {"mixture": MIXTURE[:1]}, {"start": "zeros"}])
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change):
    pretrain(tiny_config(), tmp_path, Course(steps=2), mixture=MIXTURE)
    course = Course(steps=2, rows=change.get("rows", 1.0))
    start = Start(name="zeros", fill=lambda backbone: {}) if "start" in change else None
    with pytest.raises(PhysioEdgeError, match="another label"):
        pretrain(tiny_config(), tmp_path, course, mixture=change.get("mixture", MIXTURE), start=start)


def test_a_plain_run_has_the_plain_label():
    assert run.run_label(run.MIXTURE, Course(steps=1), "") == ""


def test_a_run_may_begin_from_other_weights(tmp_path):
    def fill(backbone):
        with torch.no_grad():
            backbone.norm.weight.fill_(3.0)
        return {"from": "threes"}

    course = Course(steps=1, learning_rate=1e-9)
    pretrain(tiny_config(), tmp_path, course, mixture=MIXTURE, start=Start(name="threes", fill=fill))
    backbone, provenance, _ = load_backbone(tmp_path / "backbone.safetensors", LAYOUT)
    assert provenance.details["start"] == {"from": "threes"}
    assert (backbone.norm.weight == 3.0).all()


def test_all_views_of_a_learner_are_one_network():
    learner = Learner(tiny_backbone(), MIXTURE)
    first, second = learner.views
    assert {id(p) for p in first.parameters()} == {id(p) for p in second.parameters()}
    assert first.layout != second.layout
    names = [name for name, _ in learner.named_parameters()]
    assert not any(name.startswith("views.1.") for name in names)


def test_the_twin_differs_in_the_mask_only():
    twin = twin_of(tiny_config())
    assert not twin.causal and twin.name == "test-bidirectional"
    assert {**twin.to_dict(), "causal": True, "name": "test"} == tiny_config().to_dict()
