"""The C interface as firmware uses it: the example of docs/c-api.md, compiled and run, and what the header promises."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from physioedge_export.engine_build import LIBRARIES, build_engine, is_current
from physioedge_runtime import Bundle
from physioedge_runtime.__main__ import SHIPPED_BUNDLE
from physioedge_runtime.engine.native import library
from physioedge_runtime.errors import ExportError

NATIVE = Path(library.__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_cc = pytest.mark.skipif(COMPILER is None, reason="no C compiler here")


@needs_cc
@pytest.mark.parametrize("form", ["merged", "slots"])
def test_the_example_of_the_guide_gives_the_golden_logits(
    tmp_path: Path, native_engine: Path, repository: Path, form: str
) -> None:
    bundle = Bundle.open(SHIPPED_BUNDLE)
    entry = bundle.graph("executorch", "int8", form)
    golden = bundle.golden()
    source = re.search(r"```c\n(.*?)```", (repository / "docs" / "c-api.md").read_text(), re.S)
    assert source is not None
    (tmp_path / "main.c").write_text(source[1])
    (tmp_path / "graph.pte").write_bytes(bundle.read(entry.file))
    (tmp_path / "window.f32").write_bytes(golden["signal"][:1].tobytes())
    compiled = subprocess.run(
        [
            str(COMPILER),
            *("-std=c11", "-Wall", "-Wextra", "-Werror", "main.c", "-I", str(NATIVE), "-L", str(native_engine)),
            *("-lphysioedge_engine", f"-Wl,-rpath,{native_engine}", "-o", "main"),
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    done = subprocess.run(
        ["./main", "graph.pte", "window.f32"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found = np.array([float(line) for line in done.stdout.split()])
    assert np.abs(found - golden[f"{entry.file}/logits"][0]).max() <= entry.tolerance_logits
    wrong = subprocess.run(
        ["./main", "window.f32", "graph.pte"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert wrong.returncode == 1 and wrong.stderr.startswith("program: no ExecuTorch program")


def test_the_guide_names_every_function(repository: Path) -> None:
    header = (NATIVE / "physioedge_engine.h").read_text()
    declared = set(re.findall(r"^PE_API [^(]*?(pe_\w+)\(", header, re.M))
    assert len(declared) == 18
    assert declared <= set(re.findall(r"`(pe_\w+)`", (repository / "docs" / "c-api.md").read_text()))
    assert f"#define PE_ABI_VERSION {library.ABI_VERSION}\n" in header
    assert f"#define PE_PROGRAM_ALIGNMENT {library.ALIGNMENT}\n" in header


def test_the_built_folder_needs_nothing_else(native_engine: Path) -> None:
    held = {path.name for path in native_engine.iterdir()}
    assert held == {*LIBRARIES, library.LIBRARY, "engine.json", "LICENSE.executorch"}
    assert sum(path.stat().st_size for path in native_engine.iterdir()) < 16e6
    assert "BSD" in (native_engine / "LICENSE.executorch").read_text()


def test_a_missing_compiler_or_package_is_told(tmp_path: Path, native_engine: Path) -> None:
    with pytest.raises(ExportError, match=r"no C\+\+ compiler no-such-compiler"):
        build_engine(tmp_path / "engine", compiler="no-such-compiler")
    (tmp_path / "executorch").mkdir()
    (tmp_path / "executorch-1.5.1.dist-info").mkdir()
    with pytest.raises(ExportError, match=r"without libexecutorch\.so"):
        build_engine(tmp_path / "engine", package=tmp_path / "executorch")
    (tmp_path / "executorch-1.5.1.dist-info").rename(tmp_path / "executorch-1.3.0.dist-info")
    with pytest.raises(ExportError, match=r"executorch 1\.3\.0"):
        build_engine(tmp_path / "engine", package=tmp_path / "executorch")
    assert not (tmp_path / "engine").exists()


def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path, native_engine: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ExportError, match="holds other things"):
        build_engine(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_failing_compiler_speaks(tmp_path: Path, native_engine: Path) -> None:
    with pytest.raises(ExportError, match="nonsense"):
        build_engine(tmp_path / "engine", flags=["-fnonsense-flag"])
    assert not is_current(tmp_path / "engine")
