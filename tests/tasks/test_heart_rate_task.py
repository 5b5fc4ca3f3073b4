import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import troika
from physioedge.tasks import heart_rate
from windows_made_up import length_of, windows_of


def rates(values, record):
    n = len(values)
    samples = {"ppg": np.zeros((n, 1, length_of(heart_rate.TASK, "ppg")))}
    target = np.zeros((n, 1), np.float32)
    return windows_of(heart_rate.TASK, target, ["p"] * n, samples=samples, record=record)


def test_smoothing_looks_back_five_windows_and_never_over_a_record():
    values = np.array([60.0, 60, 200, 60, 60, 60, 100, 100])[:, None]
    record = ["a"] * 6 + ["b"] * 2
    smooth = heart_rate.smoothed(values, rates(values, record))[:, 0]
    assert smooth.tolist() == [60.0] * 6 + [100.0] * 2
    changed = values.copy()
    changed[5] = 150.0
    assert heart_rate.smoothed(changed, rates(changed, record))[:5, 0].tolist() == smooth[:5].tolist()


@pytest.mark.data
def test_windows_are_what_the_reference_belongs_to():
    root = root_of("troika")
    windows = heart_rate.windows(root, context_s=2.0)
    assert windows.samples["ppg"].shape == (1714, 2, 640)
    assert windows.samples["acc"].shape == (1714, 3, 320)
    assert len(set(windows.subject.tolist())) == 11
    assert not windows.calibration.any()
    assert sorted(set(windows.fold.tolist())) == list(range(11))
    reference = troika.labels("10_TYPE02", root)
    here = windows.record == "10_TYPE02"
    assert np.array_equal(windows.target[here, 0], reference.value[1:])
    assert np.array_equal(windows.start_s[here], reference.start_s[1:])
    no_past = heart_rate.windows(root, context_s=0.0)
    assert np.array_equal(no_past.start_s, windows.start_s)
    assert np.array_equal(no_past.samples["ppg"], windows.samples["ppg"][:, :, 128:])
