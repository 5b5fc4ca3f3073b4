"""Workers: what they import, and how they and the run take failures."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from physioedge.bench import measure as measuring
from physioedge.bench.arms import Arm, bundle_arms
from physioedge.bench.measure import measure
from physioedge.bench.measured import LeftOut
from physioedge.bench.preset import Subject
from physioedge.bench.process import Worker
from physioedge.cli.console import SHIPPED_RECORD
from physioedge_export.pack import write_bundle
from physioedge_runtime import Bundle
from physioedge_runtime.__main__ import SHIPPED_BUNDLE
from physioedge_runtime.bundle.signing import make_keys, read_private_key
from physioedge_runtime.engine.native.library import FOLDER_VARIABLE
from physioedge_runtime.errors import EngineError
from tiny_bundle import tiny_contract, tiny_files, tiny_parts

HEAVY = ("onnxruntime", "torch", "executorch", "scipy", "onnx")


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A bundle of some kilobytes and the file of its key."""
    folder = tmp_path_factory.mktemp("b")
    make_keys(folder / "keys")
    contract = tiny_contract(context=249, window=800, lookahead=75)
    key = read_private_key(folder / "keys" / "private.pem")
    write_bundle(folder / "t.physio", parts=tiny_parts(contract), files=tiny_files(contract), signing_key=key)
    trust = str(folder / "keys" / "public.pem")
    return Bundle.open(folder / "t.physio", trust=trust), trust


def test_the_worker_itself_imports_nothing_heavy():
    names = (*HEAVY, "numpy")
    code = f"import sys, physioedge.bench.worker; sys.exit(','.join(n for n in {names} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.usefixtures("engine_here")
@pytest.mark.parametrize("name", ["ours_int8", "ours_et_int8"])
def test_our_engines_import_only_their_own(name, tmp_path):
    bundle = Bundle.open(SHIPPED_BUNDLE)
    arm = next((arm for arm in bundle_arms(bundle, None) if arm.name == name), None)
    if arm is None:
        pytest.skip(f"the shipped bundle holds no graph for {name}")
    np.save(tmp_path / "w.npy", bundle.golden()["signal"])
    with Worker(arm, tmp_path / "w.npy") as worker:
        facts = worker.ask("facts")
        assert facts["imported"] == (["onnxruntime"] if name == "ours_int8" else [])
        assert facts["engine"].startswith("onnxruntime" if name == "ours_int8" else "executorch")
        assert 20 < worker.ask("memory")["peak_rss_mb"] < 200


def as_subject(bundle, trust, arms, left_out=()):
    windows = bundle.golden()["signal"]
    return Subject(bundle=bundle, group="tiny", weights="made up", arms=arms, left_out=list(left_out), windows=windows,
                   source="golden")  # fmt: skip


def test_an_arm_that_fails_is_left_out_and_the_others_go_on(signed, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "STARTS", 1)
    monkeypatch.setattr(measuring, "STREAM_PASSES", (1, 1))
    bundle, trust = signed
    arms = bundle_arms(bundle, trust)
    broken = Arm(name="ort_fp32", kind="onnx", path=str(tmp_path / "none.onnx"))
    unbuilt = Arm(name="ours_et_int8", kind="bundle", path=str(bundle.path), trust=trust, engine="executorch",
                  precision="int8", adapters="merged")  # fmt: skip
    gone = LeftOut("torch_eager", "without torch")
    bench = measure(as_subject(bundle, trust, [broken, unbuilt, *arms], [gone]), SHIPPED_RECORD, rounds=2, progress=str)
    reasons = {left.arm: left.reason for left in bench.left_out}
    assert set(bench.measured) == {"ours_int8", "ours_fp32"}
    assert reasons["torch_eager"] == "without torch" and "none.onnx" in reasons["ort_fp32"]
    assert "executorch" in reasons["ours_et_int8"]
    found = bench.measured["ours_int8"]
    assert [len(times) for times in found.rounds] == [20, 20] and found.ready_ms > found.load_ms > found.verify_ms > 0
    assert found.streamed is not None and found.streamed.passes == 1 and found.streamed.judged > 100
    assert found.streamed.total_ms == pytest.approx(found.streamed.engine_ms + found.streamed.overhead_ms, rel=0.2)
    assert found.streamed.overhead_share > 0 and found.streamed.real_time_factor > 10
    assert bench.work is None and bench.ceilings is None and bench.measured["ours_fp32"].streamed is None


def test_an_engine_that_is_not_built_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "nothing"))
    bundle = Bundle.open(SHIPPED_BUNDLE)
    arm = next((arm for arm in bundle_arms(bundle, None) if arm.engine == "executorch"), None)
    if arm is None:
        pytest.skip("the shipped bundle holds no ExecuTorch graph")
    np.save(tmp_path / "w.npy", bundle.golden()["signal"])
    with pytest.raises(EngineError, match="physioedge engines build"):
        Worker(arm, tmp_path / "w.npy")


class Dying:
    """Stands for a worker whose arm fails in a later round."""

    def __init__(self, arm):
        self.arm, self.asked, self.closed = arm, 0, False

    def ask(self, command, *arguments):
        self.asked += 1
        if self.asked > 2:
            raise EngineError("an arm, which failed (out of memory)", "an arm that runs", "See the reason.")
        return [1.0]

    def close(self):
        self.closed = True


def test_an_arm_that_fails_in_a_later_round_is_dropped_alone():
    with ExitStack() as stack:
        run = measuring._Run([], Path("none"), stack, str, [])
        steady, dying = Dying(Arm(name="a", kind="onnx", path="")), Dying(Arm(name="b", kind="onnx", path=""))
        steady.asked = -1000
        run.workers = {"a": steady, "b": dying}
        run._times = {"a": [], "b": []}
        run.rounds(5)
    assert list(run.workers) == ["a"] and len(run._times["a"]) == 5 and dying.closed
    assert [(left.arm, "out of memory" in left.reason) for left in run.left_out] == [("b", True)]


def test_a_worker_goes_on_after_a_command_that_fails(signed, tmp_path):
    bundle, trust = signed
    np.save(tmp_path / "w.npy", bundle.golden()["signal"])
    with Worker(bundle_arms(bundle, trust)[0], tmp_path / "w.npy") as worker:
        with pytest.raises(EngineError, match="ours_int8"):
            worker.ask("stream", str(tmp_path / "none.npy"), 125.0, "mV", 0.25)
        assert len(worker.ask("round", 3)) == 3


def test_ceilings_come_from_a_worker_with_one_thread(tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="the export extra is not installed")
    from physioedge.bench import ceilings
    from physioedge.bench.work import Work

    monkeypatch.setattr(ceilings, "SIDES", (64,))
    ceilings.write_ceiling_graphs(tmp_path / "graphs")
    work = Work(macs_by_part={"linear": 1}, linear_weights=400_000, other_weights=0, activations=0)
    np.save(tmp_path / "windows.npy", np.zeros((1, 1, 4), np.float32))
    found = measuring._ceilings(tmp_path / "graphs", tmp_path, work, str)
    assert found is not None and found.cache_mb == 0.4 and found.int8_gops > 0.05
    assert measuring._ceilings(tmp_path / "nowhere", tmp_path, work, str) is None  # no graphs there
    assert measuring._ceilings(None, tmp_path, None, str) is None


@pytest.mark.parametrize(("slow_s", "starts"), [(1e9, 3), (0.0, 1)])
def test_a_slow_arm_starts_once(signed, tmp_path, monkeypatch, slow_s, starts):
    bundle, trust = signed
    np.save(tmp_path / "w.npy", bundle.golden()["signal"])
    started = []

    class Counted(Worker):
        def __init__(self, arm, windows):
            started.append(arm.name)
            super().__init__(arm, windows)

    monkeypatch.setattr(measuring, "Worker", Counted)
    monkeypatch.setattr(measuring, "SLOW_START_S", slow_s)
    with ExitStack() as stack:
        run = measuring._Run(bundle_arms(bundle, trust)[:1], tmp_path / "w.npy", stack, str, [])
        run.start()
        assert started == ["ours_int8"] * starts and list(run.workers) == ["ours_int8"]
