"""The frame of the command: what it lists, what it imports, how it ends."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from physioedge.cli import main as frame
from physioedge.cli.console import missing_extra, print_json, table
from physioedge.cli.main import COMMANDS, main
from physioedge_runtime.errors import RecordError

HEAVY = ("torch", "scipy", "sklearn", "matplotlib", "onnx", "executorch", "peft", "wfdb")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of the doctor command."""

    def install(action):
        module = types.ModuleType("physioedge.cli.doctor")
        module.register = lambda subparsers: subparsers.add_parser("doctor")
        module.run = action
        monkeypatch.setitem(sys.modules, "physioedge.cli.doctor", module)

    monkeypatch.delenv(frame.TRACEBACK, raising=False)
    return install


def raising(error):
    def action(args):
        raise error

    return action


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("physioedge 0.")
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert set(COMMANDS) <= {line.split()[0] for line in listed.splitlines() if line.startswith("    ")}


@pytest.mark.parametrize("arguments", [["nonsense"], [], ["run"], ["run", "x", "--speed", "0"]])
def test_wrong_usage_is_2(capsys, arguments):
    assert main(arguments) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(capsys, name):
    assert main([name, "--help"]) == 0
    assert f"physioedge {name}" in capsys.readouterr().out


def test_expected_errors_are_one_line(capsys, command):
    command(raising(RecordError("x.csv: an empty file", "a recording", "Record it again.")))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "error[record]: x.csv: an empty file; expected a recording. Record it again.\n"


def test_a_missing_package_names_its_extra(capsys, command):
    command(raising(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")))
    assert main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error[missing-extra]: ")
    assert "pip install 'physioedge[train]'" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("safetensors", "serve", "host"), ("fastapi", "serve", "host"), ("torch", "serve", "train"),
        ("torch", "export", "export"), ("safetensors", "export", "export"), ("peft", "export", "train"),
        ("safetensors.numpy", "train", "train"), ("no_such_package", "train", "all"),
    ],
)  # fmt: skip
def test_a_command_names_its_own_extra_where_that_brings_the_package(package, command, extra):
    assert f"physioedge[{extra}]" in missing_extra(package, command).do


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), ModuleNotFoundError("No module 'x'", name="x")])
def test_our_own_faults_say_how_to_learn_more(capsys, command, monkeypatch, error):
    command(raising(error))
    assert main(["doctor"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "PHYSIOEDGE_TRACEBACK=1" in message
    monkeypatch.setenv(frame.TRACEBACK, "1")
    main(["doctor"])
    assert "Traceback" in capsys.readouterr().err


def test_files_that_cannot_be_written(capsys, command, tmp_path):
    command(lambda args: (tmp_path / "absent" / "x").write_text("x"))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == f"error[io]: {tmp_path}/absent/x: No such file or directory\n"


def test_interruption(capsys, command):
    command(raising(KeyboardInterrupt()))
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_goes_away():
    code = (
        "import sys; from physioedge.cli import main, datasets;"
        "datasets.run = lambda args: [print('x' * 80, flush=True) for _ in range(5000)] and 0;"
        "sys.exit(main.main(['datasets']))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        message = process.stderr.read()
        assert process.wait(timeout=60) == 141
    assert message == b""


def test_the_device_package_and_run_import_nothing_heavy():
    code = (
        "import sys, physioedge_runtime; from physioedge.cli.main import main;"
        "from physioedge_runtime import Bundle, Stream, Result; from physioedge_runtime.engine import ort;"
        "main(['run', '--help']); main(['--help']);"
        f"found = [m for m in {HEAVY!r} if m in sys.modules]; print(found, file=sys.stderr)"
    )
    done = run_python(code)
    assert done.stderr.strip() == "[]"
    assert "SOURCE" in done.stdout


def test_importing_the_runtime_alone_costs_nothing():
    done = run_python("import sys, physioedge_runtime; print('numpy' in sys.modules, 'onnxruntime' in sys.modules)")
    assert done.stdout.split() == ["False", "False"]


def test_tables_and_json(capsys):
    assert table(("name", "n"), [("a", 1), ("long", 20)]).splitlines() == [
        "name   n",
        "----  --",
        "a      1",
        "long  20",
    ]
    print_json({"a": None})
    assert capsys.readouterr().out == '{\n  "a": null\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"a": float("nan")})
