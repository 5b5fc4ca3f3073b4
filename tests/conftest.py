"""Fixtures every test may use."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy or torch: pytest-xdist already fills the cores

import pytest
from hypothesis import settings

from physioedge.datasets import location
from physioedge_runtime.engine.native.library import FOLDER_VARIABLE, engine_folder
from physioedge_runtime.errors import DatasetError

REPOSITORY = Path(__file__).parents[1]

settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests marked slow out unless ``-m`` asks for them."""
    if "slow" in config.getoption("-m"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def mitbih_root() -> Path:
    """Folder that holds ``mitbih``; skips where the recordings are not here."""
    for place in [*location.candidates(), REPOSITORY / "data", REPOSITORY.parent / "shared" / "data"]:
        try:
            return location.find("mitbih", place.resolve()).parent
        except DatasetError:
            continue
    pytest.skip(f"MIT-BIH is not on this machine (looked where {location.VARIABLE} says, in data and ../shared/data)")


@pytest.fixture(scope="session")
def sample_records() -> Path:
    """Folder of the WFDB records that come with the source tree."""
    return REPOSITORY / "samples" / "data"


@pytest.fixture(scope="session")
def native_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the built ExecuTorch engine; skips where there is no compiler or no executorch."""
    from physioedge_export.engine_build import build_engine, find_compiler, is_current

    if is_current():
        return engine_folder()
    if find_compiler() is None or find_spec("executorch") is None:
        pytest.skip("the ExecuTorch engine needs a C++ compiler and the executorch package")
    return build_engine(tmp_path_factory.mktemp("engine") / "built").folder


@pytest.fixture
def engine_here(native_engine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where `load_engine` finds it."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(native_engine))
    return native_engine
