"""With ``--json`` every command gives one document, errors too; each command that ends has the option."""

from __future__ import annotations

import argparse
import json

import pytest

from physioedge.cli.main import COMMANDS, build_parser, main


def leaves(parser: argparse.ArgumentParser, name: str):
    """Commands that do something: those inside, or the command itself."""
    inside = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    for one in inside:
        for below, its in one.choices.items():
            yield from leaves(its, f"{name} {below}")
    if not inside or not inside[0].required:
        yield name, parser


def test_every_command_takes_json():
    actions = next(one for one in build_parser(whole=True)._actions if one.dest == "command")
    found = {name: parser for command in COMMANDS for name, parser in leaves(actions.choices[command], command)}
    assert [name for name, parser in found.items() if "--json" not in parser._option_string_actions] == []
    assert len(found) > len(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["inspect", "nothing.physio", "--json"], "bundle"),
        (["run", "nothing.csv", "--json"], "record"),
        (["keys", "show", "nothing.pem", "--json"], None),
        (["adapter", "status", "--bundle", "shipped", "--store", "nothing", "--json"], "store"),
    ],
)
def test_an_error_is_a_document_on_stderr(arguments, code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    said = json.loads(err)["error"]
    assert out == "" and set(said) == {"code", "came", "expected", "do"} and all(said.values())
    assert code is None or said["code"] == code


def test_a_fault_of_ours_is_one_too(monkeypatch, capsys):
    def broken(args):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("physioedge.cli.inspect.run", broken)
    assert main(["inspect", "x", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "internal"
    assert main(["inspect", "x"]) == 1
    assert capsys.readouterr().err.startswith("error[internal]: ZeroDivisionError: oh. This is a fault of physioedge")
