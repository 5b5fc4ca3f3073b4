"""The corpora of nobody: the same everywhere, of every kind, in the layouts and sizes of the mixture."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from physioedge.models.config import TINY
from physioedge.models.modality import ALL
from physioedge.pretraining import synthetic
from physioedge.pretraining.draws import draw
from physioedge.pretraining.mixture import MIXTURE, WRIST
from physioedge.pretraining.run import pools_of
from physioedge.pretraining.synthetic import CORPORA, GENERIC, corpus, series

RATES = {modality.kind: modality.fs_hz for modality in ALL}


def test_the_seed_decides_and_every_track_has_its_own():
    one, again, other = (corpus(RATES, layout=WRIST, tracks=2, seed=seed) for seed in (1, 1, 2))
    for kind, (samples, t0_s) in one.tracks[0].sensors.items():
        np.testing.assert_array_equal(samples, again.tracks[0].sensors[kind][0])
        assert samples.dtype == np.float32 and t0_s == 0.0
        assert not np.array_equal(samples, other.tracks[0].sensors[kind][0])
        assert not np.array_equal(samples, one.tracks[1].sensors[kind][0])
    assert one.subjects == () and one.datasets == ("synthetic",)
    longer = corpus(RATES, layout=WRIST, tracks=3, seed=1)
    np.testing.assert_array_equal(longer.tracks[1].sensors["ppg"][0], one.tracks[1].sensors["ppg"][0])


@given(st.integers(0, 10_000), st.integers(16, 800))
@example(4101, 16)  # steps times themselves
@example(7242, 32)
def test_series_are_finite_with_unit_deviation(seed, n):
    x = series(n, np.random.default_rng(seed))
    assert x.shape == (n,) and np.isfinite(x).all()
    assert abs(x.mean()) < 1e-6 and x.std() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", sorted(set(synthetic._BANK), key=lambda f: f.__name__), ids=lambda f: f.__name__)
def test_every_kind_of_draw_varies_and_repeats_with_its_seed(kind):
    first, second, other = (kind(400, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (400,) and first.std() > 0 and not np.array_equal(first, other)


def correlation(make, lag, draws=300, n=256):
    """Autocorrelation at a lag over many draws, in place of the sample one of a single draw."""
    x = np.stack([make(n, np.random.default_rng(seed)) for seed in range(draws)])
    return float((x[:, :-lag] * x[:, lag:]).mean() / (x * x).mean())


def test_smooth_and_rough_series_have_the_kernels_they_are_named_for(monkeypatch):
    """At a length scale of 10 samples: exp(-d^2/200), exp(-d/10) and the Matern kernel of order 3/2."""
    monkeypatch.setattr(synthetic, "_span", lambda n, rng: 10.0)
    for lag in (5, 10, 20):
        assert correlation(synthetic._smooth, lag) == pytest.approx(np.exp(-(lag**2) / 200), abs=0.06)

    class Order:
        """A generator that always chooses one order."""

        def __init__(self, order: int, seed: int) -> None:
            self.order, self.standard_normal = order, np.random.default_rng(seed).standard_normal

        def integers(self, _: int) -> int:
            return self.order

    root3 = np.sqrt(3)
    for order, kernel in ((0, lambda d: np.exp(-d)), (1, lambda d: (1 + root3 * d) * np.exp(-root3 * d))):
        x = np.stack([synthetic._rough(256, Order(order, seed)) for seed in range(300)])
        for lag in (5, 10, 20):
            found = (x[:, :-lag] * x[:, lag:]).mean() / (x * x).mean()
            assert found == pytest.approx(kernel(lag / 10), abs=0.08)


def test_periodic_series_come_back(monkeypatch):
    monkeypatch.setattr(synthetic, "_span", lambda n, rng: 25.0)
    x = synthetic._periodic(400, np.random.default_rng(0))
    np.testing.assert_allclose(x[25:], x[:-25], atol=1e-9)
    assert np.abs(x[12:] - x[:-12]).max() > 0.5 * x.std()


def test_the_generic_mixture_has_the_layouts_of_the_real_one():
    assert [(part.name, part.layout, part.rows) for part in GENERIC] == [(p.name, p.layout, p.rows) for p in MIXTURE]
    assert {name for part in GENERIC for name in part.pools} == set(CORPORA)


def test_pools_of_the_generic_mixture_give_segments_of_every_sensor(monkeypatch):
    monkeypatch.setattr(
        "physioedge.pretraining.run.CORPORA",
        {name: partial(loader.func, layout=loader.keywords["layout"], tracks=12) for name, loader in CORPORA.items()},
    )
    for part, pool in zip(GENERIC, pools_of(GENERIC, TINY, None), strict=True):
        signals = draw(pool, part.layout, TINY, 24, np.random.default_rng(0))
        for x, shape, one in zip(signals, part.layout.input_shapes(TINY), part.layout.sensors, strict=True):
            assert x.shape == (24, *shape) and np.isfinite(x).all()
            modality = TINY.modality(one.kind)
            middle = np.median(x, axis=(0, 2))  # on the fixed scale of the modality
            assert (np.abs(middle - modality.centre) < 2.5 * np.array(modality.scale)).all()
            assert (x.std(2) > 0).mean() > 0.8


def test_sensors_of_a_track_share_something():
    """Slow means of PPG and skin correlate over tracks more often than those of two different tracks."""
    tracks = corpus(RATES, layout=WRIST, tracks=60, seed=0).tracks

    def slow(index, kind):
        x = tracks[index].sensors[kind][0][0]
        return x[: len(x) // 80 * 80].reshape(80, -1).mean(1)

    own = np.array([abs(np.corrcoef(slow(i, "eda"), slow(i, "temp"))[0, 1]) for i in range(60)])
    foreign = np.array([abs(np.corrcoef(slow(i, "eda"), slow((i + 1) % 60, "temp"))[0, 1]) for i in range(60)])
    assert own.mean() > foreign.mean() + 0.05
