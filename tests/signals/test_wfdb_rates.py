"""WFDB records whose signals have several rates, against the reference package."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.signals.read import read_recording
from physioedge.signals.wfdb import read_digital, read_lanes, read_wfdb
from physioedge_runtime.errors import SampleRateMismatch

FRAMES = 500


@pytest.fixture
def record(tmp_path):
    """ECG at 500 Hz twice and a pulse wave at 125 Hz, in one file of 16-bit numbers, frame after frame."""
    rng = np.random.default_rng(5)
    ecg = rng.integers(-900, 900, (2, 4 * FRAMES), dtype=np.int16)
    ppg = rng.integers(-900, 900, (1, FRAMES), dtype=np.int16)
    parts = [ecg[0].reshape(FRAMES, 4), ecg[1].reshape(FRAMES, 4), ppg[0].reshape(FRAMES, 1)]
    (tmp_path / "m.dat").write_bytes(np.concatenate(parts, axis=1).astype("<i2").tobytes())
    lines = [f"m 3 125 {FRAMES}"]
    for name, unit, form, row in (("II", "mV", "16x4", ecg[0]), ("V", "mV", "16x4", ecg[1]), ("P", "NU", "16", ppg[0])):
        total = (int(row.astype(int).sum()) + 0x8000) % 0x10000 - 0x8000
        lines.append(f"m.dat {form} 200(0)/{unit} 16 0 {row[0]} {total} 0 {name}")
    (tmp_path / "m.hea").write_text("\n".join(lines) + "\n")
    return tmp_path / "m"


def test_mixed_rates_are_refused_unless_told(record):
    with pytest.raises(
        SampleRateMismatch, match=r"125, 500 Hz \(mixed rates\).*II \[mV, 500 Hz\], V .*P \[NU, 125 Hz\]"
    ):
        read_wfdb(record)
    with pytest.raises(SampleRateMismatch, match="mixed rates"):
        read_digital(record)
    ecg, pulse = read_recording(record, channels=["V", "II"]), read_recording(record, channels=["P"])
    assert (ecg.fs_hz, ecg.units, ecg.channels, ecg.duration_s) == (500.0, "mV", ("V", "II"), 4.0)
    assert (pulse.fs_hz, pulse.units, pulse.duration_s) == (125.0, "NU", 4.0)


def test_every_signal_is_the_reference_s(record):
    wfdb = pytest.importorskip("wfdb")
    reference = wfdb.rdrecord(str(record), smooth_frames=False)
    _, lanes = read_lanes(record)
    for lane, expected in zip(lanes, reference.e_p_signal, strict=True):
        np.testing.assert_allclose(lane.pieces[0][1], expected, rtol=1e-6)


def test_a_lost_frame_and_a_flipped_bit_are_seen(record):
    data = record.with_name("m.dat").read_bytes()
    record.with_name("m.dat").write_bytes(data[:-18])
    with pytest.raises(Exception, match="500 as the header says"):
        read_wfdb(record, channels=["P"])
    record.with_name("m.dat").write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(Exception, match="II starts with"):
        read_wfdb(record, channels=["P"])
