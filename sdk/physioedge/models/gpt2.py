"""GPT-2's own blocks as the start of a backbone.

What carries over: the attention, the networks and the norms of the first blocks, and the last norm. What does not:
the word and position embeddings (patches are embedded, positions are rotary), the later blocks, and the head. GPT-2
computes GELU by the tanh formula, the backbone exactly: they differ by less than 5e-4 for any input.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from physioedge.models.backbone import Backbone
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError, ShapeError

_ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh", "gelu")
"""The tanh formula under two names, and the exact one."""
_DO = "Name a GPT-2 model of this width, or another preset."


def fill_from_gpt2(backbone: Backbone, source: str) -> dict[str, Any]:
    """Put the first blocks of a GPT-2 model into a backbone, in place.

    Parameters
    ----------
    backbone : Backbone
        Its width, heads and four-fold inner width have to be those of the model; it may have fewer blocks.
    source : str
        Folder of a model in the format of ``transformers`` (then no network is used), or a name on the Hugging Face hub
        such as ``gpt2``.

    Returns
    -------
    dict
        What was taken, for the provenance: source, blocks, digest of the tensors.

    Raises
    ------
    MissingExtra
        ``transformers`` is not installed.
    PhysioEdgeError
        There is no such model here, or it cannot be read.
    ShapeError
        It is of another shape than the backbone.
    """
    model = _loaded(source)
    _check(backbone, model.config)
    state = {name: value.detach().float() for name, value in model.state_dict().items()}
    taken = blocks_of(state, model.config, backbone.config.n_layers)
    missing, unexpected = backbone.load_state_dict(taken, strict=False)
    parameters = {name for name, _ in backbone.named_parameters() if not name.startswith("embed.")}
    if unexpected or parameters & set(missing):
        raise PhysioEdgeError(
            f"tensors {[*unexpected, *sorted(parameters & set(missing))][:3]}", "every layer of a block", _DO
        )
    digest = hashlib.sha256()
    for name in sorted(taken):
        digest.update(name.encode() + taken[name].contiguous().numpy().tobytes())
    return {
        "from": "gpt2",
        "source": Path(source).name if Path(source).is_dir() else source,
        "blocks": f"{backbone.config.n_layers} of {model.config.n_layer}",
        "activation": f"{model.config.activation_function} in the source, exact gelu here",
        "sha256": digest.hexdigest(),
    }


def blocks_of(state: Mapping[str, Tensor], config: Any, n_layers: int) -> dict[str, Tensor]:
    """Tensors of GPT-2's first blocks under the names and in the form of `Backbone`.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of ``transformers.GPT2Model``, whose matrices are stored (in, out).
    config : transformers.GPT2Config
    n_layers : int

    Notes
    -----
    ``c_attn`` holds q, k and v side by side. The backbone's attention has no scale of its own, so that of GPT-2,
    1/sqrt(head_dim), and where the model says so 1/(layer + 1), is multiplied into q.
    """
    out = {"norm.weight": state["ln_f.weight"], "norm.bias": state["ln_f.bias"]}
    for layer in range(n_layers):
        theirs, ours = f"h.{layer}", f"blocks.{layer}"
        scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        scale /= layer + 1 if config.scale_attn_by_inverse_layer_idx else 1
        weight, bias = state[f"{theirs}.attn.c_attn.weight"].T, state[f"{theirs}.attn.c_attn.bias"]
        for name, w, b in zip("qkv", weight.chunk(3), bias.chunk(3), strict=True):
            factor = scale if name == "q" else 1.0
            out[f"{ours}.attention.{name}.weight"], out[f"{ours}.attention.{name}.bias"] = w * factor, b * factor
        for name, place in (("attention.o", "attn.c_proj"), ("expand", "mlp.c_fc"), ("contract", "mlp.c_proj")):
            out[f"{ours}.{name}.weight"] = state[f"{theirs}.{place}.weight"].T
            out[f"{ours}.{name}.bias"] = state[f"{theirs}.{place}.bias"]
        for name, place in (("norm1", "ln_1"), ("norm2", "ln_2")):
            for part in ("weight", "bias"):
                out[f"{ours}.{name}.{part}"] = state[f"{theirs}.{place}.{part}"]
    return {name: value.contiguous() for name, value in out.items()}


def _loaded(source: str) -> Any:
    try:
        transformers = importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "GPT-2 without the package 'transformers'", "the extra 'train'",
            "Install it with: pip install 'physioedge[train]'",
        ) from error  # fmt: skip
    local = Path(source).is_dir()
    try:
        # safetensors only: the other format of these files is a pickle
        model, report = transformers.GPT2Model.from_pretrained(
            source, local_files_only=local, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise PhysioEdgeError(
            f"{source!r} ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})",
            "a GPT-2 model with config.json and model.safetensors",
            "Give a folder that holds both, or a name that can be fetched from here.",
        ) from error
    if report["missing_keys"]:  # they would be random
        lacking = sorted(report["missing_keys"])
        raise PhysioEdgeError(f"{source!r} without {', '.join(lacking[:3])}", "every tensor of a GPT-2 model", _DO)
    return model


def _check(backbone: Backbone, config: Any) -> None:
    ours = backbone.config
    inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
    wanted = {"width": (config.n_embd, ours.d_model), "heads": (config.n_head, ours.n_heads),
              "inner width": (inner, 4 * ours.d_model)}  # fmt: skip
    wrong = [f"{name} {theirs} for {our}" for name, (theirs, our) in wanted.items() if theirs != our]
    if config.n_layer < ours.n_layers:
        wrong.append(f"{config.n_layer} blocks for {ours.n_layers}")
    if config.activation_function not in _ACTIVATIONS:
        wrong.append(f"activation {config.activation_function}")
    epsilon = backbone.norm.eps
    if config.layer_norm_epsilon != epsilon:
        wrong.append(f"norm epsilon {config.layer_norm_epsilon} for {epsilon}")
    if wrong:
        raise ShapeError(f"a GPT-2 model with {', '.join(wrong)}", f"the shape of preset {ours.name!r}", _DO)
