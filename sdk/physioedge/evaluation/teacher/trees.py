"""An ensemble of gradient-boosted trees that labels the beats of a short recording, and says which it is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.wearers import Wearer, first_lead, random_wearer, second_lead, worn
from physioedge.evaluation.beat_draws import beat_weights
from physioedge.evaluation.teacher.features import piece_features, pieces
from physioedge.tasks.arrhythmia import LABELS, BeatRecord
from physioedge_runtime.errors import MissingExtra

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TeacherFit:
    """How a teacher is fitted; chosen by hand, before anything it labelled was used.

    Attributes
    ----------
    members : int
        Of the ensemble.
    normal_share : float
        Share of the normal beats that a member learns from: nine in ten beats are normal.
    class_share : tuple of float
        Weight of each class.
    record_power : float
        See `physioedge.tasks.sampling.DrawConfig`.
    prior : tuple of float
        Class frequencies that answers are for.
    prior_share : float
        How far answers go from `class_share` to `prior`.
    sure : float
        Probability from which on a label counts.
    """

    members: int = 3
    normal_share: float = 0.2
    class_share: tuple[float, ...] = (0.5, 0.2, 0.3)
    record_power: float = 0.5
    prior: tuple[float, ...] = (0.9, 0.02, 0.08)
    prior_share: float = 0.5
    sure: float = 0.9
    iterations: int = 120


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A fitted ensemble."""

    members: tuple[Any, ...]
    config: TeacherFit
    fs_hz: float

    def probability(self, piece: BeatRecord) -> Floats:
        """Of every class (beat, class) for the beats of a piece."""
        x = piece_features(piece, self.fs_hz)
        found = np.mean([member.predict_proba(x) for member in self.members], axis=0)
        scale = np.array(self.config.prior) / np.array(self.config.class_share)
        found = found * scale**self.config.prior_share
        return np.asarray(found / found.sum(1, keepdims=True))

    def labels(self, probability: Floats, unsure: int) -> NDArray[np.int64]:
        """Classes (beat,); `unsure` where no class has the probability that a label takes."""
        return np.asarray(np.where(probability.max(1) >= self.config.sure, probability.argmax(1), unsure), np.int64)


Table = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Features (beat, feature) and labels (beat,)."""


def wearers_of(record: BeatRecord, fs_hz: float) -> tuple[Wearer, ...]:
    """As whom a record is learned from: its leads, and one random mixture."""
    return (first_lead(), second_lead(), random_wearer(np.random.default_rng((int(record.name), 5)), fs_hz))


def table_of(record: BeatRecord, wearer: Wearer, fs_hz: float) -> Table:
    """What is learned from one wearer of a record."""
    found = [(piece_features(piece, fs_hz), piece.label) for piece in pieces(worn(record, wearer), fs_hz)]
    return np.concatenate([x for x, _ in found]), np.concatenate([label for _, label in found])


def fit_teacher(tables: Sequence[Table], config: TeacherFit, fs_hz: float, *, seed: int) -> Teacher:
    """An ensemble of tables, one a wearer.

    Raises
    ------
    MissingExtra
        scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise MissingExtra("no scikit-learn", "the extra 'rivals'", "pip install 'physioedge[rivals]'") from error
    x, label = (np.concatenate([table[part] for table in tables]) for part in (0, 1))
    row = np.repeat(np.arange(len(tables)), [len(table[1]) for table in tables])
    members = []
    for member in range(config.members):
        rng = np.random.default_rng((seed, member))
        kept = (label < len(LABELS)) & ((label > 0) | (rng.random(len(label)) < config.normal_share))
        weight = beat_weights(label[kept], row[kept], config.class_share, config.record_power)
        trees = HistGradientBoostingClassifier(
            max_iter=config.iterations, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=20,
            l2_regularization=1.0, max_features=0.3, early_stopping=False, random_state=seed * 1000 + member,
        )  # fmt: skip
        members.append(trees.fit(x[kept], label[kept], sample_weight=weight))
    return Teacher(members=tuple(members), config=config, fs_hz=fs_hz)
