"""What the frozen models make of all windows, computed once: every fit and every choice of positions reads it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.bridge.layers import layer_embeddings, layer_tokens
from physioedge.bridge.module import Ends
from physioedge.models.backbone import Backbone
from physioedge.models.network import Network

AT_ONCE = 512
TOKENS_KEPT = 512
"""Tokens of the old model, from which prototypes begin, of each layer."""
_MEAN_WINDOWS = 2048


@dataclass(frozen=True, kw_only=True)
class Activations:
    """Of n windows, in half precision.

    Attributes
    ----------
    new, old : float16 (n, layer, dim)
        Pooled tokens of the new model on the new sensor, and of the old one on its own.
    embedding : float16 (n, embedding_dim)
        The old model's, of its own sensor.
    logits : float32 (n, class)
        Its answers.
    direct : float32 (n, class)
        What it says of the new sensor without a bridge.
    start : float32 (layer, token, d_model)
        Mean tokens of the old model over pairs.
    around : float32 (layer, k, d_model)
        Tokens of the old model less their mean.
    """

    new: NDArray[np.float16]
    old: NDArray[np.float16]
    embedding: NDArray[np.float16]
    logits: NDArray[np.float32]
    direct: NDArray[np.float32]
    start: NDArray[np.float32]
    around: NDArray[np.float32]

    @property
    def answer(self) -> NDArray[np.int64]:
        """Class that the old model says."""
        return np.asarray(self.logits.argmax(1), np.int64)

    def ends(self, rows: NDArray[np.int64], new: int, old: int) -> Ends:
        """Constants of a bridge between two layers, from some of the windows."""
        h = self.new[rows, new].astype(np.float32)
        return Ends(
            middle=torch.from_numpy(h.mean(0)), size=torch.from_numpy(h.std(0)), start=torch.from_numpy(self.start[old])
        )

    def prototypes(self, old: int, count: int, *, seed: int) -> Tensor:
        """Where prototypes (count, d_model) begin: tokens of the old layer, about their mean."""
        known = self.around[old]
        rows = np.random.default_rng((seed, old)).choice(len(known), count, replace=count > len(known))
        return torch.from_numpy(known[rows].copy())

    def save(self, path: Path) -> None:
        """Write, so that a file that is there is whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **{one.name: getattr(self, one.name) for one in fields(self)})
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Activations:
        """Inverse of `save`."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{one.name: file[one.name] for one in fields(cls)})


def patches_of(backbone: Backbone, windows: NDArray[np.float32], device: torch.device) -> list[Tensor]:
    """Normalised patches of all windows of one sensor, float16 on the device: frontends have nothing to be fitted."""
    front = copy.deepcopy(backbone.frontends).to(device)
    out = []
    with torch.no_grad():
        for first in range(0, len(windows), AT_ONCE):
            x = torch.from_numpy(windows[first : first + AT_ONCE]).to(device)
            out.append(front[0](x).half())
    return [torch.cat(out)]


def activations_of(
    new: Backbone, old: Network, patches: list[Tensor], old_windows: NDArray[np.float32],
    pairs: NDArray[np.int64], device: torch.device,
) -> Activations:  # fmt: skip
    """Run both frozen models over all windows.

    Parameters
    ----------
    new : Backbone
        Laid out for the new sensor, of one stream.
    old : Network
        The labelled model, its adapter merged.
    patches : list of float16 (n, token, token_inputs)
        Of the new sensor.
    old_windows : float32 (n, channel, sample)
    pairs : int64 (k,)
        Rows that may be learned from: means over tokens are of these.
    device : torch.device
    """
    new, old = copy.deepcopy(new).to(device).eval(), copy.deepcopy(old).to(device).eval()
    straight = old.backbone.laid_out(new.layout).to(device)
    parts: dict[str, list[Tensor]] = {name: [] for name in ("new", "old", "embedding", "logits", "direct")}
    with torch.no_grad():
        for first in range(0, len(old_windows), AT_ONCE):
            seen = [p[first : first + AT_ONCE].float() for p in patches]
            parts["new"].append(layer_embeddings(new, layer_tokens(new, seen)).half().cpu())
            parts["direct"].append(old.head(straight.pooled(straight.tokens(seen))).cpu())
            own = old.backbone.patches((torch.from_numpy(old_windows[first : first + AT_ONCE]).to(device),))
            tokens = layer_tokens(old.backbone, own)
            embedding = old.backbone.pooled(old.backbone.norm(tokens[-1]))
            parts["old"].append(layer_embeddings(old.backbone, tokens).half().cpu())
            parts["embedding"].append(embedding.half().cpu())
            parts["logits"].append(old.head(embedding).cpu())
        start, around = _tokens(old, old_windows, pairs, device)
    found = {name: torch.cat(tensors).numpy() for name, tensors in parts.items()}
    return Activations(**found, start=start, around=around)


def _tokens(
    old: Network, windows: NDArray[np.float32], pairs: NDArray[np.int64], device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean tokens of every layer over pairs, and some tokens about them."""
    rows = pairs[np.unique(np.linspace(0, len(pairs) - 1, min(_MEAN_WINDOWS, len(pairs))).astype(np.int64))]
    sums: Tensor | None = None
    kept: list[Tensor] = []
    each = max(1, TOKENS_KEPT * AT_ONCE // len(rows))
    for first in range(0, len(rows), AT_ONCE):
        x = torch.from_numpy(windows[rows[first : first + AT_ONCE]]).to(device)
        tokens = torch.stack(layer_tokens(old.backbone, old.backbone.patches((x,))))  # (layer, batch, token, d)
        total = tokens.sum(1)
        sums = total if sums is None else sums + total
        generator = torch.Generator().manual_seed(first)
        window = torch.randint(tokens.shape[1], (each,), generator=generator)
        token = torch.randint(tokens.shape[2], (each,), generator=generator)
        kept.append(torch.cat([tokens[:, window, token], token.to(device).expand(len(tokens), each)[..., None]], dim=2))
    if sums is None:
        return np.empty((0, 0, 0), np.float32), np.empty((0, 0, 0), np.float32)
    start = sums / len(rows)
    some = torch.cat(kept, dim=1)
    place = some[0, :, -1].long()
    return start.cpu().numpy(), (some[..., :-1] - start[:, place]).cpu().numpy()
