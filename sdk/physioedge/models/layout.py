"""What one graph takes: which sensors, how many channels and tokens of each, and when each token ends."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from physioedge.models.config import BackboneConfig
from physioedge.models.modality import Modality
from physioedge_runtime.errors import ShapeError

POSITION_S = 0.2
"""Seconds of one step of the rotary positions: a patch of ECG."""
ROTARY_BASE = 10000.0
_SAME_INSTANT = 1e-6


@dataclass(frozen=True, kw_only=True)
class SensorLayout:
    """One sensor of a graph.

    Attributes
    ----------
    sensor : str
        Name of the input.
    kind : str
        Of `physioedge.models.modality`.
    channels : int
        Rows of the input; a multiple of the modality's. Each share of them is a stream of tokens of its own.
    n_tokens : int
        Tokens of each stream, all fully supported by real past samples.
    pool_tokens : int
        The embedding takes the mean of the last so many tokens of each stream; 0 for all.
    spread : bool
        The embedding takes their deviation from that mean too: how much a long window changes, which the mean of it
        hides.
    """

    sensor: str
    kind: str
    channels: int
    n_tokens: int
    pool_tokens: int = 0
    spread: bool = False

    def streams(self, modality: Modality) -> int:
        """Streams of tokens this sensor gives.

        Raises
        ------
        ShapeError
            The channels cannot be shared out.
        """
        if self.channels % modality.channels or self.channels < 1:
            raise ShapeError(
                f"{self.channels} channels of {self.sensor}", f"a multiple of {modality.channels}", "Pass all of them."
            )
        return self.channels // modality.channels

    def window_samples(self, modality: Modality) -> int:
        """Samples the tokens themselves cover."""
        return self.n_tokens * modality.patch_samples

    def input_samples(self, modality: Modality) -> int:
        """Length of the input: context and window."""
        return modality.context_samples + self.window_samples(modality)

    @property
    def pooled(self) -> int:
        """Tokens of each stream that are averaged."""
        return self.pool_tokens or self.n_tokens

    @property
    def statistics(self) -> int:
        """Numbers of each feature that the embedding holds: the mean, and the deviation where it is asked for."""
        return 2 if self.spread else 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All sensors of a graph, whose windows end at the same instant."""

    sensors: tuple[SensorLayout, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Sensors in the order of the graph's inputs."""
        return tuple(one.sensor for one in self.sensors)

    def streams(self, config: BackboneConfig) -> list[SensorLayout]:
        """One entry a stream of tokens, in order."""
        return [one for one in self.sensors for _ in range(one.streams(config.modality(one.kind)))]

    def embedding_dim(self, config: BackboneConfig) -> int:
        """Length of the embedding: the streams' means, and deviations where asked for, side by side."""
        return config.d_model * sum(one.statistics for one in self.streams(config))

    def n_tokens(self, config: BackboneConfig) -> int:
        """Tokens in the sequence."""
        return sum(one.n_tokens for one in self.streams(config))

    def input_shapes(self, config: BackboneConfig) -> list[tuple[int, int]]:
        """(channel, sample) of every input."""
        return [(one.channels, one.input_samples(config.modality(one.kind))) for one in self.sensors]

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain values for JSON."""
        return [asdict(one) for one in self.sensors]

    @classmethod
    def from_dict(cls, values: list[dict[str, Any]]) -> Layout:
        """Inverse of `to_dict`; an unknown key raises ``TypeError``."""
        return cls(sensors=tuple(SensorLayout(**one) for one in values))


def token_ends(layout: Layout, config: BackboneConfig) -> tuple[Tensor, Tensor]:
    """When each token of the sequence ends, and to which stream it belongs.

    Returns
    -------
    end_s : float64 (token,)
        Seconds before the end of the window, as negative numbers: the last token of every stream ends at 0.
    stream : int64 (token,)
    """
    ends, streams = [], []
    for index, one in enumerate(layout.streams(config)):
        back = torch.arange(one.n_tokens - 1, -1, -1, dtype=torch.float64)
        ends.append(-back * config.modality(one.kind).patch_s)
        streams.append(torch.full((one.n_tokens,), index))
    return torch.cat(ends), torch.cat(streams)


def rotary_tables(end_s: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary positions of tokens that end at `end_s`, each (1, token, head_dim).

    Positions are times, so that a token of one sensor knows how long before one of another it was.

    Source: Su et al., RoFormer (arXiv 2104.09864), equation 34, with halves instead of interleaved pairs.
    """
    position = (end_s - end_s.min()) / POSITION_S
    rates = ROTARY_BASE ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = position[:, None] * rates[None]
    full = torch.cat([angles, angles], dim=1)[None]
    return full.cos().float(), full.sin().float()


def attention_mask(end_s: Tensor, stream: Tensor, window: int, causal: bool) -> Tensor:
    """Additive mask (1, token, token): 0 where a token may look, -1e4 elsewhere.

    A token sees, of every stream, the newest `window` tokens that have ended when it ends.
    """
    n = len(end_s)
    if not causal:
        return torch.zeros(1, n, n)
    ended = end_s[None, :] <= end_s[:, None] + _SAME_INSTANT  # (query, key)
    same = stream[:, None] == stream[None, :]
    # how many tokens of the key's stream that have ended for the query come after the key
    later = (end_s[None, :] > end_s[:, None] + _SAME_INSTANT) & same  # (key, later)
    newer = ended.float() @ later.float().T
    return torch.where(ended & (newer < window), 0.0, -1e4)[None]
