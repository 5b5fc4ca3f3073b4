"""What the page is fed with: every sample once, in order, over passes and gaps; a live source as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from physioedge.signals.recording import Recording
from physioedge.sources.protocol import Chunk, SensorInfo
from physioedge.view.board import KEPT_S, Board
from physioedge.view.feed import Live, Replay
from physioedge.view.pace import SLIP_S, Pace
from physioedge_runtime.errors import SourceError


def made(fs_hz: float, n: int, *, t0_s: float = 0.0, rows: int = 1, name: str = "r") -> Recording:
    samples = np.arange(rows * n, dtype=np.float32).reshape(rows, n)
    channels = tuple(f"c{i}" for i in range(rows))
    return Recording(
        samples=samples, fs_hz=fs_hz, units="mV", channels=channels, name=name, subject="s", t0_s=t0_s
    )  # fmt: skip


def all_of(feed: Replay, steps: list[float]) -> dict[str, np.ndarray]:
    out: dict[str, list[np.ndarray]] = {}
    for at in steps:
        for piece in feed.take(at):
            out.setdefault(piece.sensor, []).append(piece.chunk)
    return {name: np.concatenate(parts, axis=1) for name, parts in out.items()}


@pytest.mark.parametrize("steps", [[100.0], [0.0, 0.3, 0.3, 1.7, 9.99, 10.0], list(np.linspace(0, 10, 97))])
def test_every_sample_comes_once_whatever_the_steps(steps):
    recording = made(250.0, 2500, rows=2)
    feed = Replay({"ecg": [recording]})
    got = all_of(feed, steps)
    assert np.array_equal(got["ecg"], recording.samples) and feed.ended and feed.take(1e6) == []


def test_nothing_comes_before_it_exists():
    feed = Replay({"ecg": [made(100.0, 1000)]})
    assert sum(piece.chunk.shape[1] for piece in feed.take(2.345)) == 234
    assert not feed.ended and feed.take(2.345) == []


def test_again_and_again_without_a_seam():
    recording = made(100.0, 150)
    feed = Replay({"ecg": [recording]}, loop=True)
    pieces = [piece for at in (0.7, 1.6, 4.0, 7.5) for piece in feed.take(at)]
    assert np.array_equal(np.concatenate([p.chunk[0] for p in pieces]), np.tile(recording.samples[0], 5))
    ends = [p.start_s + p.chunk.shape[1] / 100.0 for p in pieces]
    assert np.allclose([p.start_s for p in pieces[1:]], ends[:-1]) and not feed.ended
    assert all(p.t_s is None for p in pieces)  # one piece: samples count, and the stream sees no jump


def test_sensors_keep_their_times_over_passes():
    tracks = {"ppg": [made(64.0, 640, t0_s=5.0)], "acc": [made(32.0, 320, t0_s=5.0, rows=3)]}
    feed = Replay(tracks, loop=True)
    assert feed.origin_s == 5.0
    pieces = [piece for at in np.arange(0.5, 25.0, 0.5) for piece in feed.take(at)]
    for name, fs_hz in (("ppg", 64.0), ("acc", 32.0)):
        mine = [p for p in pieces if p.sensor == name]
        assert all(abs(p.t_s - 5.0 - p.start_s) < 1e-9 for p in mine)
        follow = [(a.start_s + a.chunk.shape[1] / fs_hz, b.start_s) for a, b in pairwise(mine)]
        assert np.allclose(*zip(*follow, strict=True))
    assert [p.sensor for p in feed.take(25.0)] == ["acc", "ppg"]  # the leading one last


def test_a_gap_stays_a_gap():
    feed = Replay({"ecg": [made(100.0, 100), made(100.0, 100, t0_s=4.0)]})
    pieces = [piece for at in (1.0, 3.0, 5.0) for piece in feed.take(at)]
    assert [(p.start_s, p.t_s, p.chunk.shape[1]) for p in pieces] == [(0.0, 0.0, 100), (4.0, 4.0, 100)]
    assert feed.sensors["ecg"].gaps[0].end_s == 4.0


class Given:
    """A live source of two chunks, that then ends or fails."""

    live = True

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.sensors = {"ecg": SensorInfo(name="ecg", fs_hz=100.0, units="mV", channels=("c",), origin="made up")}

    def chunks(self) -> Iterator[Chunk]:
        for i in range(2):
            jitter_s = 0.01 * i
            yield Chunk("ecg", np.full((1, 50), i, np.float32), 1000.0 + 0.5 * i - jitter_s, 0.5 * (i + 1))
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [(None, None), (SourceError("a strap that is gone", "one", "Put it on."), "strap"), (RuntimeError("boom"), "boom")],
)
def test_a_live_source_comes_as_it_comes_and_says_why_it_ends(error, said):
    feed = Live(Given(error))
    pieces = []
    for _ in range(200):
        pieces += feed.take(0.0)
        if feed.ended:
            break
        time.sleep(0.01)
    assert [(p.start_s, p.t_s) for p in pieces] == [(0.0, 1000.0), (0.5, 1000.49)] and feed.origin_s == 1000.0
    assert feed.ended and (feed.error is None if said is None else said in str(feed.error))
    feed.close()


def test_the_pace_is_the_wall_times_the_speed():
    now = [0.0]
    pace = Pace(2.0, lambda: now[0])
    now[0] = 3.0
    assert pace.due_s == 6.0
    pace.set_speed(10.0)
    now[0] = 4.0
    assert pace.due_s == 16.0
    pace.hold()
    now[0] = 9.0
    assert pace.due_s == 16.0
    pace.go()
    now[0] = 10.0
    assert pace.due_s == 26.0
    assert not pace.reached(26.0 - 10 * SLIP_S) and pace.reached(15.0) and pace.due_s == 15.0


def test_who_comes_later_is_told_the_last_minute():
    board = Board({"title": "t"})
    for at in range(200):
        board.post({"state": {"at_s": at}, "signal": [at]}, at_s=float(at))
    assert len(board._past) == KEPT_S + 1 and board._state == {"at_s": 199}
