"""The arms of the arrhythmia table, and those of them that fit a network on training records to predict test records.

The others, `OPPONENTS`, are in `physioedge.evaluation.beat_opponents`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.adapters.beats import HEAD_SEED, BeatFit, beat_draws, fit_beats
from physioedge.adapters.fitting import FULL, GLOBAL, PROBE, fit_module
from physioedge.models.backbone import Backbone
from physioedge.models.cnn import SmallCnn
from physioedge.models.network import Network
from physioedge.tasks.arrhythmia import LABELS, BeatRecord
from physioedge_runtime.bundle.contract import WindowSpec
from physioedge_runtime.errors import EvaluationRefused

OPPONENTS = ("classical", "minirocket")
ARMS = ("global", "probe", "cnn", "full", "bidirectional", *OPPONENTS)
_BATCH = 256
_CNN_LEARNING_RATE = 1e-3
_HOW = {"global": GLOBAL, "bidirectional": GLOBAL, "probe": PROBE, "full": FULL}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What an arm says of the beats of one record.

    Attributes
    ----------
    record : str
    label : int64 (beat,)
        Truth, index into ``ALL_CLASSES``.
    time_s : float64 (beat,)
        Time of the R peak.
    scores : float32 (beat, class)
        Without the log prior: up to a constant, log-probabilities as if all classes were as frequent.
    embedding : float32 (beat, dim)
        Empty, ``dim`` 0, for an arm without a network.
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
    arm: str, backbone: Backbone, records: list[BeatRecord], config: BeatFit, *, seed: int, checkpoint: Path,
    taught: Sequence[BeatRecord] = (),
) -> Fitted:  # fmt: skip
    """Fit one arm on `records`; for ``bidirectional`` pass the twin backbone. Networks see people of a teacher, too."""
    torch.manual_seed(seed)
    if arm == "cnn":
        cnn = SmallCnn(backbone.config, backbone.layout, len(LABELS), seed=HEAD_SEED)
        fit_module(
            cnn, lambda signals: cnn.head.scores(cnn.embed(signals[0])), beat_draws(records, backbone, config), config,
            rate=_CNN_LEARNING_RATE, seed=seed, label=f"cnn, seed {seed}", checkpoint=checkpoint,
        )  # fmt: skip
        cnn.eval()
        return Fitted(lambda x: (cnn.head.scores(e := cnn.embed(x)), e), cnn.head, cnn)
    module = fit_beats(backbone, records, config, _HOW[arm], seed=seed, taught=taught, checkpoint=checkpoint)
    network: Network = module.base_model.model if _HOW[arm] == GLOBAL else module
    return Fitted(lambda x: _answer(network, x), network.head, module)


def _answer(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and embedding with the blocks in bfloat16, as in the fit; shipped graphs are evaluated as they are."""
    embedding = network.quick_embed(x)
    return network.raw(embedding), embedding


def predict(fitted: Fitted, records: list[BeatRecord], cut: WindowSpec, fs_hz: float) -> list[Prediction]:
    """Predictions for every beat with a full window."""
    out = []
    for record in records:
        windows, kept = record.windows(cut)
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
                time_s=record.anchor[kept] / fs_hz,
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


def save_predictions(path: Path, predictions: list[Prediction], head: Any | None, extra: dict[str, Any]) -> None:
    """Predictions of one arm and seed in one npz file, with the head, if any, that turns embeddings into scores."""
    arrays: dict[str, Any] = {k: np.asarray(v) for k, v in extra.items()}
    if head is not None:
        arrays |= {
            "weight": head.projection.weight.detach().numpy(),
            "bias": head.projection.bias.detach().numpy(),
            "prototypes": head.prototypes.numpy(),
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
