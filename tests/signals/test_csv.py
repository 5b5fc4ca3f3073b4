"""Text files: what they must say, and each way in which they can be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.signals.csv import read_csv
from physioedge_runtime.errors import ChannelMismatch, RecordError, SampleRateMismatch, UnitMismatch

HEAD = "# fs_hz: 100\n# units: mV\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "r.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def timed(times, head=HEAD):
    return head + "time_s,a\n" + "".join(f"{t:.6f},{i}\n" for i, t in enumerate(times))


def test_a_file_that_says_everything(write):
    path = write(HEAD + "# subject: p7\n# name: night\n# recorded at home\ntime_s,a,b\n5.00,1,-1.5\n5.01,2,2e-1\n\n")
    recording = read_csv(path)
    np.testing.assert_array_equal(recording.samples, np.array([[1, 2], [-1.5, 0.2]], np.float32))
    assert (recording.fs_hz, recording.units, recording.channels) == (100.0, "mV", ("a", "b"))
    assert (recording.name, recording.subject, recording.t0_s) == ("night", "p7", 5.0)
    assert recording.samples.flags.c_contiguous


@pytest.mark.parametrize("text", ["1\n2\n3\n", "1;2\n2;3\n", "1\t4\n2\t5\n"])
def test_a_file_without_names_needs_them_stated(write, text):
    path = write(text)
    with pytest.raises(ChannelMismatch, match="a name for each column"):
        read_csv(path, fs_hz=100, units="mV")


def test_caller_states_everything(write):
    recording = read_csv(write("1;4\n2;5\n3;6\n"), fs_hz=125.0, units="a.u.", channels=["x", "y"])
    np.testing.assert_array_equal(recording.samples, [[1, 2, 3], [4, 5, 6]])
    assert (recording.fs_hz, recording.units, recording.channels) == (125.0, "a.u.", ("x", "y"))


def test_channels_are_picked_in_order(write):
    path = write(HEAD + "a,b,c\n1,2,3\n4,5,6\n")
    np.testing.assert_array_equal(read_csv(path, channels=["c", "a"]).samples, [[3, 6], [1, 4]])
    with pytest.raises(ChannelMismatch, match="one of a, b, c"):
        read_csv(path, channels=["d"])
    with pytest.raises(ChannelMismatch, match="which there are 2"):
        read_csv(write(HEAD + "a,a\n1,2\n"), channels=["a"])


def test_rate_and_units_are_never_guessed(write):
    path = write("time_s,a\n0.00,1\n0.01,2\n")
    with pytest.raises(SampleRateMismatch, match="State it with --fs-hz"):
        read_csv(path, units="mV")
    with pytest.raises(UnitMismatch, match="State it with --units"):
        read_csv(path, fs_hz=100)
    with pytest.raises(SampleRateMismatch, match="positive rate"):
        read_csv(path, fs_hz=-1, units="mV")


def test_two_statements_must_agree(write):
    path = write(HEAD + "a\n1\n2\n")
    assert read_csv(path, fs_hz=100, units="mV").fs_hz == 100
    with pytest.raises(SampleRateMismatch, match="100 Hz in the file; expected 250 Hz"):
        read_csv(path, fs_hz=250)
    with pytest.raises(UnitMismatch, match="mV in the file; expected uV"):
        read_csv(path, units="uV")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "an empty file"),
        (b"\n\n", "no rows"),
        (b"# fs_hz: 100\n", "no rows"),
        (HEAD + "a,b\n", "column names and no rows"),
        (HEAD + "a,b\n1,2\n3\n", "line 5: 1 columns; expected 2"),
        (HEAD + "a,b\n1,2\n3,4,5\n", "line 5: 3 columns; expected 2"),
        (HEAD + "a,b\n1,2\n3,", "line 5: ''; expected a number"),
        (HEAD + "a,b\n1,2\n3,x\n", "line 5: 'x'; expected a number"),
        (HEAD + "1,\n2,3\n", "line 3: ''; expected a number"),
        (HEAD + "time_s,1\n0.00,3\n", "line 3: 'time_s'; expected a number"),
        (HEAD + "a,\n2,3\n", "a column without a name"),
        (HEAD + "a\n1\nnan\n2\n", "line 5: 'nan'; expected a finite number"),
        (HEAD + "a\n1\n1e300\n2\n", "line 5: '1e300'; expected a finite number"),
        (HEAD + "a\n1\n-inf\n2\n", "line 5: '-inf'; expected a finite number"),
        ("# fs_hz: fast\n# units: mV\na\n1\n", "fs_hz 'fast'; expected a number"),
        (b"\xff\xfe\x00\x01", "bytes that are no text"),
        (b"PK\x03\x04\x00\x00", "no rows|no table|expected"),
    ],
)
def test_malformed_files(write, text, message):
    with pytest.raises((RecordError, SampleRateMismatch), match=message):
        read_csv(write(text))


def test_a_time_column_alone_is_no_recording(write):
    with pytest.raises(ChannelMismatch, match="no signal column"):
        read_csv(write(HEAD + "time_s\n0.00\n0.01\n"))


def test_time_rounded_to_milliseconds_passes(write):
    times = np.round(np.arange(2000) / 360, 3)
    assert read_csv(write(timed(times, "# fs_hz: 360\n# units: mV\n"))).samples.shape == (1, 2000)


def test_milliseconds_column(write):
    recording = read_csv(write(HEAD + "time_ms,a\n100,1\n110,2\n120,3\n"))
    assert recording.t0_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: np.delete(t, 500), RecordError, r"line 504: a gap of 0\.02 s after 4\.99 s"),
        (lambda t: np.insert(t, 500, t[500]), RecordError, r"line 505: the time repeats"),
        (lambda t: np.concatenate([t[:500], t[400:]]), RecordError, "the time runs back"),
        (lambda t: t * 1.01, SampleRateMismatch, r"times at 99\.0099 Hz; expected 100 Hz"),
        (lambda t: t * 4, SampleRateMismatch, "times at 25 Hz"),
        (lambda t: t / 2, SampleRateMismatch, "times at 200 Hz"),
    ],
)
def test_time_that_does_not_fit_the_rate(write, change, error, message):
    with pytest.raises(error, match=message):
        read_csv(write(timed(change(np.arange(1000) / 100))))
