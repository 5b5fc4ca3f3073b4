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


def test_what_is_not_measured_is_not_measured_where_it_should_be() -> None:
    out = faults.with_inf(X, 3, 6)[0]
    assert np.isinf(out[3:6]).all() and np.isfinite(out[[2, 6]]).all() and out[3] > 0 > out[4]
    assert faults.held(X, 3, 6)[0].tolist() == [0, 1, 2, 2, 2, 2, 6, 7, 8, 9, 10, 11]
    assert faults.held(X, 0, 2)[0, :3].tolist() == [0, 0, 2]
    assert faults.scaled(X, 1000.0)[0, 3] == 3000.0 and np.isinf(faults.scaled(X + 1, 1e39)).all()


def test_hum_has_its_frequency_or_the_one_it_is_folded_to() -> None:
    quiet = np.zeros((1, 1000), np.float32)
    for fs_hz, found_hz in ((500.0, 50.0), (64.0, 14.0)):
        hum = faults.hummed(quiet, fs_hz, 2.0, 50.0)
        strongest = np.fft.rfftfreq(1000, 1 / fs_hz)[np.abs(np.fft.rfft(hum[0])).argmax()]
        assert abs(strongest - found_hz) < fs_hz / 1000 and 1.8 < hum.max() <= 2.0 and hum.dtype == np.float32


def test_a_movement_is_one_that_two_sensors_share() -> None:
    path = faults.movement(500, 50.0, np.random.default_rng(3))
    assert path.dtype == np.float32 and path[0] == path[-1] == 0.0 and 0.8 < np.sqrt(np.mean(path**2)) < 1.05
    assert np.array_equal(path, faults.movement(500, 50.0, np.random.default_rng(3)))
    spectrum = np.abs(np.fft.rfft(path)) ** 2
    assert spectrum[np.fft.rfftfreq(500, 0.02) < 5.5].sum() > 0.99 * spectrum.sum()
    three = np.zeros((3, 800), np.float32)
    out = faults.moved(three, 400, path, [1.0, 0.0, -2.0])
    assert not out[:, :400].any() and np.array_equal(out[0, 400:], path[:400]) and not out[1].any()
    assert np.array_equal(out[2], -2 * out[0]) and not three.any()
    assert faults.movement(0, 50.0, np.random.default_rng(0)).size == 0


def test_clocks_and_links_do_what_they_are_said_to() -> None:
    def times(items: object) -> list[float]:
        return [round(t, 6) for _, t in items]  # type: ignore[attr-defined]

    def parts(t0_s: float = 0.0) -> object:
        return faults.chunks(X, 4.0, [2], t0_s)

    assert times(faults.reordered(parts(), [1, 5])) == [0.0, 1.0, 0.5, 1.5, 2.0, 2.5]  # type: ignore[arg-type]
    assert times(faults.reordered(parts(), [1, 2])) == [0.0, 1.5, 0.5, 1.0, 2.0, 2.5]  # type: ignore[arg-type]
    assert times(faults.clock_off(parts(9.0), 4, 0.0)) == [9.0, 9.5, 10.0, 10.5, 0.0, 0.5]  # type: ignore[arg-type]
    assert times(faults.suspended(parts(), 2, 2, 60.0)) == [0.0, 0.5, 62.0, 62.5]  # type: ignore[arg-type]
    assert times(faults.suspended(parts(7.0), 2, 2, 60.0, 5.0)) == [7.0, 7.5, 5.0, 5.5]  # type: ignore[arg-type]
    assert times(faults.wrapped(parts(99.0), 100.0)) == [99.0, 99.5, 0.0, 0.5, 1.0, 1.5]  # type: ignore[arg-type]
    assert times(faults.drifting(parts(8.0), 1e5)) == [8.0, 8.55, 9.1, 9.65, 10.2, 10.75]  # type: ignore[arg-type]
    late = np.array(times(faults.jittered(parts(), 0.1, np.random.default_rng(0)))) - 0.5 * np.arange(6)  # type: ignore[arg-type]
    assert 0.01 < np.abs(late).max() <= 0.1
