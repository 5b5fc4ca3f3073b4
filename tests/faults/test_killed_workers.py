"""R16: what its judge sees, and that a set written without care is found out by killing who writes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from physioedge.faults import killed_workers
from physioedge.faults.row import Setting

CARELESS = """
import json, sys, time
from pathlib import Path
import numpy as np
import torch
from physioedge.adapters.sets import making
from physioedge.faults import killed_child as child
from physioedge.faults.killed_people import Wearers, backbone_in

def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    time.sleep(0.05)
    np.savez(path, **arrays)

making.save_arrays = save
torch.set_num_threads(1)
child.NEAR_S = 0.05
work = Path(sys.argv[1])
drivers = child.kill_drivers(work, Wearers(backbone_in(work)), 6, np.random.default_rng(0))
pools = {"kills": 0, "hit": {}, "errors": []}
print(json.dumps({"drivers": drivers, "pools": pools}))
"""


@pytest.fixture
def serial(tmp_path: Path) -> Path:
    folder = tmp_path / "serial"
    (folder / "rows").mkdir(parents=True)
    np.savez(folder / "rows" / "a.npz", residual=np.arange(3.0), core_s=np.array(1.0))
    (folder / "physioedge.json").write_text("{}")
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def other(serial: Path) -> Path:
    folder = serial.with_name("killed-0")
    shutil.copytree(serial, folder)
    (folder / ".lock").unlink()
    np.savez(folder / "rows" / "a.npz", residual=np.arange(3.0), core_s=np.array(2.0))
    return folder


def test_times_may_differ_and_locks_are_no_results(serial: Path, other: Path) -> None:
    assert killed_workers.differences(serial, other) == []


def test_one_bit_a_file_less_and_one_more_are_seen(serial: Path, other: Path) -> None:
    changed = np.nextafter(np.arange(3.0), 9)
    np.savez(other / "rows" / "a.npz", residual=changed, core_s=np.array(1.0))
    assert killed_workers.differences(serial, other) == [f"{Path('rows', 'a.npz')} is another"]
    (other / "physioedge.json").rename(other / "physioedge.json.part")
    (other / "rows" / "a.npz").write_bytes((serial / "rows" / "a.npz").read_bytes())
    assert killed_workers.differences(serial, other) == [
        "no physioedge.json", "physioedge.json.part is left",
    ]  # fmt: skip


def test_a_half_file_is_seen(serial: Path, other: Path) -> None:
    path = other / "rows" / "a.npz"
    path.write_bytes(path.read_bytes()[:200])
    assert "half file" in killed_workers.differences(serial, other)[0]


def test_a_set_written_without_care_is_found_out(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    found = killed_workers.trial(Setting(work=tmp_path), child=("-c", CARELESS))
    assert found.lost > 0 and not found.holds, found.notes


def test_a_job_that_is_done_again_is_seen(serial: Path) -> None:
    pytest.importorskip("peft")
    from physioedge.faults.killed_child import Done

    done, path = Done(), serial / "rows" / "a.npz"
    done.look(serial)
    np.savez(serial / "rows" / "b.npz", residual=np.zeros(3))
    (serial / "rows" / "c.part.npz").touch()
    done.look(serial)
    assert done.again == []
    (serial / "rows" / "c.part.npz").write_bytes(path.read_bytes())
    (serial / "rows" / "c.part.npz").replace(path)  # the same bytes in another file
    done.look(serial)
    assert done.again == [f"{Path('serial', 'rows', 'a.npz')} was done again"]
