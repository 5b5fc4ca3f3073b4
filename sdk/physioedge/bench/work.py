"""Operations and bytes of one window, counted from the network's shape.

A multiply-accumulate (MAC) counts as two operations, as in the ceilings. Only products are counted: additions,
normalisers and activations are below one per cent of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physioedge.bench.ceilings import Ceilings
    from physioedge.models.config import BackboneConfig
    from physioedge.models.layout import Layout
    from physioedge.models.modality import Modality

_FLOAT_BYTES = 4
_ZSCORE = "zscore"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one window costs at least, whatever the engine.

    Attributes
    ----------
    macs_by_part : mapping of str to int
        ``linear``: the layers of the blocks that int8 forms quantise; ``attention``: scores, mixing and rotary
        products; ``frontend``: filter and trailing means; ``ends``: patch embedding and head.
    linear_weights, other_weights : int
        Numbers of the quantised layers' matrices; of everything else (biases, norms, embedding, head, tables).
    activations : int
        Numbers read and written by products: each input and each result once, what lies between taken as fused.
    """

    macs_by_part: Mapping[str, int]
    linear_weights: int
    other_weights: int
    activations: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one window."""
        return sum(self.macs_by_part.values())

    def weight_bytes(self, precision: str) -> int:
        """Bytes of all weights, ``int8`` or ``fp32``: read once a window."""
        return self.linear_weights * (1 if precision == "int8" else _FLOAT_BYTES) + self.other_weights * _FLOAT_BYTES

    @property
    def activation_bytes(self) -> int:
        """Bytes of activations in fp32, which all arms hand from layer to layer."""
        return _FLOAT_BYTES * self.activations

    def moved_bytes(self, precision: str) -> int:
        """Weights and activations of one window."""
        return self.weight_bytes(precision) + self.activation_bytes


def work_of(config: BackboneConfig, layout: Layout, n_outputs: int, *, classes: bool, head_dim: int = 16) -> Work:
    """Work of a network on a backbone of this shape, for one window.

    Parameters
    ----------
    config : BackboneConfig
    layout : Layout
        What it takes.
    n_outputs : int
        Labels or values.
    classes : bool
        Labels, told by prototypes of length `head_dim`.
    head_dim : int
    """
    t, d, h = layout.n_tokens(config), config.d_model, config.n_heads
    hd, layers, pooled = d // h, config.n_layers, layout.embedding_dim(config)
    head = pooled * head_dim + head_dim * n_outputs if classes else pooled * n_outputs
    linear = layers * (4 * t * d * d + 2 * t * d * 4 * d)
    attention = layers * (2 * h * t * hd * hd + 2 * h * t * t * hd)
    block_tables = 2 * t * hd + h * hd * hd + t * t  # cosine, sine, rotation and mask
    other = layers * (9 * d + 4 * d + block_tables)  # biases 4d + 4d + d, two norms 4d
    other += 2 * d + head + (head_dim + n_outputs if classes else 3 * n_outputs)
    linears = 4 * (d + d) + (d + 4 * d) + (4 * d + d)  # values in and out for each token
    products = 2 * 2 * d + 2 * (2 * d + h * t)  # rotary of q and k; scores and mixing read both operands
    activations = layers * t * (linears + products)
    frontend, embed = 0, 0
    for one in layout.streams(config):
        part = _of_stream(config.modality(one.kind), one.n_tokens, d)
        frontend, embed = frontend + part.frontend, embed + part.embed
        other, activations = other + part.constants, activations + part.activations
    for kind in {one.kind for one in layout.sensors}:
        other += config.modality(kind).token_inputs * d + d
    return Work(
        macs_by_part={"linear": linear, "attention": attention, "frontend": frontend, "ends": embed + head},
        linear_weights=layers * 12 * d * d,
        other_weights=other,
        activations=activations,
    )


@dataclass(frozen=True)
class _Stream:
    """Multiply-accumulates of filter and trailing means, and of the embedding; numbers held; numbers moved."""

    frontend: int
    embed: int
    constants: int
    activations: int


def _of_stream(m: Modality, n_tokens: int, d_model: int) -> _Stream:
    patches = n_tokens + m.norm_patches - 1
    samples = m.channels * patches * m.patch_samples
    filtered = m.filter_taps > 1
    means = 2 * m.channels * n_tokens * patches if _ZSCORE in m.views else 0
    return _Stream(
        frontend=(m.filter_taps * samples if filtered else 0) + means,
        embed=n_tokens * m.token_inputs * d_model,
        constants=(m.filter_taps if filtered else 0) + m.channels * (n_tokens * patches + 2),
        activations=n_tokens * (m.token_inputs + d_model) + (2 * samples + m.filter_taps - 1 if filtered else 0),
    )


def shares(p50_ms: float, precision: str, work: Work, ceilings: Ceilings) -> dict[str, float]:
    """How near an arm comes to what this machine can do: metric to share (1 is the ceiling).

    The share of the arithmetic ceiling takes all products as of the arm's own precision, though attention and the ends
    stay in fp32: the true share is a little higher for int8. Bandwidth has two ceilings: main memory, and the cache
    that the model's weights fit into, from which they come when windows follow each other closely.
    """
    seconds, moved = p50_ms / 1e3, work.moved_bytes(precision)
    rate = ceilings.int8_gops if precision == "int8" else ceilings.fp32_gflops
    return {
        f"share_of_{precision}_ceiling": 2 * work.macs / seconds / (1e9 * rate),
        "share_of_bandwidth_ceiling": moved / seconds / (1e9 * ceilings.memory_gb_s),
        "share_of_cache_bandwidth_ceiling": moved / seconds / (1e9 * ceilings.cache_gb_s),
    }
