"""The arms of the arrhythmia table: each fits a network on training records and predicts test records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.adapters.global_adapter import (
    HEAD_SEED,
    FitConfig,
    fit_global,
    fit_network,
    new_classifier,
    scores_of,
)
from physioedge.models.backbone import Backbone
from physioedge.models.cnn import SmallCnn
from physioedge.tasks.arrhythmia import LABELS, BeatRecord
from physioedge_runtime.errors import EvaluationRefused

ARMS = ("global", "probe", "full", "cnn", "bidirectional")
_BATCH = 256
_PROBE_LEARNING_RATE = 1e-2


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of the beats of one record.

    Attributes
    ----------
    record : str
    label : int64 (beat,)
        Truth, index into ``ALL_CLASSES``.
    time_s : float64 (beat,)
        Time of the R peak.
    scores : float32 (beat, class)
        Without the log prior.
    embedding : float32 (beat, dim)
    """

    record: str
    label: NDArray[np.int64]
    time_s: NDArray[np.float64]
    scores: NDArray[np.float32]
    embedding: NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """A fitted arm: raw windows to (scores, embedding), and its head for shifted embeddings."""

    predict: Callable[[Tensor], tuple[Tensor, Tensor]]
    head: Any
    module: Any


def fit_arm(
    arm: str, backbone: Backbone, records: list[BeatRecord], config: FitConfig, *, seed: int, checkpoint: Path
) -> Fitted:
    """Fit one arm on `records`; for ``bidirectional`` pass the twin backbone."""
    torch.manual_seed(seed)
    label = f"{arm}, seed {seed}"
    if arm in ("global", "bidirectional"):
        wrapped = fit_global(backbone, records, config, seed=seed, checkpoint=checkpoint)
        model = wrapped.base_model.model
        return Fitted(lambda x: _embed(model, x), model.head, wrapped)
    if arm == "cnn":
        cnn = SmallCnn(backbone.config, len(LABELS), seed=HEAD_SEED)

        def cnn_scores(x: Tensor) -> Tensor:
            scores: Tensor = cnn.head.scores(cnn.embed(x))
            return scores

        fit_network(cnn, cnn_scores, records, backbone.config, config, learning_rate=1e-3, seed=seed, label=label,
                    checkpoint=checkpoint)  # fmt: skip
        cnn.eval()
        return Fitted(lambda x: (cnn.head.scores(e := cnn.embed(x)), e), cnn.head, cnn)
    model = new_classifier(backbone)
    if arm == "probe":
        model.backbone.requires_grad_(False)
    rate = _PROBE_LEARNING_RATE if arm == "probe" else config.full_learning_rate
    fit_network(model, lambda x: scores_of(model, x), records, backbone.config, config, learning_rate=rate, seed=seed,
                label=label, checkpoint=checkpoint)  # fmt: skip
    return Fitted(lambda x: _embed(model, x), model.head, model)


def _embed(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and embedding with the blocks in bfloat16, as in the fit; shipped graphs are evaluated as they are."""
    patches = model.backbone.frontend(x)
    with torch.autocast("cpu", torch.bfloat16):
        tokens = model.backbone.tokens(patches)
    pooled = tokens[:, -model.backbone.config.pool_tokens :].float().mean(1)
    return model.head.scores(pooled), pooled


def predict(fitted: Fitted, records: list[BeatRecord], backbone_config: Any) -> list[Prediction]:
    """Predictions for every beat with a full window."""
    out = []
    for record in records:
        windows, kept = record.windows(backbone_config)
        scores, embeddings = [], []
        with torch.no_grad():
            for start in range(0, len(windows), _BATCH):
                s, e = fitted.predict(torch.from_numpy(windows[start : start + _BATCH]))
                scores.append(s.numpy())
                embeddings.append(e.numpy())
        out.append(
            Prediction(
                record=record.name,
                label=record.label[kept],
                time_s=record.anchor[kept] / backbone_config.fs_hz,
                scores=np.concatenate(scores),
                embedding=np.concatenate(embeddings),
            )
        )
    return out


def refuse_overlap(seen: tuple[str, ...], test: tuple[str, ...]) -> None:
    """Refuse to test on subjects the weights have seen.

    Raises
    ------
    EvaluationRefused
        A test subject is among the training subjects.
    """
    both = sorted(set(seen) & set(test))
    if both:
        raise EvaluationRefused(
            f"test subjects the weights were trained on: {', '.join(both)}",
            "disjoint subjects",
            "Leave these subjects out of the test, or train without them.",
        )


def save_predictions(path: Path, predictions: list[Prediction], head: Any, extra: dict[str, Any]) -> None:
    """Predictions of one arm and seed in one npz file, with the head that turns embeddings into scores."""
    arrays: dict[str, Any] = {
        "weight": head.projection.weight.detach().numpy(),
        "bias": head.projection.bias.detach().numpy(),
        "prototypes": head.prototypes.numpy(),
        **{k: np.asarray(v) for k, v in extra.items()},
    }
    for p in predictions:
        arrays |= {f"{p.record}/label": p.label, f"{p.record}/time_s": p.time_s}
        arrays |= {f"{p.record}/scores": p.scores, f"{p.record}/embedding": p.embedding.astype(np.float16)}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(path)


def load_predictions(path: Path) -> tuple[list[Prediction], dict[str, NDArray[Any]]]:
    """Inverse of `save_predictions`."""
    with np.load(path, allow_pickle=False) as file:
        values = {key: file[key] for key in file.files}
    names = sorted({key.split("/")[0] for key in values if "/" in key})
    predictions = [
        Prediction(
            record=name,
            label=values[f"{name}/label"],
            time_s=values[f"{name}/time_s"],
            scores=values[f"{name}/scores"],
            embedding=values[f"{name}/embedding"].astype(np.float32),
        )
        for name in names
    ]
    return predictions, {key: value for key, value in values.items() if "/" not in key}
