"""``physioedge run``: rows, summary, and one message for each thing that can be wrong."""

from __future__ import annotations

import csv
import io
import json
import time

import numpy as np
import pytest

from physioedge.cli.main import main
from physioedge.signals.wfdb import read_wfdb
from physioedge_export.pack import write_bundle
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.bundle.signing import make_keys, read_private_key
from tiny_bundle import tiny_contract, tiny_files, tiny_pair, tiny_parts

SECONDS = 30


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
def run(signed, sample_records, capsys):
    """Runs the command; gives exit code, stdout and stderr."""

    def run(*arguments, record=sample_records / "100", bundle=signed[0]):
        options = ["--bundle", str(bundle), "--trust", str(signed[1]), "--limit-s", str(SECONDS)]
        code = main(["run", str(record), *options, *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def expected_results(signed, record):
    recording = read_wfdb(record, channels=["MLII"])
    with Stream(
        Bundle.open(signed[0], trust=signed[1]), fs_hz=360, units="mV", resample="polyphase", channels=["MLII"]
    ) as stream:
        return stream.push(recording.samples[:, : SECONDS * 360]) + stream.flush()


def test_json_lines_are_the_stream_s_results(run, signed, sample_records):
    code, out, err = run("--resample", "polyphase", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    expected = expected_results(signed, sample_records / "100")
    assert code == 0
    assert len(rows) == len(expected) > 20
    assert [row["label"] for row in rows] == [result.label for result in expected]
    assert [row["t_anchor_s"] for row in rows] == [round(result.t_anchor_s, 4) for result in expected]
    assert list(rows[-10]["probabilities"]) == ["N", "S", "V"]
    assert "100: MLII [mV] at 360 Hz" in err
    assert "converting 360 Hz to 125 Hz (polyphase)" in err


def test_summary_counts_what_was_printed(run):
    _, out, err = run("--resample", "polyphase", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    withheld = sum(row["label"] is None for row in rows)
    assert f"{len(rows)} beats, {withheld} withheld, coverage {100 * (1 - withheld / len(rows)):.1f} %" in err
    assert "median delay" in err
    assert f"({SECONDS:.1f} s of signal" in err


def test_csv_and_table_have_the_same_rows(run):
    _, text, _ = run("--resample", "polyphase", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    _, listing, _ = run("--resample", "polyphase")
    lines = listing.splitlines()
    assert lines[0].split() == ["beat", "at", "s", "label", "p", "quality", "delay", "ms", "flags"]
    assert [line.split()[0] for line in lines[1:]] == [f"{float(row['t_anchor_s']):.3f}" for row in rows]
    assert [line.split()[1] for line in lines[1:]] == [row["label"] or "-" for row in rows]
    assert float(rows[-10]["p_N"]) + float(rows[-10]["p_S"]) + float(rows[-10]["p_V"]) == pytest.approx(1, abs=1e-5)


def test_chunks_do_not_matter(run):
    one = run("--resample", "polyphase", "--json", "--chunk-s", 0.01)[1]
    other = run("--resample", "polyphase", "--json", "--chunk-s", 7)[1]
    assert one == other


def test_the_graph_with_slots(run):
    code, out, _ = run("--resample", "polyphase", "--json", "--adapters", "slots", "--precision", "fp32")
    assert code == 0
    assert json.loads(out.splitlines()[0])["adapter"] == "global"


def test_speed_is_kept(run):
    began = time.perf_counter()
    assert run("--resample", "polyphase", "--speed", SECONDS * 2)[0] == 0
    assert time.perf_counter() - began >= 0.5


def test_a_file_that_says_nothing_runs_when_the_caller_does(run, tmp_path, sample_records):
    samples = read_wfdb(sample_records / "100", channels=["MLII"]).samples[0, : 10 * 360]
    (tmp_path / "bare.csv").write_text("\n".join(f"{v:.4f}" for v in samples))
    said = ("--fs-hz", 360, "--units", "mV", "--channel", "MLII", "--resample", "polyphase")
    assert run(*said, record=tmp_path / "bare.csv")[0] == 0
    for missing, code in ((0, "sample-rate"), (2, "unit"), (4, "channels"), (6, "sample-rate")):
        kept = said[:missing] + said[missing + 2 :]
        exit_code, out, err = run(*kept, record=tmp_path / "bare.csv")
        assert (exit_code, out) == (1, "")
        assert f"error[{code}]: " in err


def fault_file(tmp_path, kind):
    path = tmp_path / ("f.npz" if kind == "truncated npz" else "f.csv")
    head = "# fs_hz: 125\n# units: mV\nMLII\n"
    if kind == "truncated npz":
        np.savez(path, samples=np.zeros((1, 999), np.float32), fs_hz=125.0, units="mV", channels=np.array(["MLII"]))
        path.write_bytes(path.read_bytes()[:500])
    else:
        texts = {
            "empty": "",
            "wrong rate": head.replace("125", "360") + "0\n" * 99,
            "wrong unit": head.replace("mV", "uV") + "0\n" * 99,
            "wrong channel": head.replace("MLII", "V5") + "0\n" * 99,
            "nan": head + "0\nnan\n",
        }
        path.write_text(texts[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("empty", "record"),
        ("nan", "record"),
        ("truncated npz", "record"),
        ("wrong rate", "sample-rate"),
        ("wrong unit", "unit"),
        ("wrong channel", "channels"),
    ],
)
def test_faulty_recordings(run, tmp_path, kind, code):
    exit_code, out, err = run(record=fault_file(tmp_path, kind))
    assert (exit_code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith(f"error[{code}]: ")
    assert "; expected " in last
    assert "Traceback" not in err


def test_absent_record_and_channel(run, tmp_path):
    assert "error[record]" in run(record=tmp_path / "absent.csv")[2]
    assert "expected one of MLII, V5" in run("--channel", "aVF")[2]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "absent", "untrusted"])
def test_faulty_bundles(run, signed, tmp_path, damage, capsys, sample_records):
    data = bytearray(signed[0].read_bytes())
    path = tmp_path / "b.physio"
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    kept = {"truncated": len(data) // 2, "empty": 0}.get(damage, len(data))
    if damage != "absent":
        path.write_bytes(data[:kept])
    if damage == "untrusted":
        make_keys(tmp_path / "other")
        trust = str(tmp_path / "other" / "public.pem")
        code = main(["run", str(sample_records / "100"), "--bundle", str(path), "--trust", trust])
        out, err = capsys.readouterr()
    else:
        code, out, err = run(bundle=path)
    assert (code, out) == (1, "")
    assert err.startswith("error[")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_stopped_run_still_sums_up(run, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("physioedge.cli.run.time.sleep", stop)
    code, _, err = run("--resample", "polyphase", "--speed", 1)
    assert code == 130
    assert "0 beats, 0 withheld" in err
    assert err.endswith("interrupted\n")


# Several sensors


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A bundle of two sensors that gives two values, its key, and a recording of three sensors."""
    folder = tmp_path_factory.mktemp("pair")
    make_keys(folder / "keys")
    key = read_private_key(folder / "keys" / "private.pem")
    contract = tiny_pair()
    write_bundle(folder / "p.physio", parts=tiny_parts(contract), files=tiny_files(contract), signing_key=key)
    save_wrist(folder / "wrist.npz")
    return folder / "p.physio", folder / "keys" / "public.pem", folder / "wrist.npz"


def wrist():
    """Samples of three sensors; the accelerometer begins half a second late, at a rate of its own."""
    rng = np.random.default_rng(0)
    t = np.arange(64 * 12) / 64
    return {
        "ppg": (64.0, "a.u.", ["pulse"], 100.0, 30 * np.sin(2 * np.pi * 1.2 * t)[None]),
        "acc": (31.25, "g", ["x", "y", "z"], 100.5, rng.normal(0, 0.1, (3, 359))),
        "eda": (4.0, "uS", ["skin"], 100.0, rng.normal(2, 0.1, (1, 48))),
    }


def save_wrist(path, without=()):
    arrays = {"subject": np.array("p7"), "name": np.array("walk")}
    for name, (fs_hz, units, channels, t0_s, samples) in wrist().items():
        if name not in without:
            arrays |= {f"{name}.samples": samples.astype(np.float32), f"{name}.fs_hz": fs_hz, f"{name}.units": units}
            arrays |= {f"{name}.channels": channels, f"{name}.t0_s": t0_s}
    np.savez(path, **arrays)


@pytest.fixture
def run_pair(pair, capsys):
    def run(*arguments, record=pair[2]):
        code = main(["run", str(record), "--bundle", str(pair[0]), "--trust", str(pair[1]), *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_several_sensors_are_streamed_on_one_clock(run_pair, pair):
    code, out, err = run_pair("--resample", "polyphase", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    with Stream(
        Bundle.open(pair[0], trust=pair[1]),
        fs_hz={"ppg": 64.0, "acc": 31.25},
        units={"ppg": "a.u.", "acc": "g"},
        resample={"acc": "polyphase"},
    ) as stream:
        expected = []
        for at in range(12):  # whole seconds, and the leading sensor last
            for name in ("acc", "ppg"):
                fs_hz, _, _, t0_s, x = wrist()[name]
                first, stop = (round((100.0 + second - t0_s) * fs_hz) for second in (at, at + 1))
                chunk = x[:, max(0, first) : stop].astype(np.float32)
                expected += stream.push(chunk, t0_s + max(0, first) / fs_hz, name)
        expected += stream.flush()
    assert [row["t_anchor_s"] for row in rows] == [round(r.t_anchor_s, 4) for r in expected]
    assert [row["flags"] for row in rows] == [list(r.flags) for r in expected]
    assert [tuple(row["values"].values()) for row in rows] == [tuple(round(v, 4) for v in r.values) for r in expected]
    judged = [row for row in rows if row["values"]]
    assert len(judged) >= 9 and list(judged[0]["values"]) == ["heart_rate", "steps"]
    assert all(row["label"] is None and row["probability"] == 0 and row["probabilities"] == {} for row in rows)
    assert "ppg: walk: pulse [a.u.] at 64 Hz" in err and "converting 31.25 Hz to 32 Hz (polyphase)" in err
    assert "eda" not in err
    assert f"{len(rows)} windows, {len(rows) - len(judged)} withheld" in err


def test_values_in_table_and_csv(run_pair):
    _, listing, _ = run_pair("--resample", "polyphase")
    lines = listing.splitlines()
    assert lines[0].split() == ["at", "s", "heart_rate", "bpm", "steps", "1/min", "quality", "delay", "ms", "flags"]
    _, text, _ = run_pair("--resample", "polyphase", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [line.split()[0] for line in lines[1:]] == [f"{float(row['t_anchor_s']):.3f}" for row in rows]
    given = [[f"{float(row[name]):.2f}" if row[name] else "-" for name in ("heart_rate", "steps")] for row in rows]
    assert [line.split()[1:3] for line in lines[1:]] == given and given[0] == ["-", "-"] and given[-1][0] != "-"


@pytest.mark.parametrize("chunk_s", [0.001, 0.1, 3, 1000])
def test_chunks_of_several_sensors_do_not_matter(run_pair, chunk_s):
    expected = run_pair("--resample", "polyphase", "--json")[1]
    assert run_pair("--resample", "polyphase", "--json", "--chunk-s", chunk_s)[1] == expected


def test_a_limit_is_one_of_time(run_pair):
    _, out, err = run_pair("--resample", "polyphase", "--json", "--limit-s", 5)
    assert len(out.splitlines()) == 5 and "(5.0 s of signal" in err
    assert "error[shape]" in run_pair("--limit-s", 1e-9)[2]


@pytest.mark.parametrize(
    ("arguments", "without", "code", "words"),
    [
        ((), (), "sample-rate", "31.25 Hz for sensor 'acc'; expected 32 Hz"),
        (("--units", "g"), (), "signal", "--fs-hz, --units or --channel"),
        (("--channel", "x"), (), "signal", "which holds several sensors"),
        ((), ("acc",), "sensor", "without sensor 'acc'; expected ppg, acc; it holds ppg, eda"),
    ],
)
def test_recordings_of_several_sensors_that_do_not_fit(run_pair, tmp_path, arguments, without, code, words):
    save_wrist(tmp_path / "w.npz", without)
    exit_code, out, err = run_pair(*arguments, record=tmp_path / "w.npz")
    assert (exit_code, out) == (1, "")
    assert f"error[{code}]: " in err and words in err


def test_one_recording_for_several_sensors(run_pair, sample_records):
    exit_code, _, err = run_pair(record=sample_records / "100")
    assert exit_code == 1 and "one recording; expected a file with the sensors ppg, acc" in err


def test_one_sensor_of_several_for_a_bundle_of_one(run, tmp_path, sample_records):
    samples = read_wfdb(sample_records / "100", channels=["MLII"]).samples[:, : 20 * 360]
    arrays = {"ecg.samples": samples, "ecg.fs_hz": 360.0, "ecg.units": "mV", "ecg.channels": ["MLII"]}
    save = {**arrays, "ppg.samples": samples, "ppg.fs_hz": 64.0, "ppg.units": "a.u.", "ppg.channels": ["pulse"]}
    np.savez(tmp_path / "both.npz", **save)
    np.savez(tmp_path / "one.npz", **{key.removeprefix("ecg."): value for key, value in arrays.items()})
    both = run("--resample", "polyphase", "--json", record=tmp_path / "both.npz")
    assert both[0] == 0 and both[1] == run("--resample", "polyphase", "--json", record=tmp_path / "one.npz")[1]
