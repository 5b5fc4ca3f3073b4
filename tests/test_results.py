"""Result files: rows that read back as they were written, with the command and machine that made them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from physioedge import results
from physioedge.evaluation.plots import table
from physioedge.results import Row


def row(**changes) -> Row:
    parts = {"task": "arrhythmia", "arm": "global", "group": "DS2", "metric": "accuracy", "unit": "1", "value": 0.9412,
             "low": 0.9, "high": 0.96, "n": 22, "seeds": 5}  # fmt: skip
    return Row(**{**parts, **changes})


def test_round_trip(tmp_path):
    rows = [row(), row(metric="ece", value=0.0123456789, low=None, high=None), row(value=np.float64(0.5))]
    path = tmp_path / "deep" / "a.json"
    results.write(path, "physioedge evaluate arrhythmia", rows, bundle="ab")
    found = results.read(path)
    assert found[0] == rows[0] and found[1].value == 0.01235 and found[1].low is None and found[2].value == 0.5
    document = json.loads(path.read_text())
    assert list(document)[-1] == "rows" and document["schema"] == 1 and document["bundle"] == "ab"
    assert document["command"] == "physioedge evaluate arrhythmia"
    assert document["machine"]["cores"] >= 1 and document["commit"]
    assert sum(line.startswith("  {") for line in path.read_text().splitlines()) == 3  # one row a line, for diffs


def test_no_rows_are_still_a_file(tmp_path):
    results.write(tmp_path / "a.json", "c", [])
    assert results.read(tmp_path / "a.json") == []


def test_the_machine_is_not_named():
    assert set(results.machine()) == {"cpu", "cores", "arch", "python"}


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch):
    def no_git(*args, **kwargs):
        raise OSError

    monkeypatch.setattr(results.subprocess, "run", no_git)
    assert results.commit() == "unknown"


def test_the_table_shows_intervals_where_there_are_any():
    rows = [row(), row(metric="ece", value=0.02, low=None, high=None), row(arm="cnn", seeds=3), row(group="other")]
    lines = table(rows, "DS2", ("accuracy", "ece")).splitlines()
    assert lines[0] == "| arm | accuracy | ece | seeds |"
    assert lines[2] == "| global | 0.941 [0.900, 0.960] | 0.020 | 5 |"
    assert lines[3] == "| cnn | 0.941 [0.900, 0.960] | - | 3 |" and len(lines) == 4


@pytest.mark.parametrize("name", ["accuracy", "value"])
def test_a_row_has_no_other_fields(name):
    with pytest.raises(TypeError):
        Row(**{**row().__dict__, "colour": name})
