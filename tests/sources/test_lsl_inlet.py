"""A real outlet on this machine, through liblsl and back."""

from __future__ import annotations

import itertools
import threading
import time
import uuid

import numpy as np
import pytest

from physioedge.sources.lsl_inlet import LslSource, lsl_library
from physioedge.sources.protocol import Told
from physioedge_runtime.errors import ChannelMismatch, MissingExtra, SampleRateMismatch, SourceError, UnitMismatch
from tiny_bundle import tiny_sensor

try:
    lsl = lsl_library()
except MissingExtra as error:
    pytest.skip(f"liblsl does not load here: {error}", allow_module_level=True)

ECG = [tiny_sensor()]


class Outlet:
    """A stream of a ramp, pushed in the pace of its rate (or another), until closed."""

    def __init__(self, fs_hz=250.0, *, paced_hz=None, units="millivolts", labels=("I", "II"), kind=None, gap_at=None):
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        info = lsl.StreamInfo(self.name, "ECG", len(labels), fs_hz, kind or lsl.cf_float32, self.name)
        if units is not None:
            info.set_channel_labels(list(labels))
            info.set_channel_units([units] * len(labels))
        self.outlet, self.n = lsl.StreamOutlet(info), len(labels)
        self.paced_hz, self.gap_at, self.stop = paced_hz or fs_hz, gap_at, threading.Event()
        self.thread = threading.Thread(target=self.feed, daemon=True)

    def feed(self):
        self.outlet.wait_for_consumers(10)
        began = lsl.local_clock()
        for first in itertools.count(0, 10):
            # times are the sensor's, so that a busy machine does not look like another rate
            late_s = 3.0 if self.gap_at is not None and first >= self.gap_at else 0.0
            rows = [[float(i)] * self.n for i in range(first, first + 10)]
            self.outlet.push_chunk(rows, began + (first + 9) / self.paced_hz + late_s)
            if self.stop.wait(0.002):
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        self.thread.join()
        del self.outlet


def take(source, seconds):
    chunks = []
    with source:
        for chunk in source.chunks():
            chunks.append(chunk)
            if chunk.until_s >= seconds:
                return chunks
    raise AssertionError("the stream ended")


def test_samples_times_and_what_the_stream_says():
    with Outlet() as outlet:
        source = LslSource(outlet.name, ECG, Told(channels=("II",)))
        assert source.sensors["ecg"].describe() == f"lsl:{outlet.name}: II [mV] at 250 Hz, live"
        chunks = take(source, 3.0)
    joined = np.concatenate([c.samples[0] for c in chunks])
    np.testing.assert_array_equal(np.diff(joined), 1.0)
    assert abs(chunks[0].t_s - lsl.local_clock()) < 60
    starts = np.array([c.t_s for c in chunks])
    expected = starts[0] + np.cumsum([0, *[c.samples.shape[1] for c in chunks[:-1]]]) / 250
    np.testing.assert_allclose(starts, expected, atol=0.005)


def test_a_gap_cuts_the_chunks():
    with Outlet(gap_at=500) as outlet:
        chunks = take(LslSource(f"name={outlet.name}", ECG, Told()), 6.0)
    ends = [c.t_s + c.samples.shape[1] / 250 for c in chunks]
    gaps = [later.t_s - end for end, later in zip(ends, chunks[1:], strict=False)]
    assert max(gaps) == pytest.approx(3.0, abs=0.05) and sum(gap > 0.05 for gap in gaps) == 1


def test_a_rate_that_is_not_what_the_stream_says():
    with Outlet(256.0, paced_hz=250.0) as outlet:
        source = LslSource(outlet.name, ECG, Told())
        with pytest.raises(SampleRateMismatch, match="by their times; expected 256 Hz"):
            take(source, 60.0)


@pytest.mark.parametrize(
    ("outlet", "told", "error", "words"),
    [
        ({"fs_hz": 0.0, "paced_hz": 100.0}, Told(), SampleRateMismatch, "no sampling rate"),
        ({"units": None}, Told(), ChannelMismatch, "2 channels without labels"),
        ({"units": None}, Told(channels=("a", "b")), UnitMismatch, "no unit"),
        ({}, Told(units="uV"), UnitMismatch, "mV by itself; expected uV"),
        ({}, Told(fs_hz=125), SampleRateMismatch, "250 Hz by itself; expected 125 Hz"),
        ({}, Told(channels=("V9",)), ChannelMismatch, "expected one of I, II"),
    ],
)
def test_streams_that_say_too_little(outlet, told, error, words):
    made = Outlet(**outlet)
    with pytest.raises(error, match=words):
        LslSource(f"source_id={made.name}", ECG, told)


def test_what_is_told_fills_what_the_stream_does_not_say():
    made = Outlet(units=None)
    source = LslSource(made.name, ECG, Told(channels=("b", "a"), units="mV"))
    assert (source.sensors["ecg"].channels, source.sensors["ecg"].units) == (("b", "a"), "mV")


def test_markers_are_no_signal():
    made = Outlet(0.0, kind=lsl.cf_string, labels=("m",), paced_hz=1.0)
    with pytest.raises(ChannelMismatch, match="channels of text"):
        LslSource(made.name, ECG, Told(fs_hz=1))


def test_no_such_stream_and_one_that_falls_silent():
    with pytest.raises(SourceError, match=r"no LSL stream with name 'nobody' in 0\.5 s"):
        LslSource("nobody", ECG, Told(), find_s=0.5)
    made = Outlet()
    source = LslSource(made.name, ECG, Told(), patience_s=0.4)
    began = time.monotonic()
    with source, pytest.raises(SourceError, match="silent for"):
        next(source.chunks())
    assert time.monotonic() - began < 30
