import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import cinc2017
from physioedge.tasks import af, cache


@pytest.mark.data
def test_windows_tile_every_record_of_the_split(monkeypatch):
    root = root_of("cinc2017")
    monkeypatch.delenv(cache.VARIABLE, raising=False)  # it would hold the windows of everybody
    names = cinc2017.records(root)
    kept = (*names[:6], *names[-2:])
    monkeypatch.setattr(cinc2017, "records", lambda root=None: kept)
    windows = af.windows(root, context_s=2.0)
    assert sorted(set(windows.record.tolist())) == sorted(kept)
    letters = cinc2017.letters(root)
    for record in kept:
        here = windows.record == record
        duration_s = cinc2017.load(record, root).duration_s
        assert np.allclose(windows.start_s[here], 2.0 + 6.4 * np.arange(here.sum()))
        assert here.sum() == int((duration_s - 2.0 + 1e-9) / 6.4)
        assert {af.TASK.labels[k] for k in windows.target[here]} == {letters[record]}
    assert windows.samples["ecg"].shape[1:] == (1, 1050)
    assert set(windows.fold.tolist()) <= {-1, 0}
