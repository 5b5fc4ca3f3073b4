"""NumPy archives: what they must hold, and each way in which they can be wrong."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from physioedge.datasets import mitbih
from physioedge.signals.npz import read_npz, read_npz_session, sensor_names
from physioedge_runtime.errors import ChannelMismatch, RecordError, SampleRateMismatch, UnitMismatch

GOOD = {
    "samples": np.arange(8, dtype=np.float32).reshape(2, 4),
    "fs_hz": np.array(100.0),
    "units": np.array("mV"),
    "channels": np.array(["a", "b"]),
}


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        path = tmp_path / "r.npz"
        np.savez_compressed(path, **arrays)
        return path

    return save


def without(*keys):
    return {key: value for key, value in GOOD.items() if key not in keys}


def test_a_file_that_says_everything(save):
    notes = {"ann_sample": np.array([1, 3]), "ann_symbol": np.array(["N", "V"]), "ann_aux": np.array(["", "(B"])}
    recording = read_npz(save(**GOOD, **notes, name=np.array("night"), subject=np.array("p7")))
    np.testing.assert_array_equal(recording.samples, GOOD["samples"])
    assert (recording.fs_hz, recording.units, recording.channels) == (100.0, "mV", ("a", "b"))
    assert (recording.name, recording.subject) == ("night", "p7")
    assert recording.annotations.symbol == ("N", "V")
    assert recording.annotations.note == ("", "(B")
    np.testing.assert_array_equal(recording.annotations.sample, [1, 3])


def test_whole_numbers_need_gain_and_baseline(save):
    values = {**GOOD, "samples": np.array([[10, 20], [30, 50]], np.int16)}
    with pytest.raises(RecordError, match="without gain and baseline"):
        read_npz(save(**values))
    scaled = read_npz(save(**values, gain=np.array([10.0, 20.0]), baseline=np.array([10, 10])))
    np.testing.assert_allclose(scaled.samples, [[0, 1], [1, 2]])


def test_caller_states_what_the_file_does_not(save):
    path = save(samples=GOOD["samples"])
    with pytest.raises(SampleRateMismatch, match="--fs-hz"):
        read_npz(path, units="mV", channels=["a", "b"])
    with pytest.raises(UnitMismatch, match="--units"):
        read_npz(path, fs_hz=100, channels=["a", "b"])
    with pytest.raises(ChannelMismatch, match="0 channel names for 2 rows"):
        read_npz(path, fs_hz=100, units="mV")
    assert read_npz(path, fs_hz=100, units="mV", channels=["a", "b"]).channels == ("a", "b")


def test_two_statements_must_agree(save):
    with pytest.raises(SampleRateMismatch, match="100 Hz in the file; expected 360 Hz"):
        read_npz(save(**GOOD), fs_hz=360)
    with pytest.raises(UnitMismatch, match="mV in the file; expected uV"):
        read_npz(save(**GOOD), units="uV")


def test_units_by_channel(save):
    path = save(**{**GOOD, "units": np.array(["mV", "mmHg"])})
    with pytest.raises(UnitMismatch, match="mV, mmHg"):
        read_npz(path)
    assert read_npz(path, channels=["b"]).units == "mmHg"


def session(**changes):
    arrays = {f"ppg.{key}": value for key, value in GOOD.items()}
    arrays |= {"acc.samples": np.ones((3, 7), np.int16), "acc.gain": np.full(3, 64.0), "acc.baseline": np.zeros(3)}
    arrays |= {"acc.fs_hz": 31.25, "acc.units": "g", "acc.channels": ["x", "y", "z"], "acc.t0_s": 12.5}
    return {**arrays, "subject": np.array("p7"), "name": np.array("walk"), **changes}


def test_several_sensors_of_one_person(save):
    path = save(**session())
    assert sensor_names(path) == ("ppg", "acc")
    found = read_npz_session(path)
    assert found.subject == "p7" and list(found.recordings) == ["ppg", "acc"]
    ppg, acc = found.recordings.values()
    np.testing.assert_array_equal(ppg.samples, GOOD["samples"])
    assert (ppg.fs_hz, ppg.units, ppg.channels, ppg.t0_s, ppg.name) == (100.0, "mV", ("a", "b"), 0.0, "walk")
    np.testing.assert_array_equal(acc.samples, np.full((3, 7), 1 / 64, np.float32))
    assert (acc.fs_hz, acc.units, acc.channels, acc.t0_s, acc.subject) == (31.25, "g", ("x", "y", "z"), 12.5, "p7")
    assert acc.source == path


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"acc.fs_hz": np.array([1.0, 2.0])}, RecordError, "sensor acc: fs_hz of shape"),
        ({"acc.units": np.array(["g", "mV", "g"])}, UnitMismatch, "sensor acc: units g, mV"),
        ({"acc.channels": np.array(["x"])}, ChannelMismatch, "sensor acc: 1 channel names for 3 rows"),
        ({"acc.t0_s": np.array(np.nan)}, RecordError, "sensor acc: t0_s"),
        ({"ppg.samples": np.array([[np.nan]])}, RecordError, "sensor ppg: nan at sample 0"),
        ({"eda.samples": np.ones((1, 3), np.float32)}, ChannelMismatch, "sensor eda: 0 channel names"),
    ],
)
def test_several_sensors_of_which_one_is_wrong(save, change, kind, message):
    with pytest.raises(kind, match=message):
        read_npz_session(save(**session(**change)))


def test_files_of_one_recording_name_no_sensors(save, tmp_path):
    assert sensor_names(save(**GOOD)) == ()
    with pytest.raises(RecordError, match=r"expected <sensor>\.samples"):
        read_npz_session(save(**GOOD))
    with pytest.raises(RecordError, match="expected an array 'samples'"):
        read_npz(save(**session()))
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    for path in (tmp_path / "no.zip", tmp_path / "absent.npz", tmp_path):
        assert sensor_names(path) == ()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (without("samples"), "expected an array 'samples'"),
        ({**GOOD, "samples": np.zeros(4, np.float32)}, r"shape \(4,\)"),
        ({**GOOD, "samples": np.zeros((2, 0), np.float32)}, r"shape \(2, 0\)"),
        ({**GOOD, "samples": np.array([["1", "2"], ["3", "4"]])}, "type <U1"),
        ({**GOOD, "samples": np.array([[1, 2], [3, np.nan]])}, "nan at sample 1 of channel 1"),
        ({**GOOD, "samples": np.array([[1, 2], [-np.inf, 0]])}, "-inf at sample 0 of channel 1"),
        ({**GOOD, "samples": np.array([[1, 2], [1e300, 0]])}, "inf at sample 0"),
        ({**GOOD, "fs_hz": np.array([100.0, 50.0])}, "expected one number"),
        ({**GOOD, "fs_hz": np.array("100")}, "expected one number"),
        ({**GOOD, "ann_sample": np.array([1]), "ann_symbol": np.array(["N", "V"])}, "as many of each"),
    ],
)
def test_malformed_arrays(save, arrays, message):
    with pytest.raises(RecordError, match=message):
        read_npz(save(**arrays))


def test_nothing_is_unpickled(save):
    with pytest.raises(RecordError, match=r"not a readable \.npz"):
        read_npz(save(**{**GOOD, "channels": np.array(["a", None], object)}))


@pytest.mark.parametrize("kept", [0, 1, 20, 200, -1, -30])
def test_truncated_files(save, kept):
    path = save(**GOOD)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RecordError, match=r"an empty file|not a readable \.npz"):
        read_npz(path)


def test_flipped_bit(save):
    path = save(**GOOD)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("samples.npy")
    data[info.header_offset + 30 + len("samples.npy") + info.compress_size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordError, match=r"not a readable \.npz"):
        read_npz(path)


def test_a_plain_array_is_no_archive(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, GOOD["samples"])
    (tmp_path / "r.npz").write_bytes(buffer.getvalue())
    with pytest.raises(RecordError, match=r"not a readable \.npz"):
        read_npz(tmp_path / "r.npz")


def test_unpacked_size_is_limited(save, monkeypatch):
    monkeypatch.setattr("physioedge.signals.npz.MAX_UNPACKED_BYTES", 10)
    with pytest.raises(RecordError, match="bytes unpacked"):
        read_npz(save(**GOOD))


def test_shipped_excerpt(repository):
    path = repository / "device_runtime/physioedge_runtime/assets/excerpt.npz"
    recording = read_npz(path)
    assert path.stat().st_size < 200_000
    assert (recording.fs_hz, recording.units, recording.channels) == (360.0, "mV", ("MLII",))
    assert recording.subject.removeprefix("mitbih:") in mitbih.DS2
    labels = list(mitbih.beats(recording)[1])
    assert labels.count("V") >= 10
    assert labels.count("S") >= 1


@pytest.mark.data
def test_shipped_excerpt_is_part_of_the_record(repository, mitbih_root):
    excerpt = read_npz(repository / "device_runtime/physioedge_runtime/assets/excerpt.npz")
    whole = mitbih.load("233", mitbih_root).channel("MLII")
    np.testing.assert_array_equal(excerpt.samples, whole.samples[:, 1010 * 360 : 1100 * 360])
