"""Arms of the arrhythmia table without a network: fitted on training records, they predict beats of test records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.arms import Prediction
from physioedge.evaluation.beat_draws import beat_weights, usable
from physioedge.evaluation.beat_features import beat_features
from physioedge.evaluation.beat_minirocket import fit_rocket
from physioedge.tasks.arrhythmia import LABELS, BeatRecord
from physioedge.tasks.sampling import DrawConfig
from physioedge_runtime.bundle.contract import WindowSpec
from physioedge_runtime.errors import MissingExtra

_TREES: dict[str, Any] = {
    "max_iter": 200,
    "learning_rate": 0.1,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "max_features": 0.3,  # each split sees its own part of the features: what a seed changes
    "early_stopping": False,
}
_LEAST_PROBABILITY = 1e-6
Judge = Callable[[BeatRecord], NDArray[np.float64]]
"""A record to log-probabilities (beat, class) of its beats with a full window, as if all classes were as frequent."""


def opponent_predictions(
    arm: str, train: list[BeatRecord], test: list[BeatRecord], draw: DrawConfig, cut: WindowSpec, fs_hz: float, *,
    seed: int,
) -> list[Prediction]:  # fmt: skip
    """Fit ``classical`` or ``minirocket`` on `train` and predict every beat of `test` with a full window.

    Scores are log-probabilities of even classes, so that a log prior added to them makes them those of the prior's
    classes; embeddings are empty.

    Raises
    ------
    MissingExtra
        scikit-learn or aeon is not installed.
    """
    judge = _JUDGES[arm](train, draw, cut, fs_hz, seed)
    out = []
    for record in test:
        kept = record.windows(cut)[1]
        out.append(
            Prediction(
                record=record.name,
                label=record.label[kept],
                time_s=record.anchor[kept] / fs_hz,
                scores=judge(record).astype(np.float32),
                embedding=np.zeros((len(kept), 0), np.float32),
            )
        )
    return out


def _trees(train: list[BeatRecord], draw: DrawConfig, cut: WindowSpec, fs_hz: float, seed: int) -> Judge:
    """Gradient-boosted trees on `beat_features`; classes weigh the same, records within them as they are drawn."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise MissingExtra("no scikit-learn", "the extra 'rivals'", "pip install 'physioedge[rivals]'") from error

    def table(record: BeatRecord, beats: NDArray[np.int64]) -> NDArray[np.float32]:
        columns = beat_features(record, fs_hz, cut.lookahead_samples)
        return np.stack([column[beats] for column in columns.values()], axis=1).astype(np.float32)

    found = [usable(record, cut) for record in train]
    x = np.concatenate([table(record, beats) for record, beats in zip(train, found, strict=True)])
    label = np.concatenate([record.label[beats] for record, beats in zip(train, found, strict=True)])
    row = np.repeat(np.arange(len(train)), [len(beats) for beats in found])
    weight = beat_weights(label, row, (1.0,) * len(LABELS), draw.record_power)
    model = HistGradientBoostingClassifier(**_TREES, random_state=seed).fit(x, label, sample_weight=weight)

    def judge(record: BeatRecord) -> NDArray[np.float64]:
        beats = record.windows(cut)[1]
        probability = np.zeros((len(beats), len(LABELS)))
        if len(beats):
            probability[:, model.classes_] = model.predict_proba(table(record, beats))
        return np.asarray(np.log(np.maximum(probability, _LEAST_PROBABILITY)))

    return judge


def _rocket(train: list[BeatRecord], draw: DrawConfig, cut: WindowSpec, fs_hz: float, seed: int) -> Judge:
    fitted = fit_rocket(train, draw, cut, fs_hz, seed)
    return lambda record: fitted.log_probability(record.windows(cut)[0])


_JUDGES: dict[str, Callable[[list[BeatRecord], DrawConfig, WindowSpec, float, int], Judge]] = {
    "classical": _trees,
    "minirocket": _rocket,
}
