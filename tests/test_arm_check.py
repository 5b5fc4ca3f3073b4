"""The emulated Arm check, without an emulator: options, tools, the cache, and what is concluded from findings."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge import results
from physioedge.cli.console import SHIPPED_BUNDLE, SHIPPED_RECORD
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError, RecordError

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from arm_check import __main__ as command
from arm_check import commands, emulator, guest, reference, report, system
from arm_check.emulator import Cpu
from arm_check.system import Debian, System

EXACT, INEXACT = Cpu("cortex-a53"), Cpu("max", exact=False)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(SHIPPED_BUNDLE)


@pytest.fixture
def cache(tmp_path) -> System:
    made = System(folder=tmp_path / "cache")
    system.make_folder(made)
    return made


def graph_part(file="graphs/merged.int8.onnx", **changes):
    parts = {"file": file, "engine": "onnxruntime", "precision": "int8", "adapters": "merged", "tolerance": 0.2,
             "golden": True, "message": "", "logits": [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]]}  # fmt: skip
    return {**parts, **changes}


def request_part(took="graphs/merged.int8.onnx", refused=(), labels=("N", None, "V")):
    return {"file": "graphs/merged.int8.onnx", "engine": "onnxruntime", "precision": "int8", "adapters": "merged",
            "took": took, "refused": list(refused), "labels": list(labels)}  # fmt: skip


def judged(there, asked, cpu=EXACT):
    here = {"graphs": [graph_part(p["file"]) for p in there], "requests": [request_part(p["file"]) for p in there]}
    found = {"graphs": there, "requests": [asked]}
    graphs, requests = report.compare(cpu.model, found, here), report.requests(cpu.model, found, here)
    return graphs, requests, report.faults(cpu, graphs, requests)


def test_options():
    args = command.parser().parse_args(["--cpu", "max", "--cpu", "cortex-a53", "--windows", "7"])
    assert args.cpu == ["max", "cortex-a53"] and args.windows == 7 and args.bundle == SHIPPED_BUNDLE
    assert command.parser().parse_args([]).windows >= 100


@pytest.mark.parametrize("argv", [["--windows", "0"], ["--windows", "x"], ["--fast"]])
def test_wrong_options_are_a_usage_error(argv):
    with pytest.raises(SystemExit) as stopped:
        command.main(argv)
    assert stopped.value.code == 2


def test_the_cache_lies_where_one_says(monkeypatch, tmp_path):
    monkeypatch.delenv(command.FOLDER_VARIABLE, raising=False)
    assert command.cache_folder(None) == command.REPOSITORY / ".arm"
    monkeypatch.setenv(command.FOLDER_VARIABLE, str(tmp_path / "a"))
    assert command.cache_folder(None) == tmp_path / "a"
    assert command.cache_folder(tmp_path / "b") == tmp_path / "b"


def test_missing_tools_are_named_with_their_packages(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(commands.shutil, "which", lambda *args, **kwargs: None)
    assert command.main(["--dir", str(tmp_path / "cache")]) == 1
    said = capsys.readouterr().err
    assert "error[missing-extra]: no qemu-aarch64-static, aarch64-linux-gnu-g++, debootstrap" in said
    assert "apt-get install debootstrap dpkg " in said and "g++-aarch64-linux-gnu qemu-user-static" in said
    assert not (tmp_path / "cache").exists()


def test_a_failed_program_is_quoted(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(PhysioEdgeError, match=r"the thing that failed with code 3 \(no such mirror\)"):
        commands.run([sys.executable, "-c", "import sys; print('no such mirror'); sys.exit(3)"], what="the thing",
                     do="Look.", log=log)  # fmt: skip
    assert log.read_text() == "no such mirror\n"
    with pytest.raises(PhysioEdgeError, match=r"unfinished after 0.2 s"):
        commands.run([sys.executable, "-c", "import time; time.sleep(9)"], what="it", do="Wait.", timeout_s=0.2)
    with pytest.raises(PhysioEdgeError, match="cannot start"):
        commands.run([tmp_path], what="it", do="Look.")


def test_the_emulated_processor_is_described_as_an_arm_one(cache):
    cache.root.mkdir()
    emulator.identify(cache, emulator.cpu_named("cortex-a76"))
    lines = (cache.root / "proc" / "cpuinfo").read_text().splitlines()
    assert "CPU part\t: 0xd0b" in lines and "CPU implementer\t: 0x41" in lines
    assert [line for line in lines if line.startswith("Hardware")] == ["Hardware\t: cortex-a76 (emulated by qemu-user)"]
    emulator.identify(cache, emulator.cpu_named("a64fx"))  # one that only qemu knows
    assert "a64fx" in (cache.root / "proc" / "cpuinfo").read_text()


def test_nothing_of_this_python_reaches_the_other(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/elsewhere")
    found = emulator.environment([tmp_path / "a", tmp_path / "b"], tmp_path / "engine")
    assert "/elsewhere" not in found.values() and found["PYTHONPATH"] == f"{tmp_path / 'a'}:{tmp_path / 'b'}"
    assert found["PHYSIOEDGE_ENGINE_DIR"] == str(tmp_path / "engine") and found["OMP_NUM_THREADS"] == "1"


def wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("executorch/lib/a.so", "executorch/big.bin", "executorch-1.dist-info/LICENSE"):
            archive.writestr(name, name)
    return path


def test_only_the_parts_asked_for_are_unpacked(tmp_path):
    target = tmp_path / "site"
    system.unpack(wheel(tmp_path / "a.whl"), target, ("executorch/lib/", "executorch-"))
    files = sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())
    assert files == [".ready", "executorch-1.dist-info/LICENSE", "executorch/lib/a.so"]


def test_a_broken_wheel_leaves_nothing(tmp_path):
    whole = wheel(tmp_path / "a.whl").read_bytes()
    (tmp_path / "a.whl").write_bytes(whole.replace(b"executorch/big.bin", b"executorch/bIg.bin", 1))
    with pytest.raises(zipfile.BadZipFile):
        system.unpack(tmp_path / "a.whl", tmp_path / "site")
    assert [p.name for p in tmp_path.iterdir()] == ["a.whl"]


def test_a_package_is_fetched_once(monkeypatch, cache):
    calls = []

    def pip(arguments, **kwargs):
        calls.append([str(a) for a in arguments])
        if len(calls) == 1:
            raise PhysioEdgeError("a lost connection", "the index", "Try again.")
        folder = Path(arguments[arguments.index("--dest") + 1])
        folder.mkdir()
        wheel(folder / "x.whl")
        return ""

    (cache.root / "usr" / "bin").mkdir(parents=True)
    (cache.root / "usr" / "bin" / "python3.12").touch()
    monkeypatch.setattr(system, "run", pip)
    with pytest.raises(PhysioEdgeError, match="lost connection"):
        system.make_site(cache, "numpy")
    first = system.make_site(cache, "numpy")
    assert system.make_site(cache, "numpy") == first and len(calls) == 2
    assert f"numpy=={np.__version__}" in calls[1] and "--python-version=3.12" in calls[1]
    assert "--platform=manylinux_2_28_aarch64" in calls[1] and not any("://" in part for part in calls[1])
    with pytest.raises(MissingExtra, match="no nosuchpackage here"):
        system.make_site(cache, "nosuchpackage")


def test_the_root_is_made_once_and_never_half(monkeypatch, cache):
    calls = []

    def fake(arguments, **kwargs):
        calls.append([str(a) for a in arguments])
        if "dpkg" not in calls[-1][0]:
            place = cache.folder / "root.part" / "var" / "cache" / "apt" / "archives"
            place.mkdir(parents=True, exist_ok=True)
            (place / "python.deb").touch()
        elif len(calls) == 2:
            raise PhysioEdgeError("a full disk", "room", "Make room.")
        return ""

    monkeypatch.setattr(system, "run", fake)
    monkeypatch.setattr(system, "need", lambda tools: None)
    debian = Debian(suite="trixie", mirror="file:///mirror")
    with pytest.raises(PhysioEdgeError, match="full disk"):
        system.make_root(cache, debian)
    assert not cache.root.exists()
    assert system.make_root(cache, debian) and cache.root.is_dir()
    assert not system.make_root(cache, debian) and len(calls) == 4
    assert calls[0][-3:] == ["trixie", str(cache.folder / "root.part"), "file:///mirror"]
    assert "--arch=arm64" in calls[0] and f"--cache-dir={cache.folder / 'fetched'}" in calls[0]
    assert sorted(p.name for p in cache.folder.iterdir()) == [".gitignore", "root", "site"]


def test_git_passes_the_cache_over(cache):
    assert (cache.folder / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("engine", "precision", "adapters", "arm"),
    [
        ("onnxruntime", "int8", "merged", "ours_int8"),
        ("onnxruntime", "int8", "slots", "ours_slots"),
        ("onnxruntime", "int8_static", "merged", "ours_int8_static"),
        ("onnxruntime", "int8_static", "slots", "ours_slots_int8_static"),
        ("executorch", "fp32", "merged", "ours_et_fp32"),
        ("executorch", "int8", "slots", "ours_et_slots"),
    ],
)
def test_arms_are_named_as_in_the_bench(engine, precision, adapters, arm):
    assert report.arm_of({"engine": engine, "precision": precision, "adapters": adapters}) == arm


def test_equal_findings_are_no_fault():
    graphs, requests, faults = judged([graph_part()], request_part())
    assert faults == [] and graphs[0].right and graphs[0].same_label == 1.0 and not requests[0].fell_back


@given(shift=st.floats(-5, 5).filter(lambda x: abs(abs(x) - 0.2) > 1e-6), cpu=st.sampled_from([EXACT, INEXACT]))
def test_a_wrong_graph_that_passes_is_a_fault_on_every_processor(shift, cpu):
    logits = np.add(graph_part()["logits"], [[shift, 0, 0]]).tolist()
    graphs, _, faults = judged([graph_part(logits=logits)], request_part(), cpu)
    assert graphs[0].logit_difference == pytest.approx(abs(shift), abs=1e-9)
    assert graphs[0].right == (abs(shift) <= 0.2) == (faults == [])
    assert all("passes its golden vectors" in fault for fault in faults)


def test_a_refused_graph_is_a_fault_only_where_the_processor_is_exact():
    wrong = graph_part(golden=False, message="logits off by 8", logits=[[0.0, 8.0, 0.0], [0.0, 3.0, 0.0]])
    other = graph_part("graphs/merged.int8_static.onnx")
    asked = request_part(other["file"], ["graphs/merged.int8.onnx: off by 8"])
    graphs, requests, faults = judged([wrong, other], asked, INEXACT)
    assert faults == [] and requests[0].fell_back and graphs[0].same_label == 0.5
    assert "logits off by 8" in judged([wrong, other], asked, EXACT)[2][0]


def test_a_stream_without_a_graph_is_a_fault_where_one_holds():
    wrong = graph_part(golden=False, message="off")
    nothing = request_part("", ["off"], ())
    assert judged([wrong], nothing, INEXACT)[2] == []
    assert "got no graph" in judged([wrong, graph_part("b.onnx")], nothing, INEXACT)[2][0]
    assert report.request_cells(judged([wrong], nothing, INEXACT)[1][0])[2] == "nothing: every form is refused"


def test_other_labels_of_a_stream_are_a_fault():
    assert "33.3% other labels" in judged([graph_part()], request_part(labels=("S", "S", "V")))[2][0]
    assert "100.0% other labels" in judged([graph_part()], request_part(labels=("N",)))[2][0]  # fewer beats


def test_a_label_withheld_on_one_side_counts_but_is_no_fault():
    _, requests, faults = judged([graph_part()], request_part(labels=(None, "S", "V")))
    assert requests[0].same_label == pytest.approx(1 / 3) and faults == []


def test_a_graph_that_does_not_load_is_refused():
    part = {k: v for k, v in graph_part().items() if k not in ("golden", "message", "logits")} | {"error": "no engine"}
    graphs, requests, faults = judged([part], request_part())
    assert "is refused: no engine" in faults[0] and report.graph_cells(graphs[0])[2:] == ("refused", "-", "0.0%")
    assert {row.metric for row in report.rows("t", graphs, requests)} == {
        "golden_holds", "fallback", "stream_same_label"
    }  # fmt: skip


def test_rows_read_back(tmp_path):
    graphs, requests, _ = judged([graph_part()], request_part())
    rows = report.rows("arrhythmia", graphs, requests)
    results.write(tmp_path / "arm.json", "make arm", rows)
    assert results.read(tmp_path / "arm.json") == rows
    values = {(row.arm, row.group, row.metric): (row.value, row.n) for row in rows}
    assert values["ours_int8", "cortex-a53", "golden_holds"] == (1.0, 2)
    assert values["ours_int8", "cortex-a53", "logit_difference"] == (0.0, 2)
    assert values["ours_int8", "cortex-a53", "fallback"] == (0.0, 3)


def test_windows_come_from_every_recording(bundle, sample_records, tmp_path):
    recordings = [SHIPPED_RECORD, sample_records / "232.hea"]
    assert reference.write_inputs(tmp_path / "i.npz", bundle, recordings, 9) == 9
    with np.load(tmp_path / "i.npz") as file:
        windows = file["windows"]
        assert windows.dtype == np.float32 and windows.shape[1:] == (1, bundle.contract.window.input_samples)
        assert len(np.unique(windows.reshape(9, -1), axis=0)) == 9 and str(file["units"]) == "mV"
    with pytest.raises(RecordError, match="Ask for fewer"):
        reference.windows_of(bundle, [SHIPPED_RECORD], 10**6)


def test_this_machine_is_checked_as_the_other(bundle, tmp_path):
    """The program that runs in the emulator runs here, where every golden vector of onnxruntime holds."""
    reference.write_inputs(tmp_path / "i.npz", bundle, [SHIPPED_RECORD], 3)
    here = reference.run_here(SHIPPED_BUNDLE, tmp_path / "i.npz", tmp_path / "here.json")
    graphs = [part for part in here["graphs"] if part["engine"] == "onnxruntime"]
    assert graphs and all(part["golden"] and np.shape(part["logits"]) == (3, 3) for part in graphs)
    asked = [part for part in here["requests"] if part["engine"] == "onnxruntime"]
    assert asked and all(part["took"] and not part["refused"] and part["labels"] for part in asked)
    assert json.dumps(here).count(bundle.digest) == 1


def test_a_wrong_engine_is_shown_with_what_it_computes(bundle, monkeypatch):
    class Wrong(guest.OrtEngine):
        def run(self, window, adapter=None):
            logits, embedding = super().run(window, adapter)
            return logits + 1, embedding

    monkeypatch.setattr(guest, "OrtEngine", Wrong)
    entry = bundle.graph("onnxruntime", "int8", "merged")
    windows = bundle.golden()["signal"][:2]
    found = guest.graph(bundle, entry, windows)
    assert not found["golden"] and "off by 1" in found["message"] and entry.file in found["message"]
    expected = bundle.golden()[f"{entry.file}/logits"][:2] + 1
    assert np.allclose(found["logits"], expected, atol=entry.tolerance_logits)


@pytest.mark.slow
def test_the_real_thing(tmp_path):
    """On an emulated Cortex-A53 everything holds; on ``max`` what is refused is replaced."""
    place = System(folder=command.cache_folder(None))
    missing = [tool for tool in (commands.EMULATOR, commands.COMPILER) if commands.find(tool) is None]
    if missing or not (place.root / ".ready").exists():
        pytest.skip(f"no {', '.join(missing) or place.root}: `make arm` says what to install, and makes the rest")
    said: list[str] = []
    argv = ["--cpu", "cortex-a53", "--cpu", "max", "--windows", "8", "--out", str(tmp_path / "arm.json")]
    assert command.main(argv, said.append) == 0, said
    rows = {(row.arm, row.group, row.metric): row.value for row in results.read(tmp_path / "arm.json")}
    assert rows["ours_int8", "cortex-a53", "golden_holds"] == rows["ours_et_int8", "cortex-a53", "golden_holds"] == 1
    assert rows["ours_int8", "max", "fallback"] == 1 - rows["ours_int8", "max", "golden_holds"]
    assert rows["ours_int8_static", "max", "golden_holds"] == 1
