"""Weights on disk: what is read is what was written, and whatever else lies there gives one clear error."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from physioedge.models.checkpoint import HEADER, Provenance, load_backbone, save_backbone, state_digest
from physioedge_runtime.errors import PhysioEdgeError
from tiny_training import LAYOUT, random_windows, tiny_backbone, tiny_config

PROVENANCE = Provenance(training_subjects=("mitbih:101",), datasets=("mitbih",), objective="next patch",
                        details={"steps": 3})  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    backbone = tiny_backbone()
    path = tmp_path / "deep" / "backbone.safetensors"
    return path, backbone, save_backbone(path, backbone, PROVENANCE)


def test_round_trip(saved):
    path, backbone, digest = saved
    loaded, provenance, digest_read = load_backbone(path, LAYOUT)
    assert provenance == PROVENANCE and digest_read == digest and loaded.config == backbone.config
    x = random_windows(1)
    with torch.no_grad():
        assert torch.equal(loaded(x), backbone(x))
    assert not loaded.training
    again = path.with_name("again.safetensors")
    assert save_backbone(again, loaded, provenance) == digest
    assert again.read_bytes() == path.read_bytes()


def test_weights_are_half_precision_on_disk(saved):
    path, backbone, _ = saved
    weights = sum(p.numel() for p in backbone.parameters())
    assert 2 * weights < path.stat().st_size < 2 * weights + 12_288


def test_the_digest_covers_every_weight_and_every_field():
    backbone = tiny_backbone()
    state = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    digest = state_digest(backbone.config, state)
    for name in state:
        changed = {**state, name: state[name].clone()}
        changed[name].view(-1)[-1] += 0.5
        assert state_digest(backbone.config, changed) != digest, name
    assert state_digest(tiny_config(modalities=backbone.config.modalities[:2]), state) != digest
    for key, value in backbone.config.to_dict().items():
        if key == "modalities":
            continue
        other = (not value) if isinstance(value, bool) else value + ("x" if isinstance(value, str) else 1)
        assert state_digest(tiny_config(**{key: other}), state) != digest, key


def damaged(path, kind):
    content = path.read_bytes()
    state = {n: p.detach().clone() for n, p in tiny_backbone().named_parameters()}
    header = {"config": tiny_config().to_dict(), "provenance": PROVENANCE.__dict__}
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_bytes(b"no weights here" * 100)
    elif kind == "no header":
        save_file(state, path)
    elif kind == "unknown field":
        header["config"]["colour"] = "red"
        save_file(state, path, metadata={HEADER: json.dumps(header)})
    elif kind == "wrong shape":
        header["config"]["d_model"] = 32
        save_file(state, path, metadata={HEADER: json.dumps(header)})
    elif kind == "weight missing":
        del state["norm.weight"]
        save_file(state, path, metadata={HEADER: json.dumps(header)})
    elif kind == "weight too many":
        save_file({**state, "extra": torch.zeros(1)}, path, metadata={HEADER: json.dumps(header)})


KINDS = ("missing", "empty", "truncated", "text", "no header", "unknown field", "wrong shape", "weight missing",
         "weight too many")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_gives_one_error(saved, kind):
    path, _, _ = saved
    damaged(path, kind)
    with pytest.raises(PhysioEdgeError) as caught:
        load_backbone(path, LAYOUT)
    assert caught.value.came.startswith("backbone.safetensors") and "backbone weights" in caught.value.expected
