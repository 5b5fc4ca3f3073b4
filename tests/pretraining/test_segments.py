"""Random segments: determined by the generator alone, and cut from the recordings."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.pretraining.segments import Pool, draw, mitbih_pool
from tiny_training import write_mitbih


def pool() -> Pool:
    rng = np.random.default_rng(0)
    return Pool([rng.standard_normal((2, n)).astype(np.float32) for n in (400, 300)], ("a", "b"))


def test_the_same_generator_gives_the_same_segments():
    first, second = (draw(pool(), 6, 100, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, draw(pool(), 6, 100, np.random.default_rng(5)))
    assert first.shape == (6, 1, 100) and first.dtype == np.float32


def test_segments_are_unit_mixtures_of_the_leads():
    """Up to 0.01 of noise, every segment is w0 x0 + w1 x1 of one place, with |w| = 1; half of them one lead alone."""
    signal = pool().signals[0].astype(float)
    alone = pool()
    segments = draw(Pool(alone.signals[:1], ("a",)), 80, 100, np.random.default_rng(0))[:, 0]
    weights = []
    for segment in segments:
        fits = [np.linalg.lstsq(signal[:, s : s + 100].T, segment, rcond=None) for s in range(300)]
        best = min(fits, key=lambda found: found[1][0])
        assert best[1][0] < 100 * 0.02**2
        weights.append(best[0])
    weights = np.array(weights)
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 1.0, atol=0.02)
    single = np.abs(weights).max(1) > 0.99
    assert 0.4 < single.mean() < 0.75
    assert 0.1 < (weights[single].sum(1) < 0).mean() < 0.4  # a quarter upside down


def test_the_pool_holds_both_leads_at_the_canonical_rate(tmp_path):
    write_mitbih(tmp_path, ("101", "202"), duration_s=10.0)
    found = mitbih_pool(("101", "202"), 125.0, tmp_path)
    assert found.subjects == ("mitbih:101", "mitbih:201")
    assert [s.shape for s in found.signals] == [(2, 1250), (2, 1250)]
    lead, other = found.signals[0]
    assert lead.max() == pytest.approx(1.2, abs=0.15) and np.corrcoef(lead, other)[0, 1] < -0.99
