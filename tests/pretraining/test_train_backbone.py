"""``physioedge train backbone``: which options go together, and what is left in the folder."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from made_up_pools import MIXTURE, leads, put_in_place

from physioedge.cli.main import main
from physioedge.cli.train import cost_line
from physioedge.models import config
from physioedge.models.checkpoint import load_backbone
from physioedge.pretraining import mixture, run, synthetic
from tiny_training import LAYOUT, tiny_config


@pytest.fixture(autouse=True)
def small(monkeypatch):
    put_in_place(monkeypatch)
    monkeypatch.setattr(config, "PRESETS", {"tiny": tiny_config(), "paper": replace(tiny_config(), name="other")})
    monkeypatch.setattr(mixture, "MIXTURE", MIXTURE)
    generic = tuple(replace(part, pools={f"synthetic_{part.name}": 1.0}) for part in MIXTURE)
    monkeypatch.setattr(synthetic, "GENERIC", generic)
    monkeypatch.setattr(run, "CORPORA", {name: lambda rates, root, part=part: nobody(part, rates)
                                         for part, name in zip(MIXTURE, ("synthetic_ecg", "synthetic_pulse"),
                                                               strict=True)})  # fmt: skip


def nobody(part, rates):
    return synthetic.corpus(rates, layout=part.layout, tracks=4)


def backbone(*options, out):
    return main(["train", "backbone", "--steps", "3", "--threads", "1", "--out", str(out), *options])


def test_weights_curves_and_cost_are_left_in_the_folder(tmp_path, capsys):
    assert backbone("--rows", "0.5", "--seed", "4", out=tmp_path / "a") == 0
    said = capsys.readouterr().out
    _, provenance, digest = load_backbone(tmp_path / "a" / "backbone.safetensors", LAYOUT)
    assert provenance.details["seed"] == 4 and provenance.details["rows"] == 0.5
    assert provenance.details["learning_rate"] == 1e-3 and provenance.datasets == ("leads", "wrists")
    assert (tmp_path / "a" / "loss.png").read_bytes().startswith(b"\x89PNG")
    cost = json.loads((tmp_path / "a" / "history.json").read_text())["cost"]
    assert digest[:12] in said and cost_line(cost) in said and "tokens/s" in said


def test_generic_then_low_rank(tmp_path):
    assert backbone("--generic", out=tmp_path / "generic") == 0
    file = tmp_path / "generic" / "backbone.safetensors"
    _, seen, digest = load_backbone(file, LAYOUT)
    assert seen.training_subjects == () and seen.datasets == ("synthetic",)
    assert backbone("--low-rank", str(file), "--rank", "2", out=tmp_path / "low") == 0
    _, provenance, _ = load_backbone(tmp_path / "low" / "backbone.safetensors", LAYOUT)
    assert provenance.details["low_rank"]["generic"]["digest"] == digest
    assert provenance.details["low_rank"]["rank"] == 2 and provenance.datasets == ("synthetic", "leads", "wrists")


def test_the_twin_and_another_rate(tmp_path):
    assert backbone("--bidirectional", "--learning-rate", "0.002", "--preset", "paper", out=tmp_path) == 0
    found, provenance, _ = load_backbone(tmp_path / "backbone.safetensors", LAYOUT)
    assert found.config.name == "other-bidirectional" and not found.config.causal
    assert provenance.objective == "masked patches" and provenance.details["learning_rate"] == 0.002


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--rank", "4"), "--low-rank"),
        (("--low-rank", "x", "--generic"), "keeps the shape"),
        (("--low-rank", "x", "--init", "gpt2"), "keeps the shape"),
        (("--low-rank", "x", "--preset", "paper"), "not allowed"),
        (("--init", "bert"), "only gpt2"),
        (("--init", "gpt2:nowhere"), "no such folder"),
        (("--rows", "0"), "positive"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, capsys, options, word):
    assert backbone(*options, out=tmp_path / "out") == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_generic_backbone_is_one_line(tmp_path, capsys):
    assert backbone("--low-rank", str(tmp_path / "none.safetensors"), out=tmp_path / "out") == 1
    assert "none.safetensors" in capsys.readouterr().err


def test_made_up_pools_are_what_the_command_reads(tmp_path, monkeypatch):
    """The fixture is no accident: without its pools the command has nothing to learn from."""
    monkeypatch.setattr(run, "LOADERS", {"made_up_leads": leads})
    assert backbone(out=tmp_path) != 0
