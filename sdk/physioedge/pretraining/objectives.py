"""Self-supervised objectives: the next patch for the causal backbone, masked patches for its bidirectional twin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physioedge.models.backbone import Backbone
from physioedge.models.frontend import Frontend


class Predictions(nn.Module):
    """One linear layer a kind of sensor, from token features to what the token is asked for."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        d = backbone.config.d_model
        self.by_kind = nn.ModuleDict({m.kind: nn.Linear(d, m.token_inputs) for m in backbone.config.modalities})

    def forward(self, kind: str, features: Tensor) -> Tensor:
        """Predicted patches (batch, token, token_inputs)."""
        out: Tensor = self.by_kind[kind](features)
        return out


class NextPatch(nn.Module):
    """Predict every next patch of every stream, on the scales known at the token before it.

    Source: the autoregressive objective of GPT-2 (Radford et al. 2019, section 2) on real-valued patches, as in
    PhysioPFM's backbone; Huber loss because electrode artefacts are outliers.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.predict = Predictions(backbone)

    def forward(
        self, backbone: Backbone, signals: tuple[Tensor, ...], generator: torch.Generator
    ) -> list[tuple[str, Tensor]]:
        """Kind and mean loss of every stream of raw samples, one (batch, channel, input_samples) a sensor."""
        del generator  # nothing random: every token is a target
        inputs, targets = [], []
        for front, x in zip(backbone.frontends, backbone.per_stream(signals), strict=True):
            assert isinstance(front, Frontend)
            found = front.statistics(x)
            inputs.append(front.seen(found.raw, found.mean, found.inverse_std, len(x)))
            mean, inverse_std = (None if s is None else s[:, :-1] for s in (found.mean, found.inverse_std))
            targets.append(front.seen(found.raw[:, 1:], mean, inverse_std, len(x)))
        features = _features(backbone, _embedded(backbone, inputs))
        return [
            (one.kind, nn.functional.smooth_l1_loss(self.predict(one.kind, part[:, :-1]), target))
            for one, part, target in zip(backbone.streams, features, targets, strict=True)
        ]


class MaskedPatch(nn.Module):
    """Reconstruct patches hidden behind a learned token.

    Source: masked modelling as in BERT (Devlin et al. 2019, section 3.1) on real-valued patches, in runs of three so
    that neighbours do not give the answer away.
    """

    def __init__(self, backbone: Backbone, *, share: float = 0.4, run: int = 3) -> None:
        super().__init__()
        self.share, self.run = share, run
        self.predict = Predictions(backbone)
        self.hidden = nn.ParameterDict(
            {m.kind: nn.Parameter(torch.zeros(backbone.config.d_model)) for m in backbone.config.modalities}
        )

    def forward(
        self, backbone: Backbone, signals: tuple[Tensor, ...], generator: torch.Generator
    ) -> list[tuple[str, Tensor]]:
        """Kind and mean loss over hidden patches of every stream."""
        inputs = backbone.patches(signals)
        masks = [self._mask(p.shape[0], p.shape[1], generator) for p in inputs]
        embedded = [
            torch.where(mask[..., None], self.hidden[one.kind], _embedded_one(backbone, one.kind, p))
            for one, p, mask in zip(backbone.streams, inputs, masks, strict=True)
        ]
        features = _features(backbone, torch.cat(embedded, dim=1))
        return [
            (one.kind, nn.functional.smooth_l1_loss(self.predict(one.kind, part)[mask], p[mask]))
            for one, part, p, mask in zip(backbone.streams, features, inputs, masks, strict=True)
        ]

    def _mask(self, rows: int, tokens: int, generator: torch.Generator) -> Tensor:
        starts = torch.rand((rows, tokens), generator=generator) < self.share / self.run
        masked = starts.clone()
        for shift in range(1, self.run):
            masked[:, shift:] |= starts[:, :-shift]
        masked[:, -1] |= ~masked.any(1)  # every row hides something
        return masked


def _embedded(backbone: Backbone, inputs: list[Tensor]) -> Tensor:
    """The embedded sequence, in bfloat16 products."""
    with torch.autocast("cpu", torch.bfloat16):
        return backbone.embedded(inputs)


def _embedded_one(backbone: Backbone, kind: str, patches: Tensor) -> Tensor:
    """Embedded patches of one stream in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        out: Tensor = backbone.embed[kind](patches)
    return out.float()


def _features(backbone: Backbone, embedded: Tensor) -> tuple[Tensor, ...]:
    """Token features of every stream in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        features = backbone.transformed(embedded)
    return torch.split(features.float(), [one.n_tokens for one in backbone.streams], dim=1)
