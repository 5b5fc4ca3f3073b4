"""docs/sources.md: its program runs, and it names every scheme, option and extra."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import tomllib

from physioedge.cli import run
from physioedge.sinks.rows import FORMATS
from physioedge.sources.opening import HEART_RATE, OPENERS, POLAR


def test_the_program_of_the_page_runs(repository, monkeypatch):
    monkeypatch.chdir(repository)
    (program,) = re.findall(r"```python\n(.*?)```", (repository / "docs" / "sources.md").read_text(), re.S)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(program, "sources.md", "exec"), {})
    assert said.getvalue().splitlines() == [
        "100: MLII [mV] at 360 Hz, 10.0 s (3600 samples), subject 100",
        "ecg (1, 90) 0.25",
    ]


def test_the_page_is_complete(repository):
    page = (repository / "docs" / "sources.md").read_text()
    for scheme in (*OPENERS, *(f"ble:{kind}" for kind in (HEART_RATE, POLAR)), *FORMATS, "mqtt", "mqtts"):
        assert f"{scheme}:" in page or f"`{scheme}/" in page or f"{scheme}/" in page, scheme
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (members,) = extras["sources"]
    for extra in re.search(r"\[(.*)\]", members)[1].split(","):
        assert f"| `{extra}` |" in page, extra
    parser = argparse.ArgumentParser()
    run.register(parser.add_subparsers())
    options = set(re.findall(r"--[a-z][a-z-]*", page))
    assert options <= set(re.findall(r"--[a-z-]+", _help(parser)))


def _help(parser):
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices["run"].format_help()
