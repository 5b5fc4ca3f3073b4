"""Adapter sets by the ledger, by whatever runs them, and when workers die."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

pytest.importorskip("joblib", reason="needs joblib")
pytest.importorskip("peft", reason="needs the extra train")

from dying_jobs import dying

from physioedge.adapters.sets import backends, making
from physioedge.adapters.sets.backends import Backend, pool
from physioedge.adapters.sets.ledger import FOLDER, read_ledger
from physioedge.adapters.sets.making import make_rows
from physioedge.faults.killed_people import SEED, SET, Wearers, backbone_in
from physioedge.faults.killed_workers import contents, differences
from physioedge_runtime.errors import AdapterError

BY_RAY = """
import sys
from pathlib import Path
from physioedge.adapters.sets.making import make_rows
from physioedge.faults.killed_people import SEED, SET, Wearers
out, workers = Path(sys.argv[2]), int(sys.argv[3])
rows = make_rows(Wearers(Path(sys.argv[1])), out, SET, seed=SEED, workers=workers, say=print, backend="ray")
print(len(rows))
"""


def no_words(line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Wearers:
    return Wearers(backbone_in(tmp_path_factory.mktemp("people")))


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, people: Wearers) -> Path:
    """A set by one worker."""
    out = tmp_path_factory.mktemp("serial")
    make_rows(people, out, SET, seed=SEED, workers=1, say=no_words)
    return out


def test_a_job_is_an_adapter_and_each_is_done_once(serial: Path, people: Wearers) -> None:
    found = read_ledger(serial)
    rows = [job for job in found.done if job.startswith(making.ROWS)]
    assert len(rows) == len(people.names) * SET.wearers
    assert set(found.done) == {str(p.relative_to(serial)) for p in serial.rglob("*.npz")}
    assert set(found.done.values()) == {1} and found.begun == found.done and found.again == ()
    assert all(found.core_s[job] > 0 for job in rows) and found.workers == 1


def test_two_workers_make_what_one_makes(serial: Path, people: Wearers, tmp_path: Path) -> None:
    make_rows(people, tmp_path, SET, seed=SEED, workers=2, say=no_words)
    assert differences(serial, tmp_path) == []
    assert read_ledger(tmp_path).workers == 2


def test_ray_makes_what_one_makes(serial: Path, people: Wearers, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    rows = len(people.names) * SET.wearers
    with tempfile.TemporaryDirectory(prefix="t") as short:
        done = subprocess.run(
            [sys.executable, "-c", BY_RAY, str(people.backbone), str(tmp_path / "set"), "2"],
            capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "TMPDIR": short},
        )  # fmt: skip
        left = list(Path(short).iterdir())
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == str(rows)
    assert differences(serial, tmp_path / "set") == []
    assert read_ledger(tmp_path / "set").workers == 2
    assert left == []


def test_a_lost_worker_costs_its_job_and_no_other(tmp_path: Path) -> None:
    with pool(Backend(workers=2)) as at:
        found = list(at.run(dying, [(tmp_path, number, 1) for number in range(6)]))
    assert sorted(found) == [f"job-{number}" for number in range(6)]
    ledger = read_ledger(tmp_path)
    assert ledger.begun["job-1"] == 2 and set(ledger.done.values()) == {1} and ledger.again == ()


def test_a_job_that_kills_every_worker_ends_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "LOSSES", 0)
    with pytest.raises(BrokenProcessPool), pool(Backend(workers=2)) as at:
        list(at.run(dying, [(tmp_path, number, 1000) for number in range(2)]))
    assert read_ledger(tmp_path).begun["job-1"] == 1


def test_a_ledger_with_pieces_of_lines_is_read(serial: Path, tmp_path: Path) -> None:
    shutil.copytree(serial, tmp_path, dirs_exist_ok=True)
    whole = read_ledger(tmp_path)
    (path,) = (tmp_path / FOLDER).iterdir()
    line = json.dumps({"at_s": 1.0, "what": "begun", "job": "rows/x.npz"})
    path.write_bytes(line[:20].encode() + line.encode() + b"\n" + path.read_bytes() + b'{"at_s": 2')
    assert read_ledger(tmp_path) == whole
    job = next(iter(whole.done))
    path.write_bytes(
        path.read_bytes().rpartition(b"{")[0] + json.dumps({"at_s": 9e9, "what": "begun", "job": job}).encode() + b"\n"
    )
    assert read_ledger(tmp_path).again == (job,)


def test_the_ledger_is_no_result(serial: Path) -> None:
    assert not any(FOLDER in name for name in contents(serial))


def test_an_address_is_rays() -> None:
    for wrong in ({"name": "dask"}, {"workers": 0}, {"address": "auto"}):
        with pytest.raises(AdapterError, match="loky, ray"):
            Backend(**wrong)
