"""Storage formats and annotation fields of WFDB, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physioedge.signals.wfdb.annotations import (
    RawAnnotation,
    decode_annotations,
    encode_annotations,
    read_annotations,
)
from physioedge.signals.wfdb.formats import INVALID, bytes_needed, checksum, decode, encode_212
from physioedge.signals.wfdb.header import format_header, parse_header
from physioedge_runtime.errors import RecordError

RANGE = {212: 1 << 11, 16: 1 << 15, 61: 1 << 15, 160: 1 << 15, 80: 1 << 7, 24: 1 << 23, 32: 1 << 31}


@given(hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(-2048, 2047)))
def test_format_212_round_trip(samples):
    data = encode_212(samples)
    assert len(data) == bytes_needed(212, samples.size)
    np.testing.assert_array_equal(decode(data, 212, samples.size), samples)


def test_format_212_by_hand():
    # signal(5): the first sample's low byte, both high nibbles, the second sample's low byte
    np.testing.assert_array_equal(decode(bytes([0xE3, 0x33, 0xF3]), 212, 2), [995, 1011])
    np.testing.assert_array_equal(decode(bytes([0xFF, 0x8F, 0x00]), 212, 2), [-1, -2048])
    with pytest.raises(RecordError, match="12-bit"):
        encode_212(np.array([2048]))


def test_the_other_formats_by_hand():
    expected = [-2, 3]
    encoded = {
        16: b"\xfe\xff\x03\x00",
        61: b"\xff\xfe\x00\x03",
        160: b"\xfe\x7f\x03\x80",
        80: b"\x7e\x83",
        24: b"\xfe\xff\xff\x03\x00\x00",
        32: b"\xfe\xff\xff\xff\x03\x00\x00\x00",
    }
    assert set(encoded) | {212} == set(INVALID)
    for fmt, data in encoded.items():
        np.testing.assert_array_equal(decode(data, fmt, 2), expected, err_msg=f"format {fmt}")
        assert INVALID[fmt] == -RANGE[fmt]


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # of the reference library
@pytest.mark.parametrize("fmt", [16, 24, 32, 80, 212])
def test_formats_equal_the_wfdb_package(tmp_path, fmt):
    wfdb = pytest.importorskip("wfdb", reason="the wfdb package is in the train extra")
    from physioedge.signals.wfdb import read_wfdb

    top = RANGE[fmt] - 1
    digital = np.random.default_rng(fmt).integers(-top, top, (501, 2))
    wfdb.wrsamp(
        "w", fs=250, units=["mV", "mV"], sig_name=["I", "II"], d_signal=digital, fmt=[str(fmt)] * 2,
        adc_gain=[200.0, 100.0], baseline=[3, -4], write_dir=str(tmp_path),
    )  # fmt: skip
    ours = read_wfdb(tmp_path / "w")
    theirs = wfdb.rdrecord(str(tmp_path / "w")).p_signal.T
    np.testing.assert_allclose(ours.samples, theirs.astype(np.float32), rtol=1e-6)
    assert ours.channels == ("I", "II")


def test_checksum_wraps_to_16_signed_bits():
    assert checksum(np.array([32767, 1])) == -32768
    assert checksum(np.array([-32768, -1])) == 32767


annotations = st.builds(
    RawAnnotation,
    sample=st.integers(0, 5_000_000),
    code=st.integers(1, 49),
    subtype=st.integers(-128, 127),
    channel=st.integers(0, 255),
    number=st.integers(-128, 127),
    note=st.binary(max_size=21),
)


@given(st.lists(annotations, max_size=20).map(lambda items: sorted(items, key=lambda a: a.sample)))
def test_annotation_round_trip(items):
    assert decode_annotations(encode_annotations(items), "test") == items


@given(st.binary(max_size=60))
def test_any_bytes_give_annotations_or_one_error(data):
    try:
        decode_annotations(data, "test")
    except RecordError as error:
        assert str(error).startswith("test: ")


def test_annotation_fields_by_hand():
    # N 18 samples in; then SKIP over 70000, A with SUB 2, CHN 1, NUM 7 and AUX "(B"; then V 5 later, CHN and NUM stay
    word = lambda code, value: (code << 10 | value).to_bytes(2, "little")  # noqa: E731
    data = b"".join([
        word(1, 18),
        word(59, 0), (70000 >> 16).to_bytes(2, "little"), (70000 & 0xFFFF).to_bytes(2, "little"),
        word(8, 2), word(61, 2), word(62, 1), word(60, 7), word(63, 3), b"(B\0\0",
        word(5, 5), word(0, 0),
    ])  # fmt: skip
    assert decode_annotations(data, "test") == [
        RawAnnotation(sample=18, code=1),
        RawAnnotation(sample=70020, code=8, subtype=2, channel=1, number=7, note=b"(B\0"),
        RawAnnotation(sample=70025, code=5, channel=1, number=7),
    ]


def test_notes_about_the_file_are_not_annotations(tmp_path):
    def note(text: bytes) -> RawAnnotation:
        return RawAnnotation(sample=0, code=22, note=text)

    beat = RawAnnotation(sample=100, code=5)
    path = tmp_path / "a.atr"
    defined = [note(b"## annotation type definitions"), note(b"42 x mine"), note(b"## end of definitions")]
    path.write_bytes(encode_annotations([note(b"## time resolution: 360"), *defined, beat]))
    found = read_annotations(path, 360.0)
    assert (found.symbol, list(found.sample)) == (("V",), [100])
    with pytest.raises(RecordError, match="counted at 360 Hz"):
        read_annotations(path, 250.0)


HEADER = """# a comment before
r 2 360/72.5(0) 3600 12:00:00 01/02/2003
r.dat 212+4 200.5(-3)/uV 11 1024 7 -9 0 lead one
r.dat 212+4 100
# <age>: 55 <sex>: F
"""


def test_header_fields():
    header = parse_header(HEADER, "test")
    assert (header.name, header.fs_hz, header.n_samples) == ("r", 360.0, 3600)
    assert (header.age, header.sex) == (55, "F")
    one, two = header.signals
    assert (one.gain, one.baseline, one.units, one.byte_offset) == (200.5, -3, "uV", 4)
    assert (one.adc_zero, one.first, one.checksum, one.name) == (1024, 7, -9, "lead one")
    assert (two.gain, two.baseline, two.units, two.first, two.checksum) == (100.0, 0, "mV", None, None)
    again = parse_header(format_header(header), "test")
    assert again.signals[0] == one
    assert (again.fs_hz, again.n_samples, again.comments) == (360.0, 3600, header.comments)


@given(st.text(max_size=80))
def test_any_text_gives_a_header_or_one_error(text):
    try:
        parse_header(f"r 1 360 10\n{text}", "test")
    except RecordError as error:
        assert str(error).startswith("test: ")
