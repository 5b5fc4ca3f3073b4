"""docs/security.md and SECURITY.md: what they name exists, and figures are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from physioedge_runtime.adaptation.adapter import MAX_ADAPTER_BYTES
from physioedge_runtime.adaptation.condition import MAX_BYTES, MAX_FEATURES, MIN_WINDOWS
from physioedge_runtime.bundle.plain import MAX_JSON_DEPTH, MAX_JSON_VALUES


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", ["docs/security.md", "SECURITY.md"])
def test_links_lead_somewhere(repository: Path, name: str) -> None:
    page = repository / name
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_figures_are_those_of_the_code(repository: Path) -> None:
    page = (repository / "docs" / "security.md").read_text(encoding="utf-8")
    for words in (
        f"at most {MAX_BYTES} bytes", f"at most {MAX_FEATURES} features over {MIN_WINDOWS} windows",
        f"at most {MAX_JSON_VALUES} values and {MAX_JSON_DEPTH} levels", f"{MAX_ADAPTER_BYTES // 2**20} MiB",
    ):  # fmt: skip
        assert words in page, words
    results = repository / "results" / "privacy.json"
    named = "results/privacy.json" in page
    assert results.exists() == named, "measured: fill in the marked place" if results.exists() else "not measured yet"


def test_the_version_that_gets_fixes_is_this_one(repository: Path) -> None:
    version = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    assert f"| {version.rpartition('.')[0]}.x | yes |" in (repository / "SECURITY.md").read_text()


def test_readme_names_both(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert all(f"]({name})" in text for name in ("docs/security.md", "SECURITY.md", "THIRD_PARTY.md"))
