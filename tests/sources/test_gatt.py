"""Bytes of heart-rate straps, as the two specifications lay them out."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strap_frames import acc_frame, ecg_frame

from physioedge.sources import gatt
from physioedge_runtime.errors import RecordError, SourceError


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("0048", gatt.HeartRate(bpm=72, contact=None, energy_kj=None, rr_s=())),
        ("104800040b04", gatt.HeartRate(bpm=72, contact=None, energy_kj=None, rr_s=(1.0, 1035 / 1024))),
        ("1648000c", gatt.HeartRate(bpm=72, contact=True, energy_kj=None, rr_s=(3.0,))),
        ("0448", gatt.HeartRate(bpm=72, contact=False, energy_kj=None, rr_s=())),
        ("19 2c01 0a00 0002", gatt.HeartRate(bpm=300, contact=None, energy_kj=10, rr_s=(0.5,))),
    ],
)
def test_heart_rates(frame, expected):
    assert gatt.parse_heart_rate(bytes.fromhex(frame)) == expected


@pytest.mark.parametrize("frame", ["", "00", "01 48", "0848", "10480004ff", "00480004"])
def test_heart_rates_that_end_early_or_go_on(frame):
    with pytest.raises(RecordError, match="for a heart rate"):
        gatt.parse_heart_rate(bytes.fromhex(frame))


def test_polar_ecg():
    frame = gatt.parse_polar(ecg_frame(700_000_000_250_000_000, [-117, 0, 8388607, -8388608]))
    assert (frame.kind, frame.t_last_s) == ("ecg", 700_000_000.25 + 946_684_800)
    np.testing.assert_array_equal(frame.samples, np.array([[-117, 0, 8388607, -8388608]], np.float32))


def test_polar_motion():
    frame = gatt.parse_polar(acc_frame(0, [(1000, -500, 0), (-1, 2, 3)]))
    assert frame.kind == "acc"
    np.testing.assert_allclose(frame.samples, [[1.0, -0.001], [-0.5, 0.002], [0.0, 0.003]], rtol=1e-6)


def test_what_is_written_to_start_a_measurement():
    assert gatt.polar_start("ecg", 130).hex(" ") == "02 00 00 01 82 00 01 01 0e 00"
    assert gatt.polar_start("acc", 200).hex(" ") == "02 02 00 01 c8 00 01 01 10 00 02 01 08 00"


def test_refusals_of_the_control_point():
    gatt.check_polar_reply(bytes.fromhex("f002000000"))
    gatt.check_polar_reply(bytes.fromhex("f002000600"))  # already running, after a loss
    with pytest.raises(SourceError, match="refuses to start \\(MTU too small\\)"):
        gatt.check_polar_reply(bytes.fromhex("f002000a"))
    with pytest.raises(SourceError, match="error 99"):
        gatt.check_polar_reply(bytes.fromhex("f0020063"))


@given(st.binary(max_size=60))
def test_any_bytes(data):
    with contextlib.suppress(RecordError):
        assert all(0 <= rr_s < 64 for rr_s in gatt.parse_heart_rate(data).rr_s)
    with contextlib.suppress(RecordError):
        assert np.isfinite(gatt.parse_polar(data).samples).all()
