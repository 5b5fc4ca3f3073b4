"""``physioedge adapter`` on a store whose adapters cannot be used: it says so before anything is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_up_host import SHAPES
from made_up_person import bundle_here
from physioedge.cli.main import main
from physioedge_export.adapters import build_adapter
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.freshness import FLOOR_S
from physioedge_runtime.adaptation.manifest import AdapterManifest, Binding
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.signing import _PUBLIC_PREFIX, _to_pem, public_key
from physioedge_runtime.engine.slots import BIAS
from tiny_bundle import PRIVATE_KEY

OTHER_KEY = bytes(range(1, 33))
Command = Callable[..., tuple[int, str, str]]


def adapter(name: str, counter: int) -> bytes:
    arrays = {slot: np.zeros(shape, np.float32) for slot, shape in SHAPES.items()}
    manifest = AdapterManifest(
        id=name, task="arrhythmia", backbone_digest="0" * 64, binding=Binding(kind="device", id="local"),
        counter=counter, issued_s=FLOOR_S, expires_s=FLOOR_S + 86_400, provenance={},
    )  # fmt: skip
    return build_adapter(manifest, {**arrays, BIAS: np.zeros(3, np.float32)}, signing_key=OTHER_KEY)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs it on a store whose two adapters are of another key than the bundle; gives exit code, stdout, stderr."""
    for name, key in (("bundle", PRIVATE_KEY), ("adapter", OTHER_KEY)):
        (tmp_path / f"{name}.pem").write_bytes(_to_pem(_PUBLIC_PREFIX + public_key(key), "PUBLIC KEY"))
    target = Target.of(bundle_here(tmp_path / "tiny.physio"), device="local")
    with AdapterStore.open(
        tmp_path / "store", target=target, trust=public_key(OTHER_KEY), clock=lambda: FLOOR_S
    ) as store:
        for counter in (1, 2):
            store.stage(adapter(f"made-{counter}", counter))
            store.start_trial()
            store.confirm()

    def call(*words: str) -> tuple[int, str, str]:
        given = {"--bundle": "tiny.physio", "--store": "store", "--trust": "bundle.pem"}
        paths = [word for option, name in given.items() for word in (option, str(tmp_path / name))]
        code = main(["adapter", *words, *paths])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def trusting(command: Command, tmp_path: Path) -> Command:
    return lambda *words: command(*words, "--adapter-trust", str(tmp_path / "adapter.pem"))


@pytest.mark.parametrize("action", ["rollback", "pin"])
def test_what_cannot_be_verified_is_neither_rolled_back_nor_pinned(
    action: str, command: Command, trusting: Command
) -> None:
    code, out, err = command(action)
    assert code == 1 and out == "" and "Nothing is to be done" not in err
    problem, *_, error = err.splitlines()
    assert problem.startswith("problem: adapter") and "signed by key" in problem
    assert error.startswith("error[store-state]") and "made-2" in error and "--adapter-trust" in error
    status = json.loads(trusting("status", "--json")[1])
    assert status["serves"] == "made-2" and not status["pinned"] and status["problems"] == []
    code, out, err = trusting(action)
    assert code == 0 and err == "" and ("serves: made-1" if action == "rollback" else "made-2") in out


def test_problems_are_told_before_it_acts_and_once(command: Command, trusting: Command) -> None:
    trusting("pin")
    code, out, err = command("unpin")
    assert code == 0 and err.count("problem: ") == 2 and "are --device and --adapter-trust right?" in err
    assert "problem: " not in out and "serves: global" in out
    code, out, err = command("status")
    assert code == 0 and err == "" and out.count("problem: ") == 2
    code, out, err = command("forget")
    assert code == 0 and "problem: " in err and "Erased: 2 adapter files" in out


def test_in_json_the_problems_and_the_refusal_are_documents(command: Command) -> None:
    code, out, err = command("rollback", "--json")
    assert code == 1 and out == "" and "--adapter-trust" in json.loads(err)["error"]["do"]
    code, out, err = command("unpin", "--json")
    told: dict[str, Any] = json.loads(out)
    assert code == 0 and err == "" and len(told["problems"]) == 2
