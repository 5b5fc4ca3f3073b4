"""What has to be on the disk."""

from __future__ import annotations

import subprocess
import sys

import pytest

from physioedge.bench import install_size
from physioedge.bench.install_size import NATIVE, OWN, closure, distribution_bytes, folder_bytes, install_bytes


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Three made-up distributions: a needs b and, for its tests, c."""
    for name, requires in (
        ("aaa", ["bbb>=1", "ccc; extra == 'test'", "nowhere; sys_platform == 'moon'"]),
        ("bbb", []),
        ("ccc", []),
    ):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        lines = [f"Requires-Dist: {line}" for line in requires]
        (info / "METADATA").write_text(
            "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines]) + "\n"
        )
        (tmp_path / name / "__pycache__").mkdir(parents=True)
        (tmp_path / name / "code.py").write_bytes(b"x" * 1000)
        (tmp_path / name / "__pycache__" / "code.pyc").write_bytes(b"x" * 5000)
        (info / "RECORD").write_text(f"{name}/code.py,,\n{name}/__pycache__/code.pyc,,\n{name}/gone.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_what_is_required_is_counted_and_extras_are_not(installed):
    found = closure(["AAA"])
    assert list(found) == ["aaa", "bbb"]
    assert distribution_bytes(found["aaa"]) == 1000


def test_a_folder_without_bytecode_and_links(installed):
    (installed / "link").symlink_to(installed / "aaa" / "code.py")
    assert folder_bytes(installed / "aaa") == 1000
    assert folder_bytes(installed) == sum(p.stat().st_size for p in installed.glob("*.dist-info/*")) + 3000


def test_ours_needs_no_torch_and_with_executorch_no_onnxruntime(tmp_path, monkeypatch):
    (tmp_path / "library.so").write_bytes(b"x" * 77)
    monkeypatch.setattr(install_size, "engine_folder", lambda: tmp_path)
    ort, et = install_bytes("bundle"), install_bytes("bundle", "executorch")
    assert {"numpy", "onnxruntime", "pynacl", OWN} <= set(ort) and {"numpy", "pynacl", OWN} <= set(et)
    assert not {"torch", "executorch"} & set(ort) and not {"torch", "executorch", "onnxruntime"} & set(et)
    assert et[NATIVE] == 77 and NATIVE not in ort
    assert ort["onnxruntime"] > 10e6 and ort["numpy"] > 10e6


def test_sizes_are_those_of_the_files():
    numpy = closure(["numpy"])["numpy"]
    code = "import numpy, os, sys; f = os.path.dirname(numpy.__file__); sys.stdout.write(f)"
    folder = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    package = sum(
        p.stat().st_size for p in install_size.Path(folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts
    )
    assert package <= distribution_bytes(numpy) < 2.5 * package  # and its shared libraries and licences beside it
