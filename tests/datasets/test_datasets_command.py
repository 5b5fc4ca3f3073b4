"""``physioedge datasets``: every set with licence, source, split and what is here."""

from __future__ import annotations

import json

import pytest

from dataset_here import root_of
from physioedge.cli.main import main
from physioedge.datasets import registry
from physioedge_runtime.errors import DatasetError


def test_all_sets_are_listed(tmp_path, capsys):
    assert main(["datasets", "--data", str(tmp_path), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == list(registry.NAMES)
    for entry in entries:
        assert entry["records_here"] == 0 and entry["folder"] is None and entry["problem"] is None
        assert entry["licence"] and entry["citation"] and entry["get"] and entry["source"].startswith("https://")
        assert entry["split"]["pretrain"] + entry["split"]["evaluate"] > 0 and entry["split"]["calibration"]["why"]


def test_what_may_not_be_shipped_is_said(tmp_path, capsys):
    assert main(["datasets", "ppg_arrhythmia", "--data", str(tmp_path), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["evaluation_only"] and not entry["weights_shippable"] and not entry["excerpts_shippable"]
    assert main(["datasets", "--data", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "evaluation only" in text and "Not or not all here: mitbih, cinc2017" in text


def test_one_set_in_full(tmp_path, capsys):
    (tmp_path / "slpdb_rr").mkdir()
    (tmp_path / "slpdb_rr" / "slp03.npz").touch()
    assert main(["datasets", "slpdb_rr", "--data", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "1 of 18 records, 1 of 16 people" in text and "6 people to fit, 10 to judge in 5 folds" in text
    assert main(["datasets", "slpdb_rr", "--data", str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["missing"]) == 17


def test_a_damaged_set_is_a_problem_not_a_crash(tmp_path, capsys):
    (tmp_path / "cinc2017").mkdir()
    (tmp_path / "cinc2017" / "shard_00.npz").write_bytes(b"PK\3\4")
    assert main(["datasets", "cinc2017", "--data", str(tmp_path)]) == 0
    assert "problem" in capsys.readouterr().out
    assert main(["datasets", "--data", str(tmp_path)]) == 0
    assert "shard_00.npz" in capsys.readouterr().out


def test_an_unknown_name_is_refused(capsys):
    assert main(["datasets", "nothing"]) == 1
    assert "'nothing'" in capsys.readouterr().err
    with pytest.raises(DatasetError, match="cinc2017"):
        registry.dataset("nothing")


def test_every_module_describes_itself():
    for name in registry.NAMES:
        module, info = registry.dataset(name), registry.info(name)
        assert info.name == name == module.NAME
        assert callable(module.records) and callable(module.subjects) and callable(module.subject_of)
        assert hasattr(module, "load") or hasattr(module, "windows")


@pytest.mark.data
@pytest.mark.parametrize("name", registry.NAMES)
def test_counts_are_those_of_the_description(name, capsys):
    assert main(["datasets", name, "--data", str(root_of(name)), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["records_here"] == entry["records"] and not entry["missing"] and entry["problem"] is None
    assert entry["subjects_here"] == entry["subjects"]
