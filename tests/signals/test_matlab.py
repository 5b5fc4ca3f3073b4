"""MATLAB files: the same names as in archives of NumPy, and MATLAB's own habits."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from physioedge.signals.read import read_recording
from physioedge_runtime.errors import ChannelMismatch, RecordError, SampleRateMismatch, SignalError, UnitMismatch

SAMPLES = np.random.default_rng(0).normal(size=(500, 2))
WHOLE = {"samples": SAMPLES, "fs_hz": 250.0, "units": "mV", "channels": np.array(["MLII", "V5"], dtype=object)}


def save(path, **changes):
    values = {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}
    savemat(path, values, do_compression=True)
    return path


@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES.T])
def test_names_decide_which_axis_the_channels_are(tmp_path, samples):
    recording = read_recording(save(tmp_path / "r.mat", samples=samples))
    assert (recording.fs_hz, recording.units, recording.channels) == (250.0, "mV", ("MLII", "V5"))
    np.testing.assert_array_equal(recording.samples, SAMPLES.T.astype(np.float32))


def test_a_vector_is_one_channel_and_doubles_stored_as_bytes_are_doubles(tmp_path):
    path = save(tmp_path / "r.mat", samples=np.arange(200.0)[:, None], channels="ECG")
    assert read_recording(path).samples.shape == (1, 200)
    assert read_recording(path).channels == ("ECG",)


def test_counts_need_gain_and_baseline(tmp_path):
    counts = np.arange(300, dtype=np.int16)[None]
    with pytest.raises(RecordError, match="gain and baseline"):
        read_recording(save(tmp_path / "r.mat", samples=counts, channels="ECG"))
    path = save(tmp_path / "r.mat", samples=counts, channels="ECG", gain=200.0, baseline=100.0)
    assert read_recording(path).samples[0, 0] == np.float32(-0.5)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"fs_hz": None}, SampleRateMismatch, "no sampling rate"),
        ({"units": None}, UnitMismatch, "no unit"),
        ({"channels": None}, RecordError, "with no channel names"),
        ({"channels": "ECG"}, RecordError, "with 1 channel names"),
        ({"samples": SAMPLES[:2]}, RecordError, r"shape \(2, 2\)"),
        ({"samples": None}, RecordError, "expected an array 'samples'"),
        ({"samples": SAMPLES * np.nan}, RecordError, "expected finite numbers"),
        ({"samples": {"a": 1.0}}, RecordError, "expected an array 'samples'"),
        ({"samples": SAMPLES[:, 0], "channels": None}, ChannelMismatch, "0 channel names"),
        ({"time_s": np.arange(500) / 125}, SampleRateMismatch, "times at 125 Hz; expected 250 Hz"),
        ({"time_s": np.arange(499) / 250}, RecordError, "one finite number a sample"),
        ({"time_s": np.delete(np.arange(501) / 250, 77)}, RecordError, r"time_s\[77\]: a gap of 0.008 s"),
    ],
)
def test_files_that_say_too_little_or_something_odd(tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        read_recording(save(tmp_path / "r.mat", **changes))


def test_the_newer_format_is_named(tmp_path):
    (tmp_path / "r.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(RecordError, match=r"format 7\.3.*'-v7'"):
        read_recording(tmp_path / "r.mat")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=120)
@given(st.data())
def test_damaged_files(tmp_path, data):
    whole = tmp_path / "whole.mat"
    if not whole.exists():
        save(whole)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "r.mat").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(SignalError):
        assert np.isfinite(read_recording(tmp_path / "r.mat").samples).all()
