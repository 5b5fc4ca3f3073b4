"""The documentation site is built without a warning, holds every page, and asks no other machine for anything."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WANTED = ("mkdocs", "material", "mkdocstrings")
HERE = all(importlib.util.find_spec(name) for name in WANTED)


def hook():
    spec = importlib.util.spec_from_file_location("site_links", ROOT / "tools" / "site_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if not HERE:
        pytest.skip("the extra docs is not installed: pip install 'physioedge[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", str(ROOT / "mkdocs.yml"), "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARNING" not in said, said
    return folder


def test_every_page_is_there_and_says_something(site):
    for page in (ROOT / "docs").glob("*.md"):
        html = site / "index.html" if page.stem == "index" else site / page.stem / "index.html"
        title = re.sub(r"[`*]", "", page.read_text("utf-8").splitlines()[0].lstrip("# ")).strip()
        text = re.sub(r"<[^>]+>", "", html.read_text("utf-8")).replace("&amp;", "&").replace("&lt;", "<")
        assert title.replace("&lt;", "<")[:20] in text, page.name


def test_the_reference_holds_the_public_things(site):
    text = (site / "api" / "index.html").read_text("utf-8")
    for name in ("Bundle", "Stream.push", "Backbone.from_pretrained", "PhysioClassifier", "export_bundle"):
        assert name in text, name


def test_nothing_is_loaded_from_elsewhere(site):
    loads = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"?(https?:[^\"\s>]+)|<link[^>]+stylesheet[^>]+(https?:[^\"\s>]+)"
    )
    found = [(page.name, m[0]) for page in site.rglob("*.html") for m in loads.finditer(page.read_text("utf-8"))]
    assert found == []


def test_links_out_of_the_pages_are_spelt_out_and_wrong_ones_stay():
    config = {"docs_dir": str(ROOT / "docs")}
    text = hook().on_page_markdown(
        "[licence](../LICENSE), [README.md](../README.md), [gone](../gone.md), [page](view.md)",
        page=None, config=config, files=None,
    )  # fmt: skip
    assert text == "licence (`LICENSE`), `README.md`, [gone](../gone.md), [page](view.md)"
