"""``physioedge bench`` with real processes on a bundle of some kilobytes."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from physioedge.bench import measure as measuring
from physioedge.bench import rivals
from physioedge.bench.arms import BARE, Arm, bundle_arms, group_of
from physioedge.bench.process import Worker
from physioedge.bench.windows import real_windows
from physioedge.cli.console import SHIPPED_RECORD
from physioedge.cli.main import main
from physioedge.results import read
from physioedge_export.pack import write_bundle
from physioedge_runtime import Bundle
from physioedge_runtime.bundle.signing import make_keys, read_private_key
from physioedge_runtime.errors import EngineError, EvaluationRefused
from tiny_bundle import tiny_contract, tiny_files, tiny_pair, tiny_parts, tiny_sensor


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A tiny bundle with the real window, and the key that signed it."""
    folder = tmp_path_factory.mktemp("bundle")
    make_keys(folder / "keys")
    contract = tiny_contract(context=249, window=800, lookahead=75)
    key = read_private_key(folder / "keys" / "private.pem")
    write_bundle(folder / "t.physio", parts=tiny_parts(contract), files=tiny_files(contract), signing_key=key)
    return folder / "t.physio", folder / "keys" / "public.pem"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One start and two passes are enough to see that it works."""
    monkeypatch.setattr(measuring, "STARTS", 1)
    monkeypatch.setattr(measuring, "STREAM_PASSES", (1, 1))


@pytest.fixture
def bundle(signed):
    return Bundle.open(signed[0], trust=signed[1])


def bench(signed, *arguments):
    return main(["bench", str(signed[0]), "--trust", str(signed[1]), "--rounds", "2", *map(str, arguments)])


def test_measures_writes_and_answers(signed, bundle, tmp_path, capsys):
    page = tmp_path / "speed.html"
    assert bench(signed, "--out", tmp_path / "speed.json", "--html", page, "--weights", tmp_path / "none") == 0
    out, err = capsys.readouterr()
    assert "ours_int8" in out and "ours_fp32" in out and "left out: torch_eager" in out and err == ""
    assert "left out" in out and "ours_int8" in page.read_text()
    rows = read(tmp_path / "speed.json")
    found = {(row.arm, row.metric): row.value for row in rows}
    for arm in ("ours_int8", "ours_fp32"):
        assert all(found[arm, m] > 0 for m in ("p50_ms", "load_ms", "first_ms", "peak_rss_mb", "file_mb"))
        assert 20 < found[arm, "peak_rss_mb"] < 500
    assert found["ours_int8", "file_mb"] == pytest.approx(len(bundle.read("graphs/merged.int8.onnx")) / 1e6, abs=1e-5)
    assert found["ours_int8", "stream_per_result_ms"] > 0
    document = json.loads((tmp_path / "speed.json").read_text())
    facts = document["groups"]["tiny"]
    assert facts["bundle"] == bundle.digest
    assert facts["stream"]["ours_int8"]["results"] > 100
    assert set(facts["left_out"]) == set(rivals.RIVALS)
    assert (tmp_path / "speed.md").read_text().startswith("# Speed")
    assert "/" not in document["command"].replace("BUNDLE", "")


def test_a_missing_extra_leaves_the_rivals_out_and_says_how_to_get_them(signed, capsys, monkeypatch):
    monkeypatch.setattr(rivals, "find_spec", lambda name: None if name == "onnxscript" else object())
    assert bench(signed, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["arm"] for row in document["rows"]} == {"ours_int8", "ours_fp32", BARE}
    facts = document["groups"]["tiny"]
    assert set(facts["left_out"]) == set(rivals.RIVALS)
    assert all("onnxscript" in why and "physioedge[export]" in why for why in facts["left_out"].values())


def test_without_the_shipped_weights_the_rivals_are_left_out(signed, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "physioedge_weights", None)
    assert bench(signed, "--json") == 0
    left_out = json.loads(capsys.readouterr().out)["groups"]["tiny"]["left_out"]
    assert set(left_out) == set(rivals.RIVALS)
    assert all("pip install physioedge-weights" in why for why in left_out.values())


def test_two_models_in_one_run_are_two_groups(signed, tmp_path, capsys):
    contract = tiny_contract(context=249, window=800, lookahead=75)
    key = read_private_key(signed[1].with_name("private.pem"))
    other = tmp_path / "other.physio"
    write_bundle(other, parts=tiny_parts(contract, name="other"), files=tiny_files(contract), signing_key=key)
    assert main(["bench", str(signed[0]), str(other), "--trust", str(signed[1]), "--rounds", "2", "--json", "--weights",
                 str(tmp_path)]) == 0  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert set(document["groups"]) == {"tiny", "other"} == {row["group"] for row in document["rows"]}
    assert document["command"] == "physioedge bench BUNDLE BUNDLE --rounds 2"


def test_packs_a_folder(signed, tmp_path, capsys):
    assert main(["bench", str(signed[0]), "--trust", str(signed[1]), "--weights", str(tmp_path), "--pack",
                 str(tmp_path / "board")]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "tiny/ours_int8" in out and "python3 run.py" in out and (tmp_path / "board" / "run.py").exists()


def test_arms_are_the_graphs_held(bundle):
    assert [arm.name for arm in bundle_arms(bundle, None)] == ["ours_int8", "ours_fp32"]  # its slots graph is fp32
    assert group_of(bundle) == "tiny"  # by its name: the width is no preset's


def test_windows_are_those_the_stream_cuts(bundle):
    windows, source = real_windows(bundle, SHIPPED_RECORD)
    assert windows.dtype == np.float32 and windows.shape[1:] == (1, 1049) and len(windows) > 100
    assert np.isfinite(windows).all() and "233" in source


def test_a_bundle_of_another_sensor_is_timed_on_its_golden_windows(tmp_path):
    sensor = tiny_sensor(name="ppg", modality="ppg", fs_hz=64.0, units="a.u.", channels=("PPG",), low=-1.0, high=1.0)
    contract = tiny_contract(sensors=(sensor,))
    other = write_bundle(
        tmp_path / "p.physio", parts=tiny_parts(contract), files=tiny_files(contract), signing_key=bytes(range(32))
    )
    windows, source = real_windows(other, SHIPPED_RECORD)
    assert np.array_equal(windows, other.golden()["signal"]) and "golden" in source


def test_a_bundle_of_several_sensors_is_refused(tmp_path):
    contract = tiny_pair()
    pair = write_bundle(
        tmp_path / "p.physio", parts=tiny_parts(contract), files=tiny_files(contract), signing_key=bytes(range(32))
    )
    with pytest.raises(EvaluationRefused, match="a bundle of ppg, acc; expected one sensor"):
        real_windows(pair, SHIPPED_RECORD)


def test_an_arm_that_cannot_load_is_one_error(tmp_path):
    np.save(tmp_path / "w.npy", np.zeros((1, 1, 60), np.float32))
    with pytest.raises(EngineError, match="ort_fp32"):
        Worker(Arm(name="ort_fp32", kind="onnx", path=str(tmp_path / "none.onnx")), tmp_path / "w.npy")


def test_an_arm_that_dies_is_one_error(signed, tmp_path):
    np.save(tmp_path / "w.npy", np.zeros((1, 1, 1049), np.float32))
    arm = Arm(name="ours_int8", kind="bundle", path=str(signed[0]), trust=str(signed[1]), precision="int8",
              adapters="merged")  # fmt: skip
    with Worker(arm, tmp_path / "w.npy") as worker, pytest.raises(EngineError, match="ours_int8"):
        worker.ask("no_such_thing")


def test_memory_is_the_workers_own(signed, tmp_path):
    """A parent that holds much more must not show in the figure."""
    np.save(tmp_path / "w.npy", np.zeros((1, 1, 1049), np.float32))
    arm = Arm(name="ours_int8", kind="bundle", path=str(signed[0]), trust=str(signed[1]), precision="int8",
              adapters="merged")  # fmt: skip
    with Worker(arm, tmp_path / "w.npy") as worker:
        alone = worker.ask("memory")["peak_rss_mb"]
    ballast = np.ones(50_000_000)  # 400 MB
    with Worker(arm, tmp_path / "w.npy") as worker:
        beside = worker.ask("memory")["peak_rss_mb"]
    assert ballast[-1] == 1 and beside < alone + 100


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_a_wrong_number_of_rounds_is_wrong_usage(signed, rounds, capsys):
    assert main(["bench", str(signed[0]), "--rounds", rounds]) == 2
    assert "rounds" in capsys.readouterr().err


def test_a_bundle_that_does_not_hold_is_one_message(signed, tmp_path, capsys):
    data = bytearray(signed[0].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.physio").write_bytes(data)
    assert main(["bench", str(tmp_path / "bad.physio"), "--trust", str(signed[1])]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error[") and "Traceback" not in err


def test_a_folder_to_write_to_is_refused_before_anything_is_measured(tmp_path, capsys):
    for option in ("--out", "--html"):
        assert main(["bench", "shipped", option, str(tmp_path)]) == 1
        assert f"the folder {tmp_path} as {option}" in capsys.readouterr().err
