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

_FLOAT_BYTES = 4


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


def work_of(config: BackboneConfig, n_labels: int, head_dim: int = 16) -> Work:
    """Work of a classifier on a backbone of this shape, for one window.

    Parameters
    ----------
    config : BackboneConfig
    n_labels : int
    head_dim : int
        Length of the head's prototypes.
    """
    t, d, h = config.n_tokens, config.d_model, config.n_heads
    hd, patch, layers = d // h, config.patch_samples, config.n_layers
    patches = t + config.norm_patches - 1
    linear = layers * (4 * t * d * d + 2 * t * d * 4 * d)
    attention = layers * (2 * h * t * hd * hd + 2 * h * t * t * hd)
    frontend = config.filter_taps * patches * patch + 2 * t * patches
    ends = t * patch * d + d * head_dim + head_dim * n_labels
    block_tables = 2 * t * hd + h * hd * hd + t * t  # cosine, sine, rotation and mask
    other = layers * (9 * d + 4 * d + block_tables)  # biases 4d + 4d + d, two norms 4d
    other += patch * d + d + 2 * d + d * head_dim + head_dim + head_dim * n_labels + n_labels
    other += config.filter_taps + t * patches
    linears = 4 * (d + d) + (d + 4 * d) + (4 * d + d)  # values in and out for each token
    products = 2 * 2 * d + 2 * (2 * d + h * t)  # rotary of q and k; scores and mixing read both operands
    activations = layers * t * (linears + products) + t * (patch + d) + config.input_samples + patches * patch
    return Work(
        macs_by_part={"linear": linear, "attention": attention, "frontend": frontend, "ends": ends},
        linear_weights=layers * 12 * d * d,
        other_weights=other,
        activations=activations,
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
