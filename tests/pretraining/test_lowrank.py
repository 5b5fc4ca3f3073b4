"""Low-rank pre-training: what moves, what stays, and that plain weights come out."""

from __future__ import annotations

import json

import pytest
import torch
from made_up_pools import MIXTURE, put_in_place

from physioedge.models.checkpoint import load_backbone
from physioedge.pretraining import lowrank, run
from physioedge.pretraining.lowrank import insert, merge, pretrain_low_rank
from physioedge.pretraining.run import Course, Learner
from physioedge_runtime.errors import PhysioEdgeError, ShapeError
from tiny_training import LAYOUT, WRIST, random_signals, random_windows, tiny_backbone, write_backbone

COURSE = Course(steps=10, learning_rate=1e-2)


@pytest.fixture
def generic(tmp_path, monkeypatch):
    put_in_place(monkeypatch)
    path = tmp_path / "generic.safetensors"
    write_backbone(path, seen=("somebody:1",))
    return path


def low_rank_learner(rank: int = 2) -> Learner:
    torch.manual_seed(0)
    learner = Learner(tiny_backbone(), MIXTURE)
    insert(learner, rank)
    return learner


def test_end_to_end(generic, tmp_path):
    digest, history = pretrain_low_rank(generic, tmp_path / "out", COURSE, rank=2, mixture=MIXTURE)
    before, _, generic_digest = load_backbone(generic, LAYOUT)
    after, provenance, found = load_backbone(tmp_path / "out" / "backbone.safetensors", LAYOUT)
    assert found == digest != generic_digest and after.config == before.config
    assert history.loss[-1] < history.loss[0] and set(history.parts) == {"ecg", "pulse/acc", "pulse/ppg"}
    assert provenance.training_subjects == ("somebody:1", "leads:1", "leads:2", "wrists:1")
    assert provenance.datasets == ("mitbih", "leads", "wrists") and provenance.objective == "next patch, low-rank"
    said = provenance.details["low_rank"]
    assert said["rank"] == 2 and said["generic"]["digest"] == generic_digest
    assert said["parameters"] == sum(p.numel() for p in before.parameters())
    lora = 2 * 2 * (4 * 32 + 2 * (16 + 64))  # rank, layers, in + out of every linear layer
    small = sum(p.numel() for name, p in before.named_parameters() if "norm" in name or name.startswith("embed."))
    assert said["trained"] == lora + small < said["parameters"]
    assert json.loads((tmp_path / "out" / "history.json").read_text())["cost"]["steps"] == 10


def test_every_change_of_a_block_is_of_the_rank_and_biases_stay(generic, tmp_path):
    pretrain_low_rank(generic, tmp_path / "out", COURSE, rank=2, mixture=MIXTURE)
    before = dict(load_backbone(generic, LAYOUT)[0].named_parameters())
    after = dict(load_backbone(tmp_path / "out" / "backbone.safetensors", LAYOUT)[0].named_parameters())
    assert before.keys() == after.keys()
    for name, old in before.items():
        change = (after[name] - old).detach()
        if "norm" in name or name.startswith("embed."):
            assert change.abs().max() > 0, name
        elif name.endswith(".bias"):
            assert torch.equal(after[name], old), name
        else:
            sizes = torch.linalg.svdvals(change)
            assert sizes[1] > 1e-3 and sizes[2] < 0.05 * sizes[0], name  # half precision is what is left


def test_both_factors_and_what_is_small_are_trained():
    learner = low_rank_learner()
    trained = {name for name, p in learner.named_parameters() if p.requires_grad}
    frozen = {name for name, p in learner.named_parameters() if not p.requires_grad}
    assert {
        "objective.predict.by_kind.ecg.weight",
        "views.0.embed.ecg.weight",
        "views.0.blocks.0.norm1.bias",
    } <= trained
    assert "views.0.norm.weight" in trained
    for factor in ("lora_A", "lora_B"):
        assert f"views.0.blocks.1.attention.q.{factor}.default.weight" in trained
        assert f"views.0.blocks.0.contract.{factor}.default.weight" in trained
    assert frozen and all(".base_layer." in name for name in frozen)


def test_all_views_share_the_low_rank_layers_and_begin_as_the_generic_backbone():
    torch.manual_seed(0)
    plain, learner = tiny_backbone(), low_rank_learner()
    first, second = learner.views
    assert {id(p) for p in first.parameters()} == {id(p) for p in second.parameters()}
    with torch.no_grad():
        torch.testing.assert_close(first(random_windows(2)), plain(random_windows(2)), atol=0, rtol=0)
        first.blocks[0].attention.q.lora_B["default"].weight.normal_()
        signals = random_signals(MIXTURE[1].layout, 2)
        assert not torch.allclose(second(*signals), plain.laid_out(MIXTURE[1].layout)(*signals), atol=1e-4)


def test_merging_keeps_what_is_computed_and_leaves_plain_layers():
    learner = low_rank_learner()
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.1)
        signals = random_signals(MIXTURE[1].layout, 2)
        before = learner.views[1](*signals)
        merge(learner)
        torch.testing.assert_close(learner.views[1](*signals), before, atol=1e-5, rtol=1e-5)
    plain = {name for name, _ in tiny_backbone().named_parameters()}
    assert {name for name, _ in learner.views[0].named_parameters()} == plain
    assert {id(p) for p in learner.views[0].parameters()} == {id(p) for p in learner.views[1].parameters()}
    other = learner.views[0].laid_out(WRIST)  # plain weights serve any other layout
    assert torch.isfinite(other(*random_signals(WRIST, 1))).all()


def test_a_run_that_was_cut_off_gives_the_same_weights(generic, tmp_path, monkeypatch):
    digest, _ = pretrain_low_rank(generic, tmp_path / "whole", COURSE, rank=2, mixture=MIXTURE)
    real_loop, real_draw, drawn = run.LoopConfig, run.draw, []
    monkeypatch.setattr(run, "LoopConfig", lambda **kw: real_loop(**kw, save_every_s=-1.0))

    def cut_off(*args):
        drawn.append(1)
        if len(drawn) == 9:
            raise KeyboardInterrupt
        return real_draw(*args)

    monkeypatch.setattr(run, "draw", cut_off)
    with pytest.raises(KeyboardInterrupt):
        pretrain_low_rank(generic, tmp_path / "cut", COURSE, rank=2, mixture=MIXTURE)
    assert pretrain_low_rank(generic, tmp_path / "cut", COURSE, rank=2, mixture=MIXTURE)[0] == digest
    assert len(drawn) == 9 + 2 * 6


def test_a_checkpoint_belongs_to_one_rank_and_one_generic_backbone(generic, tmp_path):
    course, out = Course(steps=1), tmp_path / "out"
    pretrain_low_rank(generic, out, course, rank=2, mixture=MIXTURE)
    with pytest.raises(PhysioEdgeError, match="another label"):
        pretrain_low_rank(generic, out, course, rank=3, mixture=MIXTURE)
    write_backbone(generic, seed=1)
    with pytest.raises(PhysioEdgeError, match="another label"):
        pretrain_low_rank(generic, out, course, rank=2, mixture=MIXTURE)


@pytest.mark.parametrize("rank", [0, 17])
def test_a_rank_outside_the_width_is_refused(generic, tmp_path, rank):
    with pytest.raises(ShapeError, match=f"rank {rank}"):
        pretrain_low_rank(generic, tmp_path / "out", COURSE, rank=rank, mixture=MIXTURE)
    assert lowrank.TARGETS == ("q", "k", "v", "o", "expand", "contract")
