"""Empatica's Avro files: units, rates, and files that are something else."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avro_writer import START_US, record, sensor, session, write
from physioedge.signals.empatica_avro import read_empatica_avro
from physioedge_runtime.errors import RecordError, SampleRateMismatch, SignalError


def test_sensors_in_their_units(tmp_path):
    found = read_empatica_avro(write(tmp_path / "a.avro", session()))
    assert found.subject == "p-3"
    told = {name: (r.fs_hz, r.units, r.channels, r.samples.shape) for name, r in found.recordings.items()}
    assert told == {
        "ppg": (pytest.approx(63.9996), "a.u.", ("BVP",), (1, 128)),
        "acc": (64.0, "g", ("x", "y", "z"), (3, 64)),
        "eda": (4.0, "uS", ("EDA",), (1, 8)),
        "temp": (1.0, "degC", ("TEMP",), (1, 2)),
    }
    assert found.recordings["acc"].samples[:, 0].tolist() == [1.0, -0.5, 0.0]
    assert {r.t0_s for r in found.recordings.values()} == {START_US / 1e6}


def test_a_sensor_that_recorded_nothing_is_left_out(tmp_path):
    path = write(tmp_path / "a.avro", session(eda=sensor(0.0, values=[])))
    assert list(read_empatica_avro(path).recordings) == ["ppg", "acc", "temp"]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"bvp": sensor(0.0, values=[1.0])}, SampleRateMismatch, "ppg at 0 Hz"),
        ({"eda": sensor(4.0, values=[float("nan")])}, RecordError, "not finite"),
    ],
)
def test_what_cannot_be_known_is_refused(tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        read_empatica_avro(write(tmp_path / "a.avro", session(**changes)))


def test_other_avro_files_and_none(tmp_path):
    other = write(tmp_path / "o.avro", {"a": 1}, schema=record("Other", ("a", "int")))
    with pytest.raises(RecordError, match="expected an Avro file of Empatica"):
        read_empatica_avro(other)
    with pytest.raises(RecordError, match="2 records"):
        read_empatica_avro(write(tmp_path / "t.avro", session(), session()))
    (tmp_path / "x.avro").write_bytes(b"Obj\x01")
    with pytest.raises(RecordError, match="expected an Avro file of Empatica"):
        read_empatica_avro(tmp_path / "x.avro")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.data())
def test_damaged_files(tmp_path, data):
    whole = tmp_path / "whole.avro"
    if not whole.exists():
        write(whole, session())
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.avro").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(SignalError):
        found = read_empatica_avro(tmp_path / "a.avro")
        assert all(np.isfinite(r.samples).all() for r in found.recordings.values())
