"""GPT-2's blocks in a backbone: the same outputs, apart from positions and the tanh formula of GELU."""

from __future__ import annotations

import builtins
import socket
from dataclasses import replace

import pytest
import torch

from physioedge.models import gpt2
from physioedge.models.backbone import Backbone
from physioedge.models.config import PAPER
from physioedge.models.gpt2 import fill_from_gpt2
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError, ShapeError
from tiny_training import LAYOUT, tiny_backbone, tiny_config

transformers = pytest.importorskip("transformers")
TOKENS = 8


@pytest.fixture
def no_network(monkeypatch):
    """Opening a connection is a failure."""

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def made_up_model(seed: int = 0, **changes):
    """A GPT-2 of three small blocks with every tensor random, norms and biases too."""
    torch.manual_seed(seed)
    parts = {"n_embd": 16, "n_head": 2, "n_layer": 3, "n_positions": 32, "vocab_size": 11, "bos_token_id": 0,
             "eos_token_id": 0, "attn_implementation": "eager"}  # fmt: skip
    model = transformers.GPT2Model(transformers.GPT2Config(**{**parts, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.3)
            if ".ln_" in name and name.endswith("weight"):
                parameter.add_(1.0)
        model.wpe.weight.zero_()  # positions are another matter: see the module
    return model


@pytest.fixture
def folder(tmp_path):
    def write(**changes):
        model = made_up_model(**changes)
        model.save_pretrained(tmp_path / "gpt2")
        return model, str(tmp_path / "gpt2")

    return write


def without_positions(backbone: Backbone) -> Backbone:
    """Rotary tables of angle zero."""
    for block in backbone.blocks:
        block.attention.cos.fill_(1.0)
        block.attention.sin.zero_()
    return backbone


def both(model, backbone: Backbone, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs after the backbone's number of blocks and the last norm: theirs, ours."""
    x = torch.randn(2, TOKENS, 16, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        hidden = model(inputs_embeds=x, output_hidden_states=True, use_cache=False).hidden_states
        return model.ln_f(hidden[len(backbone.blocks)]), backbone.transformed(x)


def test_outputs_are_those_of_transformers_where_gelu_is_exact(folder, no_network):
    model, source = folder(activation_function="gelu")
    backbone = without_positions(tiny_backbone())
    said = fill_from_gpt2(backbone, source)
    theirs, ours = both(model, backbone)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    assert said["from"] == "gpt2" and said["source"] == "gpt2" and said["blocks"] == "2 of 3"
    assert len(said["sha256"]) == 64


def test_the_tanh_formula_makes_a_small_difference(folder):
    x = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    gap = (torch.nn.functional.gelu(x) - torch.nn.functional.gelu(x, approximate="tanh")).abs().max().item()
    assert 4e-4 < gap < 5e-4
    model, source = folder()
    assert model.config.activation_function == "gelu_new"
    backbone = without_positions(tiny_backbone())
    fill_from_gpt2(backbone, source)
    theirs, ours = both(model, backbone)
    difference = (ours - theirs).abs().max().item()
    assert 1e-6 < difference < 3e-3  # of features with a deviation of about one


def test_rotary_positions_are_what_else_differs(folder):
    model, source = folder(activation_function="gelu")
    backbone = tiny_backbone()
    fill_from_gpt2(backbone, source)
    theirs, ours = both(model, backbone)
    torch.testing.assert_close(ours[:, 0], theirs[:, 0], atol=2e-5, rtol=1e-4)  # the first token sees itself alone
    assert (ours - theirs).abs().max() > 1e-2


@pytest.mark.parametrize(
    "changes", [{"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}], ids=lambda c: next(iter(c))
)
def test_every_scale_of_attention_is_folded_into_q(folder, changes):
    model, source = folder(activation_function="gelu", **changes)
    backbone = without_positions(tiny_backbone())
    fill_from_gpt2(backbone, source)
    theirs, ours = both(model, backbone)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_patch_embeddings_stay_as_they_were_and_everything_else_is_filled(folder):
    model, source = folder()
    backbone = tiny_backbone()
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    fill_from_gpt2(backbone, source)
    same = {name for name, p in backbone.named_parameters() if torch.equal(p, before[name])}
    assert same == {name for name in before if name.startswith("embed.")}
    assert torch.equal(backbone.norm.weight, model.ln_f.weight)


def test_weights_saved_with_the_language_head_are_read_too(tmp_path):
    whole = transformers.GPT2LMHeadModel(made_up_model().config).eval()
    whole.save_pretrained(tmp_path / "lm")
    backbone = tiny_backbone()
    fill_from_gpt2(backbone, str(tmp_path / "lm"))
    inner = whole.transformer.h[1].attn.c_attn.weight[:, 32:]
    assert torch.equal(backbone.blocks[1].attention.v.weight, inner.T)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"n_embd": 32}, "width 32 for 16"),
        ({"n_head": 4}, "heads 4 for 2"),
        ({"n_layer": 1}, "1 blocks for 2"),
        ({"n_inner": 32}, "inner width 32 for 64"),
        ({"activation_function": "relu"}, "activation relu"),
        ({"layer_norm_epsilon": 1e-3}, "norm epsilon 0.001"),
    ],
)
def test_models_of_another_shape_are_refused_and_change_nothing(folder, changes, word):
    _, source = folder(**changes)
    backbone = tiny_backbone()
    before = backbone.norm.weight.clone(), backbone.blocks[0].expand.weight.clone()
    with pytest.raises(ShapeError, match=word):
        fill_from_gpt2(backbone, source)
    assert torch.equal(backbone.norm.weight, before[0]) and torch.equal(backbone.blocks[0].expand.weight, before[1])


def test_a_folder_without_a_model_is_refused_without_network(tmp_path, folder, no_network):
    with pytest.raises(PhysioEdgeError, match=r"config\.json"):
        fill_from_gpt2(tiny_backbone(), str(tmp_path))
    _, source = folder()
    (tmp_path / "gpt2" / "model.safetensors").unlink()
    with pytest.raises(PhysioEdgeError, match="safetensors"):
        fill_from_gpt2(tiny_backbone(), source)
    (tmp_path / "gpt2" / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(PhysioEdgeError, match="gpt2"):
        fill_from_gpt2(tiny_backbone(), source)


def test_a_name_that_cannot_be_fetched_is_one_error(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(PhysioEdgeError, match="nobody/nothing"):
        fill_from_gpt2(tiny_backbone(), "nobody/nothing")


def test_a_pickle_is_not_opened(tmp_path, folder):
    model, source = folder()
    (tmp_path / "gpt2" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "gpt2" / "pytorch_model.bin")
    with pytest.raises(PhysioEdgeError, match="safetensors"):
        fill_from_gpt2(tiny_backbone(), source)


def test_tensors_that_are_missing_from_the_file_are_not_made_up(tmp_path, folder):
    from safetensors.torch import load_file, save_file

    _, source = folder()
    file = tmp_path / "gpt2" / "model.safetensors"
    state = {name: value for name, value in load_file(file).items() if name != "h.1.mlp.c_fc.weight"}
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(PhysioEdgeError, match=r"h\.1\.mlp\.c_fc\.weight"):
        fill_from_gpt2(tiny_backbone(), source)


def test_without_the_package_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def blocked(name, *args, **kwargs):
        if name.partition(".")[0] == "transformers":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(gpt2.importlib, "import_module", lambda name: blocked(name))
    with pytest.raises(MissingExtra, match=r"physioedge\[train\]"):
        fill_from_gpt2(tiny_backbone(), "gpt2")


def test_the_paper_preset_has_the_shape_of_the_smallest_gpt2():
    """Sizes of GPT-2 (Radford et al. 2019, table 2): 12 blocks of 768, 12 heads; the preset takes six."""
    small = transformers.GPT2Config()
    assert (small.n_embd, small.n_head, small.n_layer) == (PAPER.d_model, PAPER.n_heads, 2 * PAPER.n_layers)
    with torch.device("meta"):
        shell = transformers.GPT2Model(small)
    gpt2._check(tiny_of_paper(), small)
    assert shell.ln_f.weight.shape == (PAPER.d_model,)


def tiny_of_paper() -> Backbone:
    """The preset with one block, so that it is made at once; the check looks at the configuration."""
    backbone = Backbone(replace(tiny_config(), d_model=768, n_heads=12, n_layers=1), LAYOUT)
    backbone.config = replace(PAPER, modalities=backbone.config.modalities)
    return backbone
