"""The weights' own package: every file is found through it, and its absence is one clear error."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from physioedge.cli.main import main
from physioedge.cli.serve import SHIPS
from physioedge.models import shipped
from physioedge_runtime.errors import MissingExtra


@pytest.fixture
def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package is not installed."""
    monkeypatch.setitem(sys.modules, "physioedge_weights", None)


def test_every_file_is_found() -> None:
    files = {
        shipped.backbone(),
        shipped.shapelets(),
        *(shipped.generator_of(task) for task in SHIPS),
        *(shipped.adapter_of(task) / "adapter_model.safetensors" for task in ("arrhythmia", "heart_rate", "stress")),
    }
    assert files == set(shipped.folder().rglob("*.safetensors"))  # and there are no others
    for file in files:
        with file.open("rb") as stream:  # a header of JSON, and not a pointer to a file elsewhere
            assert json.loads(stream.read(int.from_bytes(stream.read(8), "little")))


def test_the_demos_files_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = shipped.stress_hour()
    assert set(found) == set((shipped.folder() / "demo").iterdir())  # and there are no others
    assert all(path.stat().st_size > 100 for path in found)
    monkeypatch.setattr(shipped, "folder", lambda: tmp_path)
    (tmp_path / "demo").mkdir()
    for path in found:  # each of them is missed
        with pytest.raises(MissingExtra, match=path.name):
            shipped.stress_hour()
        (tmp_path / "demo" / path.name).touch()


def test_a_task_without_weights_still_has_its_place() -> None:
    assert not shipped.adapter_of("no_such_task").exists()
    assert not shipped.generator_of("no_such_task").exists()


def test_the_readme_names_every_file(repository: Path) -> None:
    readme = (repository / "weights" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+(?:\.\w+|/))`", readme.partition("| file |")[2].partition("\n\n")[0])
    root = shipped.folder()
    missing = [
        str(file.relative_to(root))
        for file in root.rglob("*")
        if file.is_file() and not any(str(file.relative_to(root)).startswith(name) for name in named)
    ]
    assert missing == []
    assert all((root / name).exists() for name in named if name != "levels.json")


@pytest.mark.usefixtures("without_weights")
def test_without_the_package_every_path_is_refused() -> None:
    for ask in (
        shipped.folder,
        shipped.backbone,
        shipped.shapelets,
        lambda: shipped.adapter_of("arrhythmia"),
        lambda: shipped.generator_of("arrhythmia"),
    ):
        with pytest.raises(MissingExtra, match=r"no shipped weights.*pip install physioedge-weights"):
            ask()
    assert shipped.BUNDLE.is_file()


def test_without_the_package_importing_is_no_error() -> None:
    code = (
        "import sys; sys.modules['physioedge_weights'] = None\n"
        "import physioedge.models.shipped, physioedge.bench.preset\n"
        "print('imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "imported\n", done.stderr


@pytest.mark.usefixtures("without_weights")
def test_a_command_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "global", "--threads", "1", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error[missing-extra]: no shipped weights")
    assert error.count("\n") == 1
