"""The wheels under every other Python that is promised and installed here: base and plots, and the whole demo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROMISED = ("3.11", "3.12", "3.13")
OTHERS = tuple(one for one in PROMISED if one != "{}.{}".format(*sys.version_info))


def done(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600, check=False, cwd=cwd)


def interpreter(which: str, folder: Path) -> str | None:
    """One that runs and can make environments; pyenv's lie beside the path, where its shims only say so."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [shutil.which(f"python{which}"), *root.glob(f"versions/{which}.*/bin/python{which}")]
    for place in filter(None, places):
        if done(place, "-c", "import ensurepip, venv", cwd=folder).returncode == 0:
            return str(place)
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built once, by the Python that runs the tests; of a copy, so that the source tree stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    away = (".git", ".venv*", ".arm", "*_cache", "__pycache__", "runs", "results", "tests", "data")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*away))
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps")
    made = done(*pip, "-w", folder, folder / "source", cwd=folder)
    if made.returncode != 0:
        pytest.skip(f"no wheel can be built here: {made.stderr.strip().splitlines()[-1]}")
    (found,) = folder.glob("physioedge-*.whl")
    assert found.name.endswith("-py3-none-any.whl")  # one for all
    return found


@pytest.mark.slow
@pytest.mark.parametrize("which", OTHERS)
def test_the_demo_runs_from_the_wheel(which, request, tmp_path):
    python = interpreter(which, tmp_path)
    if python is None:
        pytest.skip(f"no python{which} that makes virtual environments, neither on the path nor of pyenv")
    wheel = request.getfixturevalue("wheel")
    made = done(python, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    inside = tmp_path / "env" / "bin" / "python"
    pip = (inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", ROOT / "constraints.txt")
    reached = done(*pip, "numpy", cwd=tmp_path)
    if reached.returncode != 0:
        pytest.skip(f"pip cannot fetch packages here: {reached.stderr.strip().splitlines()[-1]}")
    installed = done(*pip, f"{wheel}[view]", cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr[-2000:]
    command = (inside, "-W", "error", "-m", "physioedge.cli.main", "demo", "--no-open", "--json")
    shown = done(*command, "--out", tmp_path / "report", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr[-2000:]
    told = json.loads(shown.stdout)
    assert told["plots"] and told["beats"] > 100 and told["wrist"]["judged"] > 50
    assert (tmp_path / "report" / "report.html").stat().st_size > 100_000
