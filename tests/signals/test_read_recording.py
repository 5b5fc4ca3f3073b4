"""The front door: which reader, and what it says about files it cannot read."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.signals.read import read_recording
from physioedge_runtime.errors import RecordError, SampleRateMismatch, UnitMismatch


@pytest.mark.parametrize("name", ["100", "100.hea", "100.dat", "100.atr"])
def test_wfdb_by_any_of_its_names(sample_records, name):
    recording = read_recording(sample_records / name, channels=["MLII"])
    assert (recording.name, recording.channels, recording.fs_hz) == ("100", ("MLII",), 360.0)
    assert recording.annotations is not None


def test_wfdb_states_its_own_rate_and_unit(sample_records):
    assert read_recording(sample_records / "100", fs_hz=360, units="mV").units == "mV"
    with pytest.raises(SampleRateMismatch, match="360 Hz in the file; expected 250 Hz"):
        read_recording(sample_records / "100", fs_hz=250)
    with pytest.raises(UnitMismatch, match="mV in the file; expected uV"):
        read_recording(sample_records / "100", units="uV")


def test_the_same_samples_in_every_format(tmp_path, sample_records):
    whole = read_recording(sample_records / "213")
    samples = whole.samples[:, :1000]
    np.savez(tmp_path / "r.npz", samples=samples, fs_hz=360.0, units="mV", channels=np.array(whole.channels))
    rows = "\n".join(f"{a!r},{b!r}" for a, b in samples.T.astype(float).tolist())
    (tmp_path / "r.csv").write_text(f"# fs_hz: 360\n# units: mV\n{','.join(whole.channels)}\n{rows}\n")
    for name in ("r.npz", "r.csv"):
        recording = read_recording(str(tmp_path / name))
        np.testing.assert_array_equal(recording.samples, samples)
        assert (recording.fs_hz, recording.units, recording.channels) == (360.0, "mV", whole.channels)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.csv", "no such file; expected a WFDB record"),
        ("absent.hea", "No such file"),
        ("folder", "a folder"),
        ("x.gdf", "a file of kind .gdf; expected a WFDB record"),
        ("x", "a file of kind unknown"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.gdf").write_bytes(b"0")
    (tmp_path / "x").write_bytes(b"0")
    with pytest.raises(RecordError, match=message):
        read_recording(tmp_path / name)
