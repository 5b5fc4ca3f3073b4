"""Pre-training from recordings to a weights file."""

from __future__ import annotations

import json

import pytest
import torch

from physioedge.datasets import mitbih
from physioedge.models.checkpoint import load_backbone
from physioedge.pretraining import run
from physioedge.pretraining.run import pretrain, twin_of
from tiny_training import tiny_config, write_mitbih

SETTINGS = {"steps": 12, "batch": 4, "learning_rate": 1e-2}


@pytest.fixture
def data(tmp_path, monkeypatch):
    write_mitbih(tmp_path, ("101", "106"), duration_s=12.0)
    monkeypatch.setattr(mitbih, "FIT", ("101", "106"))
    return tmp_path


@pytest.mark.parametrize(("config", "objective"), [(tiny_config(), "next patch"),
                                                   (twin_of(tiny_config()), "masked patches")])  # fmt: skip
def test_end_to_end(data, tmp_path, config, objective):
    out = tmp_path / "run"
    digest, history = pretrain(config, out, data=data, **SETTINGS)
    backbone, provenance, found = load_backbone(out / "backbone.safetensors")
    assert found == digest and backbone.config == config
    assert provenance.training_subjects == ("mitbih:101", "mitbih:106") and provenance.datasets == ("mitbih",)
    assert provenance.objective == objective and provenance.details == {"seed": 0, **SETTINGS}
    written = json.loads((out / "history.json").read_text())
    assert written["digest"] == digest and written["step"] == history.step == list(range(1, 13))
    assert history.loss[-1] < history.loss[0]


def test_a_run_that_was_cut_off_gives_the_same_weights(data, tmp_path, monkeypatch):
    config = tiny_config()
    digest, _ = pretrain(config, tmp_path / "whole", data=data, **SETTINGS)
    real_loop, real_draw, drawn = run.LoopConfig, run.draw, []
    monkeypatch.setattr(run, "LoopConfig", lambda **kw: real_loop(**kw, save_every_s=-1.0))

    def cut_off(*args):
        drawn.append(1)
        if len(drawn) == 7:
            raise KeyboardInterrupt
        return real_draw(*args)

    monkeypatch.setattr(run, "draw", cut_off)
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, tmp_path / "cut", data=data, **SETTINGS)
    assert not (tmp_path / "cut" / "backbone.safetensors").exists()
    assert pretrain(config, tmp_path / "cut", data=data, **SETTINGS)[0] == digest
    assert len(drawn) == 7 + 6  # the six steps before the cut are not done again


def test_the_seed_decides(data, tmp_path):
    config = tiny_config()
    digests = {pretrain(config, tmp_path / str(i), data=data, seed=s, **SETTINGS)[0] for i, s in enumerate((0, 0, 1))}
    assert len(digests) == 2


def test_the_twin_differs_in_the_mask_only():
    twin = twin_of(tiny_config())
    assert not twin.causal and twin.name == "test-bidirectional"
    assert {**twin.to_dict(), "causal": True, "name": "test"} == tiny_config().to_dict()
    assert torch.equal(torch.tensor(twin.input_samples), torch.tensor(tiny_config().input_samples))
