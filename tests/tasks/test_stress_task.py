import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import stress_predict
from physioedge.datasets.info import Labels
from physioedge.tasks import cache, stress


def seconds(value, start_s=None):
    start = np.arange(len(value), dtype=float) if start_s is None else np.asarray(start_s, float)
    return Labels(
        start_s=start, end_s=start + 1.0, value=np.asarray(value, np.int64), units="class", columns=("label",),
        meaning=stress_predict.LABELS,
    )  # fmt: skip


def test_a_window_across_a_change_is_left_out():
    starts, target = stress.grid(seconds([0] * 100 + [1] * 110))
    assert starts.tolist() == [0.0, 30.0, 120.0, 150.0]
    assert target.tolist() == [0, 0, 1, 1]


def test_a_window_with_too_few_labels_is_left_out():
    labelled = np.r_[0:60, 90:200]
    starts, _ = stress.grid(seconds(np.zeros(len(labelled)), labelled))
    assert starts.tolist() == [0.0, 90.0, 120.0]


@pytest.mark.data
def test_windows_of_two_people(monkeypatch):
    root = root_of("stress_predict")
    monkeypatch.delenv(cache.VARIABLE, raising=False)  # it would hold the windows of everybody
    monkeypatch.setattr(stress_predict, "records", lambda root=None: ("S01", "S02", "S03"))
    windows = stress.windows(root, context_s=2.0)
    assert sorted(set(windows.record.tolist())) == ["S02", "S03"]
    judged = windows.subject == "stress_predict:S03"
    assert set(windows.fold[~judged].tolist()) == {-1}
    assert 15 < windows.calibration[judged].sum() < 35
    assert not windows.calibration[~judged].any()
    calibrating = windows.start_s[judged & windows.calibration].max()
    assert calibrating < windows.start_s[judged & ~windows.calibration].min()
    labels = stress_predict.labels("S03", root)
    for start_s, target in zip(windows.start_s[judged], windows.target[judged], strict=True):
        inside = (labels.start_s >= start_s) & (labels.start_s < start_s + 60)
        assert set(labels.value[inside].tolist()) == {target}
    sizes = {kind: x.shape[1:] for kind, x in windows.samples.items()}
    assert sizes == {"ppg": (1, 3968), "acc": (3, 1984), "eda": (1, 248), "temp": (1, 248)}
