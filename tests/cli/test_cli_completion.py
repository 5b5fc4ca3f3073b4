"""Shells complete what the parser knows, made of the parser; also where the heavy packages are not installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from physioedge.cli.completion import SHELLS
from physioedge.cli.main import COMMANDS, build_parser, main

ASK = """source {script}
complete -p physioedge > /dev/null || exit 3
COMP_WORDS=({words}); COMP_CWORD={at}; COMPREPLY=(); _shtab_physioedge; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory, request) -> Path:
    """Made in a process where nothing heavy can be imported, as in a base install with this extra."""
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    heavy = [
        "torch",
        "scipy",
        "sklearn",
        "matplotlib",
        "onnx",
        "safetensors",
        "fastapi",
        "uvicorn",
        "starlette",
        "wfdb",
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({heavy!r}))\nfrom physioedge.cli.main import main\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}sys.exit(main(['completion', 'bash']))"], capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = tmp_path_factory.mktemp("completion") / "physioedge.bash"
    path.write_text(done.stdout)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["physioedge", "vi"], {"view"}),
        (["physioedge", "d"], {"demo", "diff", "datasets", "doctor"}),
        (["physioedge", "view", "--sp"], {"--speed"}),
        (["physioedge", "adapter", "p"], {"pin"}),
        (["physioedge", "completion", ""], set(SHELLS)),
        (["physioedge", "run", "shipped", "--format", "js"], {"jsonl"}),
    ],
)
def test_bash_completes(script, tmp_path, words, expected):
    quoted = " ".join(f"'{word}'" for word in words)
    asked = ASK.format(script=script, words=quoted, at=len(words) - 1)
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=30, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == expected


def test_every_shell_has_a_script_with_every_command(capsys):
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    for shell in SHELLS:
        assert main(["completion", shell, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["shell"] == shell and all(name in found["script"] for name in COMMANDS)


def test_the_whole_parser_knows_all_that_the_lazy_one_does():
    whole = build_parser(whole=True)
    actions = next(one for one in whole._actions if one.dest == "command")
    assert list(actions.choices) == list(COMMANDS)
    assert all("-h" in parser._option_string_actions for parser in actions.choices.values())
