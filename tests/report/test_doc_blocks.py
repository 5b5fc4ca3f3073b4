"""Code in the pages is code: Python compiles, and runs where it needs no device; `physioedge` lines are understood."""

from __future__ import annotations

import ast
import re
import shlex
from contextlib import chdir
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from physioedge.cli.main import COMMANDS, build_parser
from physioedge_runtime import Bundle
from physioedge_runtime.__main__ import SHIPPED_BUNDLE

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NEEDS_A_SENSOR = {"adapter.md", "condition.md", "host.md"}
"""Pages whose blocks are parts of a program around a sensor, a host or a store: run in test_adaptation_pages.py."""


def blocks(*kinds: str) -> list[tuple[str, str]]:
    """Page and text of every block of these languages."""
    return [(page.name, m[2]) for page in PAGES for m in FENCE.finditer(page.read_text("utf-8")) if m[1] in kinds]


def commands() -> list[tuple[str, str]]:
    """Page and text of every `physioedge` line in shell blocks, comments off and continued lines joined."""
    found = []
    for page, text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            found += [
                (page, part.strip()) for part in re.split(r"&&|;", line) if part.strip().startswith("physioedge ")
            ]
    return found


@cache
def parser_of(command: str):
    return build_parser(command)


def test_there_is_something_to_check():
    assert len(blocks("python")) >= 8 and len(commands()) >= 25


@pytest.mark.parametrize("page", sorted({page for page, _ in commands()}))
def test_commands_are_understood(page):
    wrong = []
    for line in (line for name, line in commands() if name == page):
        words = shlex.split(line, comments=True)[1:]
        if not words or words[0] not in COMMANDS:
            wrong.append(line)
            continue
        try:
            parser_of(words[0]).parse_args(words)
        except SystemExit:
            wrong.append(line)
    assert wrong == []


def test_what_ships_is_exported_without_a_dataset():
    """Whoever has only a checkout can copy these lines: windows are of a recording that lies in it, or left to them."""
    lines = [shlex.split(line, comments=True)[1:] for page, line in commands() if page == "export.md"]
    asked = [parser_of("export").parse_args(words) for words in lines if words[0] == "export"]
    assert len(asked) == 4
    assert [one for one in asked if one.windows is None] == []
    shipped = [one for one in asked if one.weights == one.adapter == "shipped"]
    assert len(shipped) == 2 and all((ROOT / f"{one.windows}.hea").exists() for one in shipped)


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_compiles(page, text):
    ast.parse(text)


RUN = [pair for pair in blocks("python") if pair[0] not in NEEDS_A_SENSOR]


@pytest.mark.parametrize(("page", "text"), RUN, ids=[f"{page}-{i}" for i, (page, _) in enumerate(RUN)])
def test_python_runs(page, text, monkeypatch, capsys):
    """From the root of the tree. ``mine.physio`` is the bundle that ships, `sensor` a minute of its recording."""
    opened = Bundle.open

    def shipped(path, *args, **kwargs):
        return opened(SHIPPED_BUNDLE if path == "mine.physio" else path, *args, **kwargs)

    monkeypatch.setattr(Bundle, "open", shipped)
    with chdir(ROOT):
        exec(compile(text, page, "exec"), {"sensor": _minute(), "__name__": "page"})
    assert capsys.readouterr().out.strip(), "a block that runs shows something"


def _minute() -> list[np.ndarray]:
    from physioedge.signals.read import read_recording

    samples = read_recording(SHIPPED_BUNDLE.parent / "excerpt.npz").samples[:1]
    return np.array_split(samples[:, : 360 * 20], 40, axis=1)
