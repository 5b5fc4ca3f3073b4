"""The folder for a board: it runs with numpy and onnxruntime alone, and refuses what computes wrongly there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made_up_runs import measured, run
from physioedge.bench import pack as packing
from physioedge.bench.arms import Arm, bundle_arms
from physioedge.bench.document import read
from physioedge.bench.measured import LeftOut
from physioedge.bench.pack import pack
from physioedge.bench.pack_board import refused
from physioedge.bench.preset import Subject
from physioedge.bench.windows import real_windows
from physioedge.cli.console import SHIPPED_RECORD
from physioedge.cli.main import main
from physioedge_export.pack import write_bundle
from physioedge_runtime import Bundle
from physioedge_runtime.bundle.signing import make_keys, read_private_key
from physioedge_runtime.errors import EvaluationRefused, SignatureInvalid
from tiny_bundle import tiny_contract, tiny_files, tiny_model, tiny_parts

# what a board has not; and what is installed here under our own name
BLOCKER = """
import sys
from importlib.machinery import PathFinder
class Board:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {"nacl", "torch", "onnx", "executorch", "scipy", "matplotlib", "safetensors"}:
            return None
        spec = PathFinder.find_spec(name, path)
        ours = top.startswith("physioedge")
        return spec if not ours or spec is None or (spec.origin or "").startswith(FOLDER) else None
sys.meta_path[:] = [Board if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A tiny bundle with the real window, a plain graph of the same weights, and one arm no board can run."""
    folder = tmp_path_factory.mktemp("subject")
    make_keys(folder / "keys")
    contract = tiny_contract(context=249, window=800, lookahead=75)
    key = read_private_key(folder / "keys" / "private.pem")
    write_bundle(folder / "t.physio", parts=tiny_parts(contract), files=tiny_files(contract), signing_key=key)
    trust = str(folder / "keys" / "public.pem")
    bundle = Bundle.open(folder / "t.physio", trust=trust)
    (folder / "ort_fp32.onnx").write_bytes(tiny_model(contract, slots=False).SerializeToString())
    windows, source = real_windows(bundle, SHIPPED_RECORD)
    arms = [
        *bundle_arms(bundle, trust),
        Arm(name="ort_fp32", kind="onnx", path=str(folder / "ort_fp32.onnx")),
        Arm(name="torch_eager", kind="torch", path="x"),
        Arm(name="ours_et_int8", kind="bundle", path=str(bundle.path), trust=trust, engine="executorch",
            precision="int8", adapters="merged"),
    ]  # fmt: skip
    return Subject(bundle=bundle, group="tiny", weights="made up", arms=arms, windows=windows, source=source,
                   left_out=[LeftOut(arm="torch_compile", reason="without a compiler")])  # fmt: skip


@pytest.fixture(scope="module")
def packed(subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("board") / "pack"
    found = pack(folder, [subject], SHIPPED_RECORD, engine_dir=None, progress=lambda text: None)
    return folder, found


def on_a_board(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -I run.py`` where the pack's own modules, numpy and onnxruntime are all there is, workers included."""
    blocker = f"FOLDER = {str(folder)!r}\n{BLOCKER}"
    (folder / "sitecustomize.py").write_text(blocker)  # the workers find it by PYTHONPATH
    start = f"import runpy, sys\nsys.argv = ['run.py', *{arguments!r}]\n"
    start += f"runpy.run_path({str(folder / 'run.py')!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-I", "-c", blocker + start], cwd=folder, capture_output=True, text=True, timeout=300
    )  # fmt: skip


def test_a_pack_says_what_is_in_it(packed):
    folder, found = packed
    assert found["arms"] == ["tiny/ours_int8", "tiny/ours_fp32", "tiny/ort_fp32"]
    assert "torch" in found["left_out"]["tiny/torch_eager"]
    assert "--engine-dir" in found["left_out"]["tiny/ours_et_int8"]
    listed = json.loads((folder / "pack.json").read_text())
    on_disk = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"pack.json", "sitecustomize.py"}
    assert set(listed["files"]) == on_disk
    for name, digest in listed["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert not [name for name in on_disk if name.endswith((".pem", ".pyc")) or name.startswith("/")]
    assert str(Path.home()) not in (folder / "pack.json").read_text()


def test_it_runs_without_anything_but_numpy_and_onnxruntime(packed, tmp_path):
    folder, _ = packed
    done = on_a_board(folder, "--rounds", "2", "--out", str(tmp_path / "board.json"))
    assert done.returncode == 0, done.stderr[-2000:]
    speed = read(tmp_path / "board.json")
    by = {(row["arm"], row["metric"]): row["value"] for row in speed["rows"]}
    for arm in ("ours_int8", "ours_fp32", "ort_fp32"):
        assert by[arm, "p50_ms"] > 0 and by[arm, "peak_rss_mb"] > 20
    assert by["ours_int8", "stream_per_result_ms"] > 0 and by["ours_int8", "speedup_over_ort_fp32"] > 0
    facts = speed["groups"]["tiny"]
    assert facts["checks"]["ort_fp32"]["difference"] <= facts["checks"]["ort_fp32"]["limit"]
    assert set(facts["checks"]) == {"ours_int8", "ours_fp32", "ort_fp32"}
    assert set(facts["left_out"]) == {"torch_eager", "torch_compile", "ours_et_int8"}
    assert "ours_int8" in done.stdout and "board.json" in done.stdout


@pytest.mark.parametrize("isolated", [True, False], ids=["launcher", "worker"])
def test_the_board_of_these_tests_really_lacks_what_is_installed_here(packed, isolated):
    folder, _ = packed
    blocker = f"FOLDER = {str(folder)!r}\n{BLOCKER}"
    (folder / "sitecustomize.py").write_text(blocker)
    ask = "from importlib.util import find_spec\n"
    ask += "print([n for n in ('nacl', 'onnx', 'physioedge', 'physioedge_export', 'numpy') if find_spec(n)])"
    how = ["-I", "-c", blocker + ask] if isolated else ["-c", ask]
    done = subprocess.run([sys.executable, *how], env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True,
                          text=True, timeout=60, check=True)  # fmt: skip
    assert done.stdout.strip() == ("['numpy']" if isolated else "['physioedge', 'numpy']")


def test_what_comes_back_is_read_compared_and_shown(packed, tmp_path, capsys):
    folder, _ = packed
    out = tmp_path / "board.json"
    assert on_a_board(folder, "--rounds", "1", "--out", str(out)).returncode == 0
    assert main(["bench", "--read", str(out), "--compare", str(out), "--html", str(tmp_path / "b.html"),
                 "--fail-if", "p50_ms>+1%"]) == 0  # fmt: skip
    assert "ours_int8" in capsys.readouterr().out and "<svg" in (tmp_path / "b.html").read_text()


def test_a_graph_that_computes_wrongly_there_is_refused_with_its_figure(packed, tmp_path):
    """Weights of the plain graph are changed after packing, with its digest, as a wrong kernel would change results."""
    folder, _ = packed
    copy = tmp_path / "pack"
    subprocess.run(["cp", "-r", str(folder), str(copy)], check=True)
    graph = copy / "tiny" / "ort_fp32.onnx"
    data = bytearray(graph.read_bytes())
    at = data.index(np.float32(tiny_weight()).tobytes())
    data[at : at + 4] = np.float32(tiny_weight() + 50).tobytes()
    graph.write_bytes(data)
    done = on_a_board(copy, "--rounds", "1", "--out", str(tmp_path / "a.json"))
    assert done.returncode == 1 and "ort_fp32.onnx" in done.stderr  # its digest gives it away first
    listed = json.loads((copy / "pack.json").read_text())
    listed["files"]["tiny/ort_fp32.onnx"] = hashlib.sha256(data).hexdigest()
    (copy / "pack.json").write_text(json.dumps(listed))
    done = on_a_board(copy, "--rounds", "1", "--out", str(tmp_path / "a.json"))
    assert done.returncode == 0, done.stderr
    speed = read(tmp_path / "a.json")
    assert "refused" in speed["groups"]["tiny"]["left_out"]["ort_fp32"]
    assert not [row for row in speed["rows"] if row["arm"] == "ort_fp32"]


def tiny_weight() -> np.float32:
    """One weight of the plain graph."""
    from tiny_bundle import tiny_weights

    return tiny_weights(tiny_contract(context=249, window=800, lookahead=75))["h"][3, 1]


def test_refusal_knows_nan_too():
    bench = run(ours_int8=1.0, ort_fp32=2.0)
    bench.measured["ours_int8"] = measured("ours_int8", 1.0, logits=[[float("nan"), 0.0]])
    expected = {name: {"logits": [[0.0, 0.0]], "limit": 0.1} for name in bench.measured}
    kept, checks = refused(bench, expected)
    assert set(kept.measured) == {"ort_fp32"} and checks["ort_fp32"] == {"difference": 0.0, "limit": 0.1}
    assert [gone.arm for gone in kept.left_out][-1] == "ours_int8"


def test_a_bundle_is_opened_by_its_digest(subject):
    pin = f"sha256:{subject.bundle.digest}"
    opened = Bundle.open(subject.bundle.path, trust=pin)
    assert opened.digest == subject.bundle.digest and opened.key_id == pin
    with pytest.raises(SignatureInvalid, match="pinned"):
        Bundle.open(subject.bundle.path, trust="sha256:" + "0" * 64)


def test_a_folder_in_use_and_a_missing_engine_are_refused(subject, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(EvaluationRefused, match="empty"):
        pack(tmp_path, [subject], SHIPPED_RECORD, engine_dir=None, progress=lambda text: None)
    with pytest.raises(EvaluationRefused, match="engines build"):
        pack(tmp_path / "new", [subject], SHIPPED_RECORD, engine_dir=tmp_path, progress=lambda text: None)


def test_an_engine_for_the_board_goes_along(subject, tmp_path, monkeypatch):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / packing.LIBRARY).write_bytes(b"of another processor")
    only = replace(subject, arms=[arm for arm in subject.arms if arm.kind == "bundle"])
    found = pack(tmp_path / "pack", [only], SHIPPED_RECORD, engine_dir=tmp_path / "engine", progress=lambda text: None)
    assert "tiny/ours_et_int8" in found["arms"]
    assert (tmp_path / "pack" / "engine" / packing.LIBRARY).read_bytes() == b"of another processor"


def test_the_launcher_names_what_is_missing(packed):
    folder, _ = packed
    code = "import sys, runpy; sys.modules['onnxruntime'] = None\n"
    code += f"runpy.run_path({str(folder / 'run.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "pip install numpy onnxruntime" in done.stderr and "Traceback" not in done.stderr
