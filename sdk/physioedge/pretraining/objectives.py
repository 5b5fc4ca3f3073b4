"""Self-supervised objectives: the next patch for the causal backbone, masked patches for its bidirectional twin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physioedge.models.backbone import Backbone


def _body(backbone: Backbone, embedded: Tensor) -> Tensor:
    h = embedded
    for block in backbone.blocks:
        h = block(h)
    out: Tensor = backbone.norm(h)
    return out


class NextPatch(nn.Module):
    """Predict every next patch, in the normalisation known at the token before it.

    Source: the autoregressive objective of GPT-2 (Radford et al. 2019, section 2) on real-valued patches, as in
    PhysioPFM's backbone; Huber loss because electrode artefacts are outliers.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.predict = nn.Linear(backbone.config.d_model, backbone.config.patch_samples)

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Mean loss of raw samples (batch, 1, input_samples)."""
        del generator  # nothing random: every token is a target
        patches, mean, inverse_std = self.backbone.frontend.statistics(x)
        inputs = torch.clamp((patches - mean) * inverse_std, -10.0, 10.0)
        target = torch.clamp((patches[:, 1:] - mean[:, :-1]) * inverse_std[:, :-1], -10.0, 10.0)
        with torch.autocast("cpu", torch.bfloat16):
            features = _body(self.backbone, self.backbone.embed(inputs))[:, :-1]
        return nn.functional.smooth_l1_loss(self.predict(features.float()), target)


class MaskedPatch(nn.Module):
    """Reconstruct patches hidden behind a learned token.

    Source: masked modelling as in BERT (Devlin et al. 2019, section 3.1) on real-valued patches, in runs of three so
    that neighbours do not give the answer away.
    """

    def __init__(self, backbone: Backbone, *, share: float = 0.4, run: int = 3) -> None:
        super().__init__()
        self.backbone, self.share, self.run = backbone, share, run
        self.predict = nn.Linear(backbone.config.d_model, backbone.config.patch_samples)
        self.hidden = nn.Parameter(torch.zeros(backbone.config.d_model))

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Mean loss over hidden patches of raw samples (batch, 1, input_samples)."""
        inputs = self.backbone.frontend(x)
        starts = torch.rand(inputs.shape[:2], generator=generator) < self.share / self.run
        masked = starts.clone()
        for shift in range(1, self.run):
            masked[:, shift:] |= starts[:, :-shift]
        with torch.autocast("cpu", torch.bfloat16):
            embedded = torch.where(masked[..., None], self.hidden, self.backbone.embed(inputs).float())
            features = _body(self.backbone, embedded)
        return nn.functional.smooth_l1_loss(self.predict(features.float())[masked], inputs[masked])
