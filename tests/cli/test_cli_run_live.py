"""``physioedge run`` from a live source, from files of other formats, and to sinks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.io import savemat

from edf_writer import write as write_edf
from physioedge.cli.main import main
from physioedge.signals.wfdb import read_wfdb
from physioedge_export.pack import write_bundle
from physioedge_runtime.bundle.signing import make_keys, read_private_key
from tiny_bundle import tiny_contract, tiny_files, tiny_parts


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A tiny bundle with the real window, and the key that signed it."""
    folder = tmp_path_factory.mktemp("bundle")
    make_keys(folder / "keys")
    contract = tiny_contract(context=249, window=800, lookahead=75)
    key = read_private_key(folder / "keys" / "private.pem")
    write_bundle(folder / "t.physio", parts=tiny_parts(contract), files=tiny_files(contract), signing_key=key)
    return folder / "t.physio", folder / "keys" / "public.pem"


@pytest.fixture
def run(signed, capsys):
    def run(source, *arguments):
        code = main(["run", str(source), "--bundle", str(signed[0]), "--trust", str(signed[1]), *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def microvolts(tmp_path_factory, sample_records):
    """Thirty seconds of a record as a MATLAB file in uV, under another name of its channel."""
    ecg = read_wfdb(sample_records / "100", channels=["MLII"]).samples[:, : 30 * 360]
    path = tmp_path_factory.mktemp("mat") / "r.mat"
    savemat(path, {"samples": ecg.T * 1000.0, "fs_hz": 360.0, "units": "uV", "channels": "lead 2"})
    return path


def test_another_name_and_another_unit_give_the_same_results(run, microvolts, sample_records):
    told = ("--channel", "MLII=lead 2", "--convert-units", "--resample", "polyphase", "--json")
    code, out, err = run(microvolts, *told)
    assert code == 0 and err.startswith("r: MLII [mV] at 360 Hz, 30.0 s (10800 samples), subject r\n")
    _, expected, _ = run(sample_records / "100", "--resample", "polyphase", "--json", "--limit-s", 30)
    rows, others = ([json.loads(line) for line in text.splitlines()] for text in (out, expected))
    assert len(rows) > 25 and [row["label"] for row in rows] == [row["label"] for row in others]
    assert np.allclose([row["probability"] for row in rows], [row["probability"] for row in others], atol=1e-4)


def test_names_and_units_are_never_changed_unasked(run, microvolts):
    assert "error[channels]" in run(microvolts, "--convert-units", "--resample", "polyphase")[2]
    assert "error[unit]" in run(microvolts, "--channel", "MLII=lead 2", "--resample", "polyphase")[2]


def test_results_go_where_they_are_sent(run, microvolts, tmp_path):
    told = ("--channel", "MLII=lead 2", "--convert-units", "--resample", "polyphase")
    code, out, _ = run(microvolts, *told, "--to", tmp_path / "r.csv", "--to", f"jsonl:{tmp_path / 'r'}")
    assert (code, out) == (0, "")
    assert (tmp_path / "r.csv").read_text().count("\n") - 1 == (tmp_path / "r").read_text().count("\n") > 25
    assert "error[sink]" in run(microvolts, *told, "--to", "kafka://x/y")[2]


def test_sensors_of_a_file_of_several_rates(run, tmp_path):
    path = write_edf(tmp_path / "n.edf")
    assert "error[sample-rate]" in run(path)[2] and "mixed rates" in run(path)[2]
    code, _, err = run(path, "--sensor", "ecg=MLII=ECG", "--resample", "polyphase")
    assert code == 0 and "n: MLII [mV] at 250 Hz, 12.0 s (3000 samples), subject P07" in err
    assert "error[signal]: --sensor ecg; expected NAME=CHANNEL" in run(path, "--sensor", "ecg")[2]


def test_a_live_board(run):
    pytest.importorskip("brainflow")
    told = ("--channel", "MLII=ecg1", "--convert-units", "--resample", "polyphase")
    code, _, err = run("brainflow:synthetic", *told, "--limit-s", 1)
    assert code == 0 and "brainflow:synthetic: MLII [mV] at 250 Hz, live" in err
    assert "s of signal in" in err
    assert "error[signal]: --speed for brainflow:synthetic" in run("brainflow:synthetic", *told, "--speed", 2)[2]
    assert "error[source]" in run("brainflow:toaster", *told)[2]


def test_a_live_source_that_is_stopped_is_no_failure(run, monkeypatch):
    pytest.importorskip("brainflow")

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("physioedge.sources.brainflow_board.time.sleep", stop)
    code, _, err = run("brainflow:synthetic", "--channel", "MLII=ecg1", "--convert-units", "--resample", "polyphase")
    assert code == 0 and "stopped\n0 beats" in err
