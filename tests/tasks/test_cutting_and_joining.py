import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge.datasets.splits import Calibration, Split
from physioedge.signals.recording import Recording
from physioedge.tasks import cache
from physioedge.tasks.cutting import at_canonical_rates, cut, fits
from physioedge.tasks.joining import Piece, folds_of, join
from physioedge.tasks.windowed import CANONICAL_HZ
from physioedge_runtime.errors import DatasetError
from windows_made_up import task_of


def ramp(kind, t0_s, seconds):
    """A sensor whose every sample is the time it was taken at."""
    n = round(seconds * CANONICAL_HZ[kind])
    return (t0_s + np.arange(n, dtype=np.float32) / np.float32(CANONICAL_HZ[kind]))[None], t0_s


@given(start_s=st.integers(0, 40), late_s=st.integers(0, 8))
def test_every_sensor_is_cut_at_the_same_time(start_s, late_s):
    sensors = {"ppg": ramp("ppg", 0.0, 60), "acc": ramp("acc", float(late_s), 60), "eda": ramp("eda", 0.0, 60)}
    start = np.array([float(start_s)])
    if not fits(sensors, start, 2.0, 8.0)[0]:
        assert start_s - 2 < late_s
        return
    for kind, window in cut(sensors, start, 2.0, 8.0).items():
        assert window.shape == (1, 1, 10 * CANONICAL_HZ[kind])
        assert window[0, 0, 0] == pytest.approx(start_s - 2.0, abs=1e-4)


def test_a_window_beyond_either_end_does_not_fit():
    sensors = {"ppg": ramp("ppg", 0.0, 20)}
    starts = np.array([1.0, 2.0, 12.0, 12.5])
    assert fits(sensors, starts, 2.0, 8.0).tolist() == [False, True, True, False]


def test_sensors_come_at_the_canonical_rate():
    recording = Recording(
        samples=np.zeros((2, 1250), np.float32), fs_hz=125.0, units="a.u.", channels=("1", "2"), name="r", subject="p",
        t0_s=5.0,
    )  # fmt: skip
    samples, t0_s = at_canonical_rates({"ppg": recording, "acc": recording}, ("ppg",))["ppg"]
    assert samples.shape == (2, 640)
    assert t0_s == 5.0


def split_of(**changed):
    values = {
        "dataset": "none", "version": 1, "rule": "made up", "seed": None, "pretrain": ("p0",),
        "evaluate": ("p1", "p2"), "folds": (("p1",), ("p2",)), "aliases": {"p2b": "p2"},
        "calibration": Calibration(kind="seconds", amount=4.0, why="made up"),
    }  # fmt: skip
    return Split(**{**values, **changed})


def test_folds_of_people():
    assert folds_of(split_of(), ["p0", "p1", "p2", "p2b"]) == {"p0": -1, "p1": 0, "p2": 1, "p2b": 1}
    assert folds_of(split_of(folds=()), ["p0", "p1", "p2"]) == {"p0": -1, "p1": 0, "p2": 0}
    with pytest.raises(DatasetError, match="stranger"):
        folds_of(split_of(), ["stranger"])


def piece(subject, record, starts, task):
    starts = np.array(starts, float)
    return Piece(
        subject=subject, record=record, samples={"eda": np.zeros((len(starts), 1, 40), np.float32)},
        target=np.zeros(len(starts), np.int64), start_s=starts, t0_s=0.0,
    )  # fmt: skip


def test_only_judged_people_calibrate_and_only_at_the_start_of_their_first_record():
    task = task_of(sensors=("eda",))
    pieces = [
        piece("p0", "a", [2, 4, 6], task), piece("p1", "b", [2, 4, 6], task), piece("p1", "c", [2, 4, 6], task),
    ]  # fmt: skip
    joined = join(task, split_of(), pieces, 2.0)
    assert joined.calibration.tolist() == [False] * 3 + [True, False, False] + [False] * 3
    assert joined.fold.tolist() == [-1] * 3 + [0] * 6
    with pytest.raises(DatasetError, match="no window"):
        join(task, split_of(), [], 2.0)


def test_the_cache_gives_back_what_was_put_in_and_knows_other_files(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "kept"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "one").write_text("1")
    task, made = task_of(sensors=("eda",)), []

    def make():
        made.append(1)
        return join(task, split_of(), [piece("p1", "b", [2, 4, 6], task)], 2.0)

    first, again = (cache.stored(task, 1, data, 2.0, make) for _ in range(2))
    assert len(made) == 1
    assert again.subject.tolist() == first.subject.tolist()
    assert np.array_equal(again.samples["eda"], first.samples["eda"])
    assert again.calibration.tolist() == [True, False, False]
    (data / "two").write_text("2")
    cache.stored(task, 1, data, 2.0, make)
    cache.stored(task, 2, data, 2.0, make)
    assert len(made) == 3
    monkeypatch.delenv(cache.VARIABLE)
    cache.stored(task, 2, data, 2.0, make)
    assert len(made) == 4
