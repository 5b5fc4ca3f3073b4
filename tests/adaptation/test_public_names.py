"""What `physioedge_runtime.adaptation` offers: what docs/api.md lists and no more, none of it loaded before use."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from physioedge_runtime import adaptation

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_reference_lists_what_is_offered_and_nothing_else() -> None:
    listed = re.findall(r"^::: physioedge_runtime\.adaptation\.(\w+)\.(\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(name for _, name in listed) == adaptation.__all__
    for module, name in listed:
        assert getattr(adaptation, name) is getattr(import_module(f"physioedge_runtime.adaptation.{module}"), name)
        assert getattr(adaptation, name).__doc__, name


def test_a_name_that_is_not_offered_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Collector'"):
        adaptation.Collector  # noqa: B018 - the look-up is the test
    assert set(adaptation.__all__) <= set(dir(adaptation))


def test_importing_the_package_loads_neither_its_modules_nor_the_network() -> None:
    code = (
        "import sys, physioedge_runtime.adaptation as a\n"
        "there = [m for m in sys.modules if m.startswith(a.__name__ + '.')]\n"
        "print(there, sorted({'ssl', 'socket', 'numpy', 'http'} & set(sys.modules)), a.Target.__module__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] [] physioedge_runtime.adaptation.adapter"
