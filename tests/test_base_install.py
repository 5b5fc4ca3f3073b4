"""The base install in an environment of its own: no torch, small, and it streams the shipped recording."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED_MB = 28.0
"""Two bundles, of 7.2 and 2.4 MB, and the code, host and trainer included; weights come in a wheel of their own.

Measured: 27.1, of which the bundles are 9.6 and most of the rest is what trains, judges and serves, compiled too: that
should go into a wheel of its own.
"""
MEASURE = """
import json
from importlib.metadata import distributions
from pathlib import Path
from re import split

found = {d.metadata["Name"].lower(): d for d in distributions()}
def closure(names):
    seen = set()
    while names:
        name = names.pop()
        if name in seen or name not in found:
            continue
        seen.add(name)
        names += [split(r"[^\\w.-]", r)[0].lower() for r in found[name].requires or [] if "extra ==" not in r]
    return seen
def size(names):
    files = [Path(f.locate()) for n in names for f in found[n].files or []]
    return sum(f.stat().st_size for f in files if f.is_file()) / 1e6
base, all_of_it = closure(["numpy", "onnxruntime"]), closure(["physioedge"])
print(json.dumps({"over": size(all_of_it - base), "base": size(base), "packages": sorted(all_of_it)}))
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory) -> Path:
    """Python of a new environment with the base install; skips where packages cannot be fetched."""
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True, timeout=120)
    python = folder / "env" / "bin" / "python"
    # from a copy, so that no build output lands in the source tree
    # an emulated system in .arm has links to everywhere
    not_source = (".git", ".venv*", ".arm", "*_cache", "__pycache__", "runs", "results", "tests", "data")
    ignored = shutil.ignore_patterns(*not_source)
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    reached = subprocess.run([*pip, "numpy", "onnxruntime"], capture_output=True, text=True, timeout=300, check=False)
    if reached.returncode != 0:
        pytest.skip(f"pip cannot fetch packages here: {reached.stderr.strip().splitlines()[-1]}")
    done = subprocess.run([*pip, str(folder / "source")], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return python


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=python.parent
    )


def test_there_is_no_torch(device):
    for package in ("torch", "scipy", "matplotlib", "onnx", "safetensors", "wfdb", "physioedge_weights"):
        done = run(device, "-c", f"import {package}")
        assert "ModuleNotFoundError" in done.stderr, package


def test_there_are_no_weights_and_who_asks_is_told(device):
    """But the module that knows where they would be can be imported."""
    listed = "from importlib.metadata import files; print(*files('physioedge'), sep='\\n')"
    found = run(device, "-c", listed).stdout.splitlines()
    assert len(found) > 100
    assert [name for name in found if name.endswith(".safetensors") or "weights/" in name] == []
    code = "from physioedge.models import shipped; print(shipped.BUNDLE.is_file()); shipped.backbone()"
    done = run(device, "-c", code)
    assert done.stdout.strip() == "True"
    assert "MissingExtra: no shipped weights" in done.stderr
    assert "pip install physioedge-weights" in done.stderr


def test_it_is_small(device, record_property):
    measured = json.loads(run(device, "-c", MEASURE).stdout)
    record_property("mb_over_numpy_and_onnxruntime", measured["over"])
    print(f"base install: {measured['over']:.1f} MB over numpy and onnxruntime ({measured['base']:.0f} MB)")  # noqa: T201
    assert {"physioedge", "pynacl", "numpy", "onnxruntime"} <= set(measured["packages"])
    assert 0.1 < measured["over"] <= ALLOWED_MB


def test_it_streams_the_shipped_recording(device):
    done = run(device, "-m", "physioedge.cli.main", "run", "shipped", "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    labels = [row["label"] for row in rows]
    assert 140 <= len(rows) <= 170
    assert labels.count("V") >= 20
    assert labels.count("N") >= 80
    assert "x real time" in done.stderr


def test_both_engines_run_without_torch(device, native_engine):
    """Every graph of the shipped bundle, in an environment that has neither torch nor the executorch package."""
    done = subprocess.run(
        [str(device), "-m", "physioedge_runtime", "verify", "shipped", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=device.parent,
        env={**os.environ, "PHYSIOEDGE_ENGINE_DIR": str(native_engine)},
    )
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    graphs = [check for name, check in checks.items() if name.startswith("golden ")]
    assert len(graphs) >= 5
    assert all(check["state"] == "ok" for check in graphs), graphs
    assert {check["detail"].split(", ")[1].split()[0] for check in graphs} == {"onnxruntime", "executorch"}
    for package in ("torch", "executorch"):
        assert "ModuleNotFoundError" in run(device, "-c", f"import {package}").stderr


def test_it_reads_wfdb_records(device):
    record = str(ROOT / "samples" / "data" / "213")
    done = run(
        device, "-m", "physioedge.cli.main", "run", record, "--resample", "polyphase", "--limit-s", "20", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 20


def test_a_missing_extra_is_one_message(device):
    done = run(device, "-m", "physioedge.cli.main", "evaluate", "arrhythmia")
    assert done.returncode == 1
    assert done.stderr.startswith("error[missing-extra]: "), done.stderr
    assert "pip install 'physioedge[" in done.stderr
    assert "Traceback" not in done.stderr
