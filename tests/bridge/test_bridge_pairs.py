"""Pairs on disk, where a bridge stands, and whether two sensors belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physioedge.bridge.alignment import MAX_LAG_S, activity, alignment, check_alignment
from physioedge.bridge.directions import DIRECTIONS, Fold, direction_of
from physioedge.bridge.pairs import PairStore, Strip, load_store, save_store
from physioedge.bridge.selection import linear_cka, select_positions
from physioedge_runtime.errors import DatasetError, EvaluationRefused, ShapeError

FS_HZ = 64.0


def strip(record: str = "a", n: int = 640) -> Strip:
    rng = np.random.default_rng(5)
    signal = np.cumsum(np.rint(rng.standard_normal((1, n)) * 10), axis=1).astype(np.float32) * np.float32(0.5)
    return Strip(
        record=record,
        subject=f"p{record}",
        signals={"ppg": signal},
        ends={"ppg": np.array([100, 640])},
        targets={"beats": np.array([0, -1])},
        judged=np.array([True, False]),
    )


def test_a_store_comes_back_as_it_went(tmp_path: Path):
    store = PairStore(name="set", strips=(strip("a"), strip("b")))
    save_store(tmp_path / "set.npz", store, {"ppg": 0.5})
    back = load_store(tmp_path / "set.npz")
    assert back.name == "set"
    assert back.subject.tolist() == ["pa", "pa", "pb", "pb"]
    assert back.target("beats").tolist() == [0, -1, 0, -1]
    assert back.judged.tolist() == [True, False, True, False]
    assert np.array_equal(back.windows("ppg", 100), store.windows("ppg", 100))
    assert np.array_equal(back.windows("ppg", 100)[1, 0], store.strips[0].signals["ppg"][0, -100:])


def test_windows_beyond_a_strip_and_signals_beyond_16_bits_are_refused(tmp_path: Path):
    with pytest.raises(ShapeError, match="beyond"):
        strip().windows("ppg", 101)
    with pytest.raises(ShapeError, match="larger steps"):
        save_store(tmp_path / "set.npz", PairStore(name="set", strips=(strip(),)), {"ppg": 1e-4})


def test_a_damaged_store_is_told(tmp_path: Path):
    (tmp_path / "set.npz").write_bytes(b"no archive")
    with pytest.raises(DatasetError, match="store of pairs"):
        load_store(tmp_path / "set.npz")


def test_the_layer_that_tells_the_answers_and_the_one_like_it_are_selected():
    rng = np.random.default_rng(0)
    answer = rng.integers(0, 2, 200)
    said = answer[:, None] + 0.1 * rng.standard_normal((200, 4))
    new = np.stack([rng.standard_normal((200, 4)), said, rng.standard_normal((200, 4))], 1).astype(np.float32)
    old = np.stack([rng.standard_normal((200, 4)), rng.standard_normal((200, 4)), 3 * said], 1).astype(np.float32)
    found = select_positions(new, old, answer, np.repeat(np.arange(10), 20))
    assert (found.positions.new, found.positions.old) == (1, 2)
    assert found.probe[1] > 0.95
    assert found.similarity[2] > 0.9


def test_an_old_model_that_always_says_the_same_is_refused():
    x = np.zeros((20, 2, 3), np.float32)
    with pytest.raises(EvaluationRefused, match="at least two answers"):
        select_positions(x, x, np.zeros(20, np.int64), np.arange(20))


def test_cka_is_one_for_turned_and_scaled_features():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((50, 5)).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0].astype(np.float32)
    assert linear_cka(x, 3 * x @ turn) == pytest.approx(1.0, abs=1e-5)
    assert linear_cka(x, np.zeros_like(x)) == 0.0


def beats(seed: int, delay_s: float = 0.0, n_s: float = 130.0) -> np.ndarray:
    """A pulse train of a heart that is never quite regular."""
    rng = np.random.default_rng(seed)
    at_s = np.cumsum(rng.uniform(0.6, 1.1, 400)) + delay_s
    time_s = np.arange(int(n_s * FS_HZ)) / FS_HZ
    wave = np.exp(-0.5 * ((time_s[:, None] - at_s[None, at_s < n_s]) / 0.05) ** 2).sum(1)
    return (wave + 0.01 * rng.standard_normal(len(wave)))[None].astype(np.float32)


@pytest.mark.parametrize("delay_s", [0.0, 0.25, 3.0, -2.0])
def test_a_lag_is_found(delay_s):
    old, new = activity(beats(1), FS_HZ), activity(beats(1, delay_s), FS_HZ)
    found = alignment([old], [new])
    assert found.lag_s == pytest.approx(delay_s, abs=0.13)
    assert found.by_chance <= 0.01
    if abs(delay_s) <= 1.0:
        check_alignment(found, tolerance_s=1.0)
    else:
        with pytest.raises(DatasetError, match=f"{abs(found.lag_s):.2f} s {'late' if delay_s > 0 else 'early'}"):
            check_alignment(found, tolerance_s=1.0)


def test_sensors_of_two_people_are_refused():
    found = alignment([activity(beats(1), FS_HZ)], [activity(beats(2), FS_HZ)])
    with pytest.raises(DatasetError, match="do not change together"):
        check_alignment(found, tolerance_s=MAX_LAG_S)


def test_too_little_signal_says_nothing():
    short = activity(beats(1, n_s=15.0), FS_HZ)
    with pytest.raises(DatasetError, match="stretches"):
        alignment([short], [short])


def test_nobody_is_judged_who_was_learned_from():
    with pytest.raises(EvaluationRefused, match="pairs of judged people: b"):
        Fold(labelled=("a",), pairs=("b",), test=("b", "c"))


def test_directions_go_by_their_names():
    assert all(direction_of(name).name == name for name in DIRECTIONS)
    with pytest.raises(EvaluationRefused, match="one of lead_to_lead_beats"):
        direction_of("ecg_to_moon")
