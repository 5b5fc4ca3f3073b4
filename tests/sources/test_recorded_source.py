"""Recordings as a source: order, gaps, pace, and what is told beforehand."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from physioedge.signals.recording import Recording
from physioedge.sources.protocol import Gap, Told, describe
from physioedge.sources.recorded import RecordedSource
from physioedge_runtime.errors import ShapeError


def piece(n, fs_hz=100.0, t0_s=0.0, channels=("a",), **changes):
    samples = np.arange(n * len(channels), dtype=np.float32).reshape(len(channels), n)
    parts = {"samples": samples, "fs_hz": fs_hz, "units": "mV", "channels": channels, "name": "r", "subject": "s"}
    return Recording(**{**parts, "t0_s": t0_s, **changes})


def test_one_piece_comes_whole_and_without_times():
    source = RecordedSource({"ecg": (piece(1050),)})
    chunks = list(source.chunks())
    assert {chunk.t_s for chunk in chunks} == {None} and len(chunks) == 42
    np.testing.assert_array_equal(np.concatenate([c.samples for c in chunks], axis=1), piece(1050).samples)
    assert chunks[-1].until_s == pytest.approx(10.5)
    assert describe(source.sensors) == ["r: a [mV] at 100 Hz, 10.5 s (1050 samples), subject s"]


def test_gaps_are_told_and_show_in_the_times():
    track = (piece(300), piece(200, t0_s=30_000.0), piece(100, t0_s=30_010.0))
    source = RecordedSource({"ecg": track}, chunk_s=1.0)
    info = source.sensors["ecg"]
    assert info.gaps == (Gap(3.0, 30_000.0), Gap(30_002.0, 30_010.0)) and info.duration_s == 6.0
    assert info.describe().endswith("subject s, 2 gaps of 30005.0 s in all")
    assert [chunk.t_s for chunk in source.chunks()] == [0.0, 1.0, 2.0, 30_000.0, 30_001.0, 30_010.0]


def test_missing_samples_are_counted():
    held = piece(100)
    held.samples[0, 7:12] = np.nan
    assert RecordedSource({"ecg": (held,)}).sensors["ecg"].describe().endswith("5 samples missing")


def test_several_sensors_in_the_order_of_time_the_leading_one_last():
    tracks = {"ppg": (piece(640, 64.0, 100.0),), "acc": (piece(300, 32.0, 100.5, ("x", "y", "z")),)}
    chunks = list(RecordedSource(tracks, chunk_s=1.0).chunks())
    assert [chunk.sensor for chunk in chunks[:4]] == ["acc", "ppg", "acc", "ppg"]
    assert [chunk.t_s for chunk in chunks[:4]] == [100.5, 100.0, 101.0, 101.0]
    assert all(later.until_s >= c.until_s - 1.0 for c, later in pairwise(chunks))
    assert sum(chunk.samples.shape[1] for chunk in chunks if chunk.sensor == "acc") == 300


def test_limits_and_what_is_left_of_nothing():
    source = RecordedSource({"ecg": (piece(300), piece(200, t0_s=10.0))}, limit_s=11.0)
    assert source.sensors["ecg"].duration_s == 4.0
    with pytest.raises(ShapeError, match=r"no samples of r in the first 0\.001 s"):
        RecordedSource({"ecg": (piece(300),)}, limit_s=0.001)


def test_a_speed_is_kept():
    began = time.perf_counter()
    assert len(list(RecordedSource({"ecg": (piece(100),)}, speed=5.0).chunks())) == 4
    assert time.perf_counter() - began > 0.19


def test_what_is_said_of_one_sensor_is_not_said_of_several():
    told = Told(fs_hz=250, units="uV", channels=("a",), sensors={"ecg": ("b",)})
    assert told.of("ecg", alone=False) == Told(channels=("b",))
    assert told.of("ppg", alone=False) == Told()
    assert told.of("ppg", alone=True) == Told(fs_hz=250, units="uV", channels=("a",))
