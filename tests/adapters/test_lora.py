"""The global adapter: A shared and frozen, B and the projection fitted, readable by peft and by the exporter."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from physioedge.adapters.beats import BeatFit, fit_beats, log_prior, new_network
from physioedge.adapters.global_run import beats_note, train_beats
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.lora.files import load_network, load_note, merged_network, save_adapter
from physioedge.adapters.lora.inject import shared_a
from physioedge.datasets import mitbih
from physioedge.evaluation.arms import load_predictions
from physioedge.evaluation.jobs import Job, run_job
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import load_backbone
from physioedge_export.merge import merged_state, read_adapter
from physioedge_runtime.errors import AdapterError, BackboneMismatch
from tiny_training import LAYOUT, beat_record, random_windows, tiny_backbone, write_backbone, write_mitbih

CONFIG = BeatFit(steps=6, batch=8, learning_rate=1e-2, lora=LoraShape(rank=2))


@dataclass
class Fitted:
    root: Path
    backbone: Backbone
    digest: str
    wrapped: list[Any]

    @property
    def folder(self) -> Path:
        return self.root / "adapter"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Fitted:
    """Two fits of two seeds; the first is on disk."""
    root = tmp_path_factory.mktemp("global")
    digest = write_backbone(root / "backbone.safetensors")
    backbone = load_backbone(root / "backbone.safetensors", LAYOUT)[0]
    records = [beat_record("101"), beat_record("106", seed=1)]
    wrapped = [fit_beats(backbone, records, CONFIG, seed=seed) for seed in (0, 1)]
    save_adapter(root / "adapter", wrapped[0], beats_note(wrapped[0], digest, records, CONFIG, 0))
    return Fitted(root, backbone, digest, wrapped)


def arrays(wrapped: Any, part: str) -> dict[str, torch.Tensor]:
    return {name: p for name, p in wrapped.named_parameters() if part in name}


def test_a_is_shared_frozen_and_made_from_its_name(fitted):
    first, second = (arrays(w, ".lora_A.") for w in fitted.wrapped)
    assert len(first) == 2 * 6 and first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]) and not value.requires_grad
    layer = "backbone.blocks.1.expand"
    made = shared_a(layer, 2, 16, CONFIG.lora.seed)
    assert torch.equal(first[f"base_model.model.{layer}.lora_A.default.weight"], made)
    assert not torch.allclose(made, shared_a("backbone.blocks.0.expand", 2, 16, CONFIG.lora.seed))


def test_a_fit_hangs_on_its_seed_and_not_on_what_was_drawn_before(fitted):
    records = [beat_record("101"), beat_record("106", seed=1)]
    torch.rand(7)
    again = fit_beats(fitted.backbone, records, CONFIG, seed=0)
    first = dict(fitted.wrapped[0].named_parameters())
    assert all(torch.equal(first[name], value) for name, value in again.named_parameters())


def test_only_b_and_the_projection_are_trained(fitted):
    wrapped = fitted.wrapped[0]
    trained = [name for name, p in wrapped.named_parameters() if p.requires_grad]
    assert len(trained) == 12 + 2
    assert all(".lora_B." in n or "projection.modules_to_save" in n for n in trained)
    assert all(b.abs().max() > 0 for b in arrays(wrapped, ".lora_B.").values())
    one, other = (arrays(w, ".lora_B.") for w in fitted.wrapped)
    assert any(not torch.equal(value, other[name]) for name, value in one.items())
    state, base = wrapped.base_model.model.backbone.state_dict(), fitted.backbone.state_dict()
    for name, value in base.items():
        found = [v for k, v in state.items() if k.replace(".base_layer", "") == name]
        assert len(found) == 1 and torch.equal(found[0], value), name


def test_peft_itself_reads_the_folder(fitted):
    import peft

    model = new_network(fitted.backbone)
    read = peft.PeftModel.from_pretrained(model, str(fitted.folder)).eval()
    x = random_windows(3)
    with torch.no_grad():
        own, scores = fitted.wrapped[0].base_model.model, read.base_model.model.head.scores
        expected = own.head.scores(own.embed(x))
        torch.testing.assert_close(scores(read.base_model.model.embed(x)), expected, atol=1e-6, rtol=0)
        bare = new_network(fitted.backbone)
        assert (bare.embed(x) - own.embed(x)).abs().max() > 1e-3


def test_the_exporter_merges_it_to_the_same_logits(fitted):
    adapter = read_adapter(fitted.folder)
    assert len(adapter.pairs) == 12 and {pair.scale for pair in adapter.pairs.values()} == {1.0}
    assert set(adapter.replaced) == {"head.projection.weight", "head.projection.bias"}
    by_hand = new_network(fitted.backbone)
    by_hand.load_state_dict(merged_state(by_hand.state_dict(), adapter))
    merged, _, note = merged_network(fitted.backbone, fitted.digest, fitted.folder)
    by_peft = copy.deepcopy(fitted.wrapped[0]).merge_and_unload()
    x = random_windows(3)
    with torch.no_grad():
        expected, embedding = fitted.wrapped[0](x)
        for logits, embedded in (merged(x), by_peft(x)):
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
            torch.testing.assert_close(embedded, embedding, atol=1e-5, rtol=0)
        found = by_hand.head.scores(by_hand.embed(x)) + torch.tensor(note.head["log_prior"])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_merging_leaves_the_backbone_as_it_was(fitted):
    before = copy.deepcopy(fitted.backbone.state_dict())
    merged_network(fitted.backbone, fitted.digest, fitted.folder)
    for name, value in fitted.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_note_says_for_what_and_from_whom(fitted):
    model, _, note, provenance = load_network(fitted.root / "backbone.safetensors", fitted.folder)
    assert note == load_note(fitted.folder)
    assert (
        note.task == "arrhythmia"
        and note.labels == ("N", "S", "V")
        and note.layout == LAYOUT
        and note.backbone_digest == fitted.digest
    )
    assert note.training_subjects == ("mitbih:101", "mitbih:106") and note.fit["seed"] == 0
    assert note.fit["steps"] == 6 and provenance.objective == "none" and not model.training
    config = json.loads((fitted.folder / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(CONFIG.lora.targets) and config["r"] == config["lora_alpha"] == 2
    assert sorted(p.name for p in fitted.folder.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "physioedge.json",
    ]  # fmt: skip


def test_another_backbone_is_refused(fitted, tmp_path):
    other = tiny_backbone(seed=5)
    with pytest.raises(BackboneMismatch, match=fitted.digest[:12]):
        merged_network(other, "f" * 64, fitted.folder)


def test_a_folder_without_its_note_is_refused(fitted, tmp_path):
    with pytest.raises(AdapterError, match=r"physioedge\.json"):
        load_note(tmp_path)
    (tmp_path / "physioedge.json").write_text('{"task": "arrhythmia"}')
    with pytest.raises(AdapterError):
        load_note(tmp_path)


def test_the_prior_is_a_share_of_the_log_frequencies():
    record = beat_record()
    counts = np.bincount(record.label, minlength=4)[:3]
    whole, half, none = (log_prior([record], share) for share in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(torch.softmax(whole, 0), counts / counts.sum(), atol=1e-6)
    torch.testing.assert_close(half, 0.5 * whole)
    assert whole.max() == 0.0 and none.abs().max() == 0.0


def test_training_writes_the_adapter_once(fitted, tmp_path, monkeypatch):
    write_mitbih(tmp_path, ("101", "106"))
    monkeypatch.setattr(mitbih, "FIT", ("101", "106"))
    out = tmp_path / "adapter"
    train_beats(fitted.root / "backbone.safetensors", out, CONFIG, seed=0, data=tmp_path)
    first = (out / "adapter_model.safetensors").read_bytes()
    train_beats(fitted.root / "backbone.safetensors", out, CONFIG, seed=0, data=tmp_path)  # goes on from its end
    assert (out / "adapter_model.safetensors").read_bytes() == first
    assert load_note(out).training_subjects == ("mitbih:101", "mitbih:106")


def test_a_job_keeps_the_fitted_adapter_and_its_head(fitted, tmp_path):
    write_mitbih(tmp_path, ("101", "106", "100"))
    job = Job(arm="global", seed=0, backbone=fitted.root / "backbone.safetensors", config=CONFIG, train=("101", "106"),
              test=("100",), work=tmp_path / "work", data=tmp_path)  # fmt: skip
    (prediction,), extra = load_predictions(run_job(job))
    head = (prediction.embedding @ extra["weight"].T + extra["bias"]) @ extra["prototypes"].T
    np.testing.assert_allclose(head, prediction.scores, atol=2e-2)  # embeddings are kept in half precision
    assert extra["reference"].shape == (16,) and extra["log_prior"].shape == (3,)
    adapter = read_adapter(job.adapter)
    np.testing.assert_array_equal(adapter.replaced["head.projection.weight"], extra["weight"])
    fold = replace(job, development=True, work=tmp_path / "fold")
    run_job(fold)
    assert not fold.adapter.exists() and job.adapter.exists()
    assert asdict(job.config) == json.loads(json.dumps(asdict(job.config)), object_hook=_tuples)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


def test_levels_beside_an_adapter(tmp_path):
    from physioedge.adapters.lora.files import LEVELS_FILE, load_levels, save_levels

    assert load_levels(tmp_path) is None
    save_levels(tmp_path, np.array([0.0, -7.25, -8.5]), 21)
    np.testing.assert_allclose(load_levels(tmp_path), [0.0, -7.25, -8.5])
    for damaged in ("{", '{"level": [[1]]}', '{"level": [NaN]}', "[]", '{"level": null}'):
        (tmp_path / LEVELS_FILE).write_text(damaged)
        with pytest.raises(AdapterError, match=r"levels\.json"):
            load_levels(tmp_path)
