from __future__ import annotations

import numpy as np

from physioedge_runtime import faults

X = np.arange(12, dtype=np.float32)[None]


def test_injectors_change_a_copy_and_only_where_they_should() -> None:
    rng = np.random.default_rng(0)
    for out in (
        faults.with_nan(X, 3, 5),
        faults.dropout(X, 3, 5),
        faults.lead_off(X, 3, 5, 50.0, 0.1, rng),
    ):
        assert out.dtype == np.float32
        changed = np.flatnonzero(~np.isclose(out[0], X[0]))
        assert changed.tolist() == [3, 4]
    assert faults.saturated(X, 2, 9)[0].tolist() == [2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]
    assert faults.spike(X, 2, 7.0)[0, 2] == 9
    assert faults.inverted(X)[0, 3] == -3
    assert faults.noisy(X, 0.1, rng).dtype == faults.wandering(X, 10.0, 1.0, 0.3).dtype == np.float32
    assert X[0].tolist() == list(range(12))


def test_chunks_carry_the_time_of_their_first_sample() -> None:
    parts = list(faults.chunks(X, 4.0, [5, 0, 2], t0_s=100.0))
    assert [p.shape[1] for p, _ in parts] == [5, 0, 2, 2, 2, 1]
    assert [t for _, t in parts] == [100.0, 101.25, 101.25, 101.75, 102.25, 102.75]
    assert np.array_equal(np.concatenate([p for p, _ in parts], axis=1), X)


def test_links_lose_repeat_and_reset_clocks() -> None:
    def times(items: object) -> list[float]:
        return [t for _, t in items]  # type: ignore[attr-defined]

    def parts() -> object:
        return faults.chunks(X, 4.0, [4])

    assert times(faults.lost(parts(), [1])) == [0.0, 2.0]  # type: ignore[arg-type]
    assert times(faults.repeated(parts(), [1])) == [0.0, 1.0, 1.0, 2.0]  # type: ignore[arg-type]
    assert times(faults.clock_set(parts(), 1, -60.0)) == [0.0, -59.0, -58.0]  # type: ignore[arg-type]
