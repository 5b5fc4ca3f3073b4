"""A small convolutional network from scratch: what the backbone has to be better than."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physioedge.models.config import BackboneConfig
from physioedge.models.frontend import Frontend
from physioedge.models.heads import PrototypeHead
from physioedge.models.layout import Layout


class SmallCnn(nn.Module):
    """Four strided convolutions over the normalised window, pooled over the judged beat and over all.

    About 60 000 parameters, on the same frontend and with the same prototype head as the backbone.
    """

    def __init__(
        self, config: BackboneConfig, layout: Layout, n_classes: int, *, width: int = 48, seed: int = 0
    ) -> None:
        super().__init__()
        lead = layout.sensors[0]
        modality = config.modality(lead.kind)
        self.judged = lead.pooled * modality.patch_samples // 16
        self.frontend = Frontend(modality, lead.n_tokens)
        layers: list[nn.Module] = []
        for n_in, n_out, stride in ((1, width, 2), (width, width, 2), (width, width, 2), (width, width, 2)):
            layers += [nn.Conv1d(n_in, n_out, 9, stride=stride, padding=4), nn.BatchNorm1d(n_out), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = PrototypeHead(2 * width, n_classes, seed=seed)

    def embed(self, x: Tensor) -> Tensor:
        """Features of the judged beat beside those of the whole window: (batch, 2 * width)."""
        patches = self.frontend(x)
        features = self.body(patches.reshape(x.shape[0], 1, -1))  # (B, width, window / 16)
        return torch.cat([features[..., -self.judged :].mean(2), features.mean(2)], dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.embed(x)
        return self.head(embedding), embedding
