"""Whatever a file holds, reading it gives a recording or one of our errors, and nothing else."""

from __future__ import annotations

import contextlib

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from physioedge.signals.read import read_recording
from physioedge.signals.wfdb import cut_wfdb
from physioedge_runtime.errors import SignalError

ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
CELLS = st.sampled_from(
    ["0", "1.5", "-2", "nan", "1e400", "1e39", "", "x", "0.01", "0.02", "time_s", "#", "fs_hz:", ";"]
)
TABLES = st.lists(st.lists(CELLS, max_size=3).map(",".join), max_size=6).map("\n".join)


def read(path, **stated):
    with contextlib.suppress(SignalError):
        recording = read_recording(path, **stated)
        assert recording.samples.size > 0
        assert np.isfinite(recording.samples).all()


@ONE_FOLDER
@given(st.one_of(st.binary(max_size=80), TABLES.map(str.encode)))
@example(b"\xef\xbb\xbfMLII\n1\n")
def test_text_files(tmp_path, data):
    (tmp_path / "f.csv").write_bytes(data)
    read(tmp_path / "f.csv", fs_hz=100, units="mV")


@ONE_FOLDER
@given(st.data())
def test_damaged_archives(tmp_path, data):
    path = tmp_path / "f.npz"
    np.savez(path, samples=np.ones((1, 9), np.float32), fs_hz=100.0, units="mV", channels=np.array(["a"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    read(path)


@ONE_FOLDER
@given(st.data())
def test_damaged_wfdb_records(tmp_path, sample_records, data):
    if not (tmp_path / "r.hea").exists():
        cut_wfdb(sample_records / "100", tmp_path / "r", start=0, stop=2000)
        for name in ("hea", "dat", "atr"):
            (tmp_path / f"r.{name}").rename(tmp_path / f"whole.{name}")
    damaged = data.draw(st.sampled_from(["hea", "dat", "atr"]))
    for name in ("hea", "dat", "atr"):
        content = bytearray((tmp_path / f"whole.{name}").read_bytes())
        if name == damaged:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            content = content[: data.draw(st.integers(0, len(content)))]
        (tmp_path / f"r.{name}").write_bytes(content)
    read(tmp_path / "r.hea")
