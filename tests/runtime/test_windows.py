from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge_runtime.bundle.contract import WindowSpec
from physioedge_runtime.errors import ShapeError
from physioedge_runtime.signal.windows import Ring, cut_windows

SPEC = WindowSpec(context_samples=3, window_samples=5, lookahead_samples=2, trigger="beat")


def test_the_anchor_has_the_look_ahead_after_it() -> None:
    x = np.arange(20, dtype=np.float32)[None]
    windows, kept = cut_windows(x, np.array([10]), SPEC)
    assert windows.tolist() == [[list(range(5, 13))]]
    assert windows[0, 0, SPEC.anchor_index] == 10
    assert kept.tolist() == [0]


@given(anchors=st.lists(st.integers(-5, 40), max_size=20), n=st.integers(0, 30))
def test_keeps_exactly_the_anchors_with_everything_around_them(anchors: list[int], n: int) -> None:
    x = np.arange(n, dtype=np.float32)[None]
    windows, kept = cut_windows(x, np.array(anchors, np.int64), SPEC)
    assert kept.tolist() == [i for i, a in enumerate(anchors) if a - 5 >= 0 and a + 2 < n]
    assert windows.shape == (len(kept), 1, 8) and windows.dtype == np.float32
    assert windows[:, 0, 5].tolist() == [float(anchors[i]) for i in kept]


def test_refuses_other_shapes() -> None:
    with pytest.raises(ShapeError):
        cut_windows(np.zeros(20, np.float32), np.array([10]), SPEC)
    with pytest.raises(ShapeError):
        cut_windows(np.zeros((2, 20), np.float32), np.array([10]), SPEC)
    with pytest.raises(ShapeError):
        cut_windows(np.zeros((1, 20), np.float32), np.array([[10]]), SPEC)


@given(sizes=st.lists(st.integers(0, 37), max_size=40), capacity=st.integers(1, 16))
def test_ring_gives_back_the_newest_samples_by_index(sizes: list[int], capacity: int) -> None:
    ring, everything = Ring(2, capacity), np.arange(2 * sum(sizes), dtype=np.float32).reshape(2, -1)
    start = 0
    for size in sizes:
        ring.append(everything[:, start : start + size])
        start += size
        oldest = max(0, start - capacity)
        newest = ring.read(oldest, start)
        assert newest is not None and np.array_equal(newest, everything[:, oldest:start])
        assert ring.read(oldest - 1, start) is None
        assert ring.read(oldest, start + 1) is None
        copy = Ring(2, capacity)
        copy.restore(ring.snapshot())
        again = copy.read(oldest, start)
        assert again is not None and np.array_equal(again, newest) and copy.received == start


def test_a_ring_of_several_channels_moves_its_samples_without_a_copy() -> None:
    """Every append of these moves the newest samples to the front, over places they are read from."""
    rng = np.random.default_rng(3)
    signal = rng.standard_normal((3, 40_000)).astype(np.float32)
    ring = Ring(3, 10_000)
    ring.append(signal[:, :10_000])
    ring.append(signal[:, 10_000:19_000])
    tracemalloc.start()
    for start in range(19_000, 40_000, 1_500):  # the first ones fit, later ones move 10,000 samples back by few
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        ring.append(signal[:, start : start + 1_500])
        assert tracemalloc.get_traced_memory()[1] - before < 10_000 * 4, "not even one row is copied"
        part = ring.read(ring.oldest, ring.received)
        assert part is not None
        np.testing.assert_array_equal(part, signal[:, ring.oldest : ring.received])
    tracemalloc.stop()
