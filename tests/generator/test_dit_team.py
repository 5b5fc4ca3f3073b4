"""Fitting a generator: killed and gone on with, and in several processes; the loss is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_dit import TINY, made_up

from physioedge.generator.dit.fitting import fitted_with_history
from physioedge.training.team import Team
from physioedge_runtime.errors import PhysioEdgeError

STEPS = 40
FIT = """
import json, sys, time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
import torch
from physioedge.generator.dit import fitting
from test_dit import TINY, made_up

out, checkpoint, slow_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
torch.set_num_threads(1)
standardised = fitting.standardised
def slowly(*args):
    time.sleep(slow_s)
    return standardised(*args)
fitting.standardised = slowly
fitting.LoopConfig = partial(fitting.LoopConfig, save_every_s=-1.0)
config = replace(TINY, steps=%d, averaging=0.9, learning_rate=1e-2)
dit, history = fitting.fitted_with_history(made_up(), config, seed=1, checkpoint=checkpoint, progress=False)
team = fitting.Team()
if team.leads:
    weights = torch.nn.utils.parameters_to_vector(dit.network.parameters()).tolist()
    said = {"loss": history.loss, "step": history.step, "weights": weights, "processes": team.size}
    out.write_text(json.dumps(said))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}


def alone(folder: Path, checkpoint: str, out: str, slow_s: float = 0.0) -> subprocess.Popen[bytes]:
    script = folder / "fit.py"
    script.write_text(FIT % STEPS)
    words = [sys.executable, str(script), str(folder / out), str(folder / checkpoint), str(slow_s)]
    return subprocess.Popen(words, env=environment())


def said(folder: Path, out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / out).read_text())
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A fit that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    with alone(folder, "a.pt", "a.json") as child:
        assert child.wait() == 0
    return said(folder, "a.json")


def test_a_killed_fit_goes_on_with_identical_losses_and_weights(tmp_path: Path, whole: dict[str, Any]) -> None:
    child = alone(tmp_path, "b.pt", "b.json", slow_s=0.05)
    until_s = time.monotonic() + 400
    try:
        while not (tmp_path / "b.pt").exists() and time.monotonic() < until_s:
            time.sleep(0.01)
        time.sleep(0.3)
    finally:
        child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and not (tmp_path / "b.json").exists()
    assert 0 < torch.load(tmp_path / "b.pt", weights_only=True)["step"] < STEPS
    with alone(tmp_path, "b.pt", "b.json") as child:
        assert child.wait() == 0
    assert said(tmp_path, "b.json") == whole


def test_two_processes_fit_what_one_fits(tmp_path: Path, whole: dict[str, Any]) -> None:
    script = tmp_path / "fit.py"
    script.write_text(FIT % STEPS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(tmp_path / "c.json"), str(tmp_path / "c.pt"), "0"],
        env=environment(), capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = said(tmp_path, "c.json")
    assert found["processes"] == 2 and whole["processes"] == 1
    assert found["step"] == whole["step"]
    np.testing.assert_allclose(found["loss"], whole["loss"], rtol=1e-4)
    np.testing.assert_allclose(found["weights"], whole["weights"], atol=1e-3)
    assert found["weights"] != whole["weights"]  # it was another sum of the same numbers


def test_the_module_is_given_back_as_it_was() -> None:
    team, network = Team(), torch.nn.Linear(3, 2)
    assert team.release(team.prepare(network)) is network
    assert "_original_forward" not in vars(network) and network.weight.device.type == "cpu"


HALF = """
from dataclasses import replace
import torch
from physioedge.generator.dit import fitting
from physioedge.training.team import Team
from test_dit import TINY, made_up

plain = torch.nn.Linear(64, 64)
team, x = Team(bf16=True), torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
wanted = plain(x)
prepared = team.prepare(plain)
made = prepared(x)
assert made.dtype == torch.float32 and 1e-5 < (made - wanted).abs().max() < 0.05
assert plain.weight.dtype == torch.float32
assert team.release(prepared) is plain and torch.equal(plain(x), wanted)
fitting.Team = lambda: team
config = replace(TINY, steps=20)
dit, history = fitting.fitted_with_history(made_up(), config, seed=1, progress=False)
assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in dit.network.parameters())
print(history.loss[-1] < history.loss[0])
"""


def test_half_precision_computes_and_leaves_weights_whole() -> None:
    """As on a graphics card; in a process of its own, since accelerate keeps one precision a process."""
    done = subprocess.run(
        [sys.executable, "-c", HALF], env=environment(), capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["True"]


def test_a_batch_is_divided_evenly_or_not_at_all() -> None:
    team = Team()
    team.size, team.rank = 4, 2
    assert team.share(8) == slice(4, 6)
    with pytest.raises(PhysioEdgeError, match="multiple"):
        team.share(6)


def test_a_history_tells_the_loss_of_every_hundredth() -> None:
    _, history = fitted_with_history(made_up(), TINY, seed=1, progress=False)
    assert history.loss == []
