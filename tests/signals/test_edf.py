"""EDF, EDF+ and BDF: rates, units, gaps, and files that are damaged."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edf_writer import SECONDS, discontinuous, waves, write
from physioedge.signals import edf
from physioedge.signals.read import read_recording
from physioedge_runtime.errors import RecordError, SampleRateMismatch, SignalError, UnitMismatch


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
@pytest.mark.parametrize("plus", [True, False])
def test_signals_keep_their_rates_and_units(tmp_path, suffix, plus):
    """A data record of two seconds is where readers get the rate wrong."""
    path = write(tmp_path / f"r{suffix}", plus=plus)
    subject, lanes = edf.read_lanes(path)
    assert subject == "P07"
    assert [(lane.name, lane.fs_hz, lane.units) for lane in lanes] == [
        ("ECG", 250.0, "mV"), ("V5", 250.0, "mV"), ("Resp", 25.0, "")
    ]  # fmt: skip
    ((t0_s, samples),) = lanes[0].pieces
    assert t0_s == 0.0 and samples.dtype == np.float32
    np.testing.assert_allclose(samples, waves(250), atol=1e-4)


def test_one_recording_of_signals_that_belong_together(tmp_path):
    path = write(tmp_path / "r.edf")
    recording = read_recording(path, channels=["V5", "ECG"])
    assert (recording.fs_hz, recording.units, recording.channels) == (250.0, "mV", ("V5", "ECG"))
    assert recording.subject == "P07" and recording.duration_s == SECONDS
    np.testing.assert_allclose(recording.samples[0], -recording.samples[1], atol=1e-4)
    with pytest.raises(SampleRateMismatch, match=r"25, 250 Hz \(mixed rates\).*Resp \[no unit, 25 Hz\]"):
        read_recording(path)
    with pytest.raises(UnitMismatch, match="no unit"):
        read_recording(path, channels=["Resp"])
    assert read_recording(path, channels=["Resp"], units="a.u.").units == "a.u."
    with pytest.raises(SampleRateMismatch, match="250 Hz in the file; expected 128 Hz"):
        read_recording(path, channels=["ECG"], fs_hz=128)


def test_gaps_of_discontinuous_files(tmp_path):
    path = discontinuous(write(tmp_path / "r.edf"), late_s=30)
    _, lanes = edf.read_lanes(path)
    times = [[t0_s for t0_s, _ in lane.pieces] for lane in lanes]
    assert times == [[0.0, 36.0]] * 3
    assert [len(samples) for _, samples in lanes[2].pieces] == [150, 150]
    with pytest.raises(RecordError, match="2 pieces with gaps between"):
        read_recording(path, channels=["ECG"])


def test_times_that_run_back(tmp_path):
    path = write(tmp_path / "r.edf")
    data = bytearray(path.read_bytes())
    data[192:197] = b"EDF+D"
    at = data.index(b"+6\x14\x14")
    data[at : at + 2] = b"+1"
    path.write_bytes(data)
    with pytest.raises(RecordError, match="data record 4 begins at 1 s, before"):
        edf.read_lanes(path)


def test_cut_off_files(tmp_path):
    path = write(tmp_path / "r.edf")
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(RecordError, match="damaged"):
        edf.read_lanes(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=120)
@given(st.data())
def test_damaged_files(tmp_path, data):
    """Whatever happens to the bytes, there is a recording or one of our errors."""
    whole = tmp_path / "whole.edf"
    if not whole.exists():
        discontinuous(write(whole), late_s=30)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 1500))] = data.draw(st.sampled_from([0, 32, 45, 46, 48, 57, 255]))
    (tmp_path / "r.edf").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(SignalError):
        _, lanes = edf.read_lanes(tmp_path / "r.edf")
        assert all(np.isfinite(samples).all() for lane in lanes for _, samples in lane.pieces)
