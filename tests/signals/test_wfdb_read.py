"""Whole WFDB records: against the reference library, and damaged in every way we know."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from physioedge.datasets import mitbih
from physioedge.signals.wfdb import cut_wfdb, read_digital, read_wfdb
from physioedge_runtime.errors import ChannelMismatch, RecordError, UnitMismatch

# the reference library is behind the pandas it asks for
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

SHARED = ("100", "111", "213", "232")


def reference(record: Path):
    """Samples, annotation samples, symbols and notes as the wfdb package reads them."""
    wfdb = pytest.importorskip("wfdb", reason="the wfdb package is in the train extra")
    signal, notes = wfdb.rdrecord(str(record)), wfdb.rdann(str(record), "atr")
    return (
        signal.p_signal.T.astype(np.float32),
        notes.sample,
        tuple(notes.symbol),
        [n.rstrip("\0") for n in notes.aux_note],
    )


def assert_as_reference(record: Path) -> None:
    signal, sample, symbol, note = reference(record)
    ours = read_wfdb(record)
    np.testing.assert_array_equal(ours.samples, signal)
    np.testing.assert_array_equal(ours.annotations.sample, sample)
    assert ours.annotations.symbol == symbol
    assert list(ours.annotations.note) == note


@pytest.mark.parametrize("name", ["100", "213", "232"])
def test_samples_equal_the_wfdb_package(sample_records, name):
    assert_as_reference(sample_records / name)


@pytest.mark.data
@pytest.mark.parametrize("name", SHARED)
def test_originals_equal_the_wfdb_package_and_the_archives(mitbih_root, name):
    record = mitbih_root / "mitbih" / "wfdb" / name
    if not record.with_name(f"{name}.hea").exists():
        pytest.skip(f"no original {name}.hea in {record.parent}")
    assert_as_reference(record)
    ours, packed = read_wfdb(record), mitbih.load(name, mitbih_root)
    np.testing.assert_allclose(ours.samples, packed.samples, atol=1e-6)
    assert ours.annotations.symbol == packed.annotations.symbol
    assert ours.annotations.note == packed.annotations.note


@pytest.mark.parametrize(
    ("name", "person", "sex", "minimum_s"), [("100", 69, "M", 720), ("213", 61, "M", 720), ("232", 76, "F", 720)]
)
def test_sample_records_are_long_and_say_what_they_are(sample_records, name, person, sex, minimum_s):
    header, _ = read_digital(sample_records / name)
    recording = read_wfdb(sample_records / name)
    assert (header.age, header.sex) == (person, sex)
    assert recording.duration_s >= minimum_s
    assert (recording.fs_hz, recording.units, recording.channels[0]) == (360.0, "mV", "MLII")
    assert len(mitbih.beats(recording)[0]) > 700


def test_channels_are_chosen_by_name_and_in_order(sample_records):
    both = read_wfdb(sample_records / "100")
    swapped = read_wfdb(sample_records / "100", channels=["V5", "MLII"])
    np.testing.assert_array_equal(swapped.samples, both.samples[::-1])
    with pytest.raises(ChannelMismatch, match="one of MLII, V5"):
        read_wfdb(sample_records / "100", channels=["V1"])


def test_cut_keeps_samples_and_annotations(tmp_path, sample_records):
    whole = read_wfdb(sample_records / "213")
    cut_wfdb(sample_records / "213", tmp_path / "part", start=3601, stop=10802)
    part = read_wfdb(tmp_path / "part")
    np.testing.assert_array_equal(part.samples, whole.samples[:, 3601:10802])
    inside = (whole.annotations.sample >= 3601) & (whole.annotations.sample < 10802)
    np.testing.assert_array_equal(part.annotations.sample, whole.annotations.sample[inside] - 3601)
    assert part.annotations.symbol == tuple(np.array(whole.annotations.symbol)[inside])
    assert_as_reference(tmp_path / "part")
    with pytest.raises(RecordError, match="Name another part"):
        cut_wfdb(sample_records / "213", tmp_path / "none", start=5, stop=5)


@pytest.fixture
def record(tmp_path, sample_records) -> Path:
    """A copy of a few seconds, to be damaged."""
    cut_wfdb(sample_records / "100", tmp_path / "r", start=0, stop=3600)
    return tmp_path / "r"


def edit_header(record: Path, old: str, new: str) -> None:
    header = record.with_name("r.hea")
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))


def test_flipped_bit_fails_the_checksum(record):
    data = bytearray(record.with_name("r.dat").read_bytes())
    data[6000] ^= 0x10
    record.with_name("r.dat").write_bytes(data)
    with pytest.raises(RecordError, match=r"checksum .* as the header says"):
        read_wfdb(record)


def test_wrong_first_value(record):
    edit_header(record, " 1024 995 ", " 1024 996 ")
    with pytest.raises(RecordError, match="starts with 995"):
        read_wfdb(record)


@pytest.mark.parametrize("change", [-1, -3, +3, -10800])
def test_wrong_length(record, change):
    data = record.with_name("r.dat").read_bytes()
    record.with_name("r.dat").write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(RecordError, match="3600 as the header says"):
        read_wfdb(record)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("r 2 360 3600", "r 2", "name, number of signals and sampling rate"),
        ("r 2 360 3600", "r/3 2 360 3600", "several segments"),
        ("r 2 360 3600", "r 3 360 3600", "2 signal lines"),
        ("r 2 360 3600", "r 2 fast 3600", "expected numbers"),
        ("r 2 360 3600", "r 2 -360 3600", "a rate and 1 to 1024 signals"),
        ("r.dat 212 ", "r.dat 212x0 ", "samples per frame"),
        ("r.dat 212 ", "r.dat 212:4 ", "skew"),
        ("r.dat 212 ", "r.dat 508 ", "WFDB format 508"),
        ("r.dat 212 200(1024)/mV", "r.dat 212 0(1024)/mV", "uncalibrated"),
        ("r.dat 212 200(1024)/mV", f"r.dat 212 200({10**30})/mV", "32 bits"),
        ("r 2 360 3600", f"r 2 360 {10**30}", f"{10**30} as the header says"),
        ("r.dat 212 200(1024)/mV 11 1024", "r.dat 212 200(1024)/mV 11 x", "whole numbers"),
        ("r.dat 212 ", "../r.dat 212 ", "a file beside the header"),
        ("r.dat 212 ", "s.dat 212 ", "No such file"),
    ],
)
def test_headers_that_are_refused(record, old, new, message):
    edit_header(record, old, new)
    with pytest.raises(RecordError, match=message):
        read_wfdb(record)


@pytest.mark.parametrize("kind", ["3", "212x0", "508"])
def test_refusals_name_the_package_that_converts(record, kind):
    edit_header(record, "r.dat 212 ", f"r.dat {kind} ")
    with pytest.raises(RecordError, match="wfdb package"):
        read_wfdb(record)


def test_several_units_need_a_choice(record):
    header = record.with_name("r.hea")
    lines = header.read_text().splitlines()
    lines[2] = lines[2].replace("/mV", "/mmHg")
    header.write_text("\n".join(lines))
    with pytest.raises(UnitMismatch, match="mV, mmHg"):
        read_wfdb(record)
    assert read_wfdb(record, channels=["V5"]).units == "mmHg"


def test_missing_samples_are_nan(tmp_path):
    values = np.array([5, -32768, 7], "<i2")
    (tmp_path / "n.dat").write_bytes(values.tobytes())
    (tmp_path / "n.hea").write_text(f"n 1 100 3\nn.dat 16 10(5)/mV 16 0 5 {int(values.sum())} 0 ECG\n")
    np.testing.assert_allclose(read_wfdb(tmp_path / "n").samples, np.array([[0.0, np.nan, 0.2]], np.float32))


def test_empty_and_absent_files(record, tmp_path):
    shutil.copy(record.with_name("r.hea"), tmp_path / "kept.hea")
    record.with_name("r.dat").write_bytes(b"")
    with pytest.raises(RecordError, match="0 samples per signal"):
        read_wfdb(record)
    record.with_name("r.hea").write_bytes(b"")
    with pytest.raises(RecordError, match="no record line"):
        read_wfdb(record)
    with pytest.raises(RecordError, match="No such file"):
        read_wfdb(tmp_path / "absent")


def test_damaged_annotations(record):
    atr = record.with_name("r.atr")
    atr.write_bytes(atr.read_bytes()[:-3])
    with pytest.raises(RecordError, match=r"ends without an end mark|runs past the end"):
        read_wfdb(record)
