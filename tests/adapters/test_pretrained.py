"""from_pretrained and save_pretrained: backbones and adapters from folder to folder; peft reads what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from physioedge.adapters.lora.files import TaskNote
from physioedge.adapters.lora.pretrained import Adapter
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, state_digest
from physioedge.models.network import network_on
from physioedge_export.merge import LoraAdapter, LoraPair
from physioedge_runtime.errors import AdapterError, BackboneMismatch, PhysioEdgeError
from tiny_training import LAYOUT, WRIST, random_signals, random_windows, tiny_backbone

SEEN = Provenance(training_subjects=("mitbih:101",), datasets=("mitbih",), objective="none")


@pytest.fixture
def backbone(tmp_path) -> Backbone:
    tiny_backbone().save_pretrained(tmp_path / "backbone", SEEN)
    return Backbone.from_pretrained(tmp_path / "backbone", LAYOUT)


def made_adapter(backbone: Backbone, folder) -> Adapter:
    """One of random numbers, with a projection of its own."""
    rng = np.random.default_rng(2)
    network = network_on(backbone, 3, classes=True, head_seed=1)
    pairs = {
        name: LoraPair(
            a=rng.standard_normal((2, layer.in_features)).astype(np.float32),
            b=0.1 * rng.standard_normal((layer.out_features, 2)).astype(np.float32), scale=1.5,
        )
        for name, layer in network.named_modules() if isinstance(layer, torch.nn.Linear) and ".blocks." in name
    }  # fmt: skip
    projection = {f"head.projection.{k}": v.numpy() + 0.05 for k, v in network.head.projection.state_dict().items()}
    digest = state_digest(backbone.config, dict(backbone.named_parameters()))
    note = TaskNote(
        task="arrhythmia", labels=("N", "S", "V"), layout=LAYOUT, backbone_digest=digest, head_seed=1,
        head={"log_prior": [0.0, -1.0, -2.0]}, training_subjects=("mitbih:101",), datasets=("mitbih",), fit={},
    )  # fmt: skip
    Adapter(lora=LoraAdapter(pairs=pairs, replaced=projection), note=note, folder=folder).save_pretrained(folder)
    return Adapter.from_pretrained(folder)


def test_a_backbone_goes_from_folder_to_folder(backbone, tmp_path):
    digest = backbone.save_pretrained(tmp_path / "again")
    again = Backbone.from_pretrained(tmp_path / "again" / "backbone.safetensors", WRIST)
    assert digest == state_digest(again.config, dict(again.named_parameters()))
    assert again.provenance == backbone.provenance == SEEN and again.layout == WRIST
    assert again.laid_out(LAYOUT).provenance == SEEN
    x = random_signals(WRIST, 2)
    with torch.no_grad():
        torch.testing.assert_close(again(*x), backbone.laid_out(WRIST)(*x), atol=0, rtol=0)


def test_weights_of_unknown_people_are_not_written(tmp_path):
    with pytest.raises(PhysioEdgeError, match="without provenance"):
        tiny_backbone().save_pretrained(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(PhysioEdgeError, match="backbone weights"):
        Backbone.from_pretrained(tmp_path / "none", LAYOUT)


def test_an_adapter_goes_from_folder_to_folder(backbone, tmp_path):
    adapter = made_adapter(backbone, tmp_path / "adapter")
    adapter.save_pretrained(tmp_path / "again")
    for name in ("adapter_config.json", "adapter_model.safetensors", "physioedge.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "adapter" / name).read_bytes()
    with pytest.raises(BackboneMismatch):
        adapter.on(tiny_backbone(seed=9))
    with pytest.raises(AdapterError):
        Adapter.from_pretrained(tmp_path / "nothing")


def test_peft_reads_what_is_written_without_it(backbone, tmp_path):
    peft = pytest.importorskip("peft")
    adapter = made_adapter(backbone, tmp_path / "adapter")
    bare = network_on(backbone, 3, classes=True, head_seed=1)
    read = peft.PeftModel.from_pretrained(bare, str(tmp_path / "adapter")).eval()
    own, x = adapter.on(backbone), random_windows(3)
    with torch.no_grad():
        embedding = own.embed(x)
        torch.testing.assert_close(read.base_model.model.embed(x), embedding, atol=1e-5, rtol=0)
        scores = read.base_model.model.head.scores(embedding)
        torch.testing.assert_close(scores, own.head.scores(embedding), atol=1e-5, rtol=0)
        before = network_on(backbone, 3, classes=True, head_seed=1)
        assert (before.embed(x) - embedding).abs().max() > 1e-2
        assert (before.head.scores(embedding) - scores).abs().max() > 1e-3


def test_layers_of_several_ranks_have_no_peft_config(backbone, tmp_path):
    adapter = made_adapter(backbone, tmp_path / "adapter")
    name, pair = next(iter(adapter.lora.pairs.items()))
    other = LoraPair(a=pair.a[:1], b=pair.b[:, :1], scale=pair.scale)
    odd = Adapter(lora=LoraAdapter(pairs={**adapter.lora.pairs, name: other}), note=adapter.note, folder=tmp_path)
    with pytest.raises(AdapterError, match="ranks"):
        odd.save_pretrained(tmp_path / "odd")


def test_the_shipped_ones_have_names():
    pytest.importorskip("physioedge_weights")
    adapter = Adapter.from_pretrained("shipped/arrhythmia")
    backbone = Backbone.from_pretrained("shipped", adapter.note.layout)
    assert adapter.note.labels == ("N", "S", "V")
    assert json.loads((adapter.folder / "physioedge.json").read_text())["task"] == "arrhythmia"
    assert backbone.provenance is not None and "mitbih:100" not in backbone.provenance.training_subjects
    assert not adapter.on(backbone).training
