from __future__ import annotations

import numpy as np
import pytest

from physioedge.evaluation.beats import BeatScore, fibrillation, match, pooled, score
from physioedge.signals.recording import Annotations


def at(*samples: int) -> np.ndarray:
    return np.array(samples, np.int64)


def test_each_beat_is_matched_once_and_with_the_closest() -> None:
    assert match(at(100, 110), at(108), 15).tolist() == [1]
    assert match(at(100), at(90, 101), 15).tolist() == [-1, 0]
    assert match(at(85, 300), at(100, 200), 15).tolist() == [0, -1]
    assert match(at(84), at(100), 15).tolist() == [-1]
    assert match(at(), at(5), 15).tolist() == [-1]


def test_counts_hits_misses_and_extras() -> None:
    result = score(at(100, 250, 500), at(103, 400, 498), 100.0)
    assert (result.true_positives, result.false_negatives, result.false_positives) == (2, 1, 1)
    assert result.sensitivity == result.precision == pytest.approx(2 / 3)


def test_the_tolerance_is_150_ms() -> None:
    assert score(at(115), at(100), 100.0).true_positives == 1
    assert score(at(116), at(100), 100.0).true_positives == 0


def test_flutter_is_left_out_and_said() -> None:
    result = score(at(100, 250, 300), at(100, 260, 350), 100.0, [(200, 320)])
    assert result == BeatScore(true_positives=1, false_negatives=1, false_positives=0, excluded_s=1.2)


def test_pools_counts_not_shares() -> None:
    parts = [score(at(1), at(1), 100.0), score(at(), at(1, 100, 200), 100.0)]
    assert pooled(parts).sensitivity == 0.25
    assert np.isnan(pooled([]).sensitivity)


def test_finds_flutter_even_without_an_end() -> None:
    notes = Annotations(sample=at(5, 9, 20, 30), symbol=("[", "]", "N", "["), note=("",) * 4)
    assert fibrillation(notes, 100) == [(5, 9), (30, 99)]
