"""``physioedge doctor`` and ``physioedge datasets``."""

from __future__ import annotations

import importlib
import json
import re
import tomllib

import pytest

from physioedge.cli import doctor
from physioedge.cli.main import main
from physioedge.datasets import mitbih


def test_a_checkout_brings_its_weights_along(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "CHECKOUT", tmp_path)
    assert doctor._to_install("host") == "pip install 'physioedge[host]'"  # a wheel: an index knows the rest
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "pyproject.toml").write_text("")
    assert doctor._to_install("host") == f"pip install {tmp_path / 'weights'} '{tmp_path}[host]'"
    assert doctor._to_install("ble") == f"pip install '{tmp_path}[ble]'"  # asks for no weights


def test_a_package_that_is_absent_or_broken(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "CHECKOUT", tmp_path)
    assert doctor._package("numpy", "base", "").state == doctor.OK
    absent = doctor._extra("host", ("no_such_package",))
    assert (absent.state, absent.do) == (doctor.MISSING, "pip install 'physioedge[host]'")

    def fail(name):
        raise RuntimeError("bad library\nmore")

    monkeypatch.setattr(importlib, "import_module", fail)
    broken = doctor._package("numpy", "base", "")
    assert (broken.state, broken.detail) == (doctor.BROKEN, "RuntimeError: bad library")


def test_every_extra_is_looked_at(repository):
    """By name, and each package that it asks for; extras that only name others are those others'."""
    lists = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {}
    for name, lines in lists.items():
        own = {re.split(r"[<>=\[]", line)[0] for line in lines if not line.startswith("physioedge[")}
        if name not in ("dev", "docs", "fuzz", "all") and own:
            wanted[name] = own - {"wfdb", "h11", "transformers", "accelerate", "joblib"}  # beside what needs them
    known = {
        name: {doctor._DISTRIBUTION.get(module, module).replace("_", "-") for module in modules}
        for name, modules in doctor._EXTRAS.items()
    }
    assert known.keys() == wanted.keys()
    assert {name: own - known[name] for name, own in wanted.items() if own - known[name]} == {}


def test_exit_code_follows_what_the_base_job_needs(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_EXTRAS", {"host": ("no_such_package",)})
    monkeypatch.setattr(doctor, "_verify", lambda path: "holds")
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["base_job_works"] is True
    states = {finding["name"]: finding["state"] for finding in report["findings"]}
    assert states["numpy"] == states["shipped recording"] == "ok"
    assert states["host"] == "missing"

    monkeypatch.setattr(doctor, "SHIPPED_RECORD", doctor.SHIPPED_RECORD.with_name("absent.npz"))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "shipped recording: install physioedge again" in text
    assert "does not work here" in text


def test_a_damaged_asset_is_found(monkeypatch, tmp_path):
    (tmp_path / "b.physio").write_bytes(b"PK\x03\x04")
    finding = doctor._asset("shipped bundle", tmp_path / "b.physio", doctor._verify)
    assert (finding.state, finding.needed) == (doctor.BROKEN, True)


def test_the_shipped_assets_hold():
    assert [(f.name, f.state) for f in doctor.assets()] == [("shipped recording", "ok"), ("shipped bundle", "ok")]


def test_cpu_flags_are_read():
    finding = doctor.cpu()
    assert "cores" in finding.detail
    assert isinstance(doctor.cpu_flags(), frozenset)


def test_datasets_lists_what_is_here(tmp_path, capsys):
    assert main(["datasets", "--data", str(tmp_path), "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)[0]
    assert (entry["name"], entry["licence"], entry["folder"], entry["records_here"]) == (
        "mitbih",
        "ODC-By-1.0",
        None,
        0,
    )
    (tmp_path / "mitbih").mkdir()
    (tmp_path / "mitbih" / "100.hea").touch()
    (tmp_path / "mitbih" / "101.npz").touch()
    assert main(["datasets", "--data", str(tmp_path), "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)[0]
    assert entry["records_here"] == 2
    assert sorted(entry["missing"]) == sorted(set(mitbih.ALL) - {"100", "101"})
    assert main(["datasets", "--data", str(tmp_path)]) == 0
    assert "docs/datasets.md" in capsys.readouterr().out


@pytest.mark.data
def test_datasets_finds_mitbih(mitbih_root, capsys):
    assert main(["datasets", "--data", str(mitbih_root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["records_here"] == 48
