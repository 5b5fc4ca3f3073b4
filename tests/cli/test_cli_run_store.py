"""``physioedge run --store``: what `adapt` kept of a person judges their next recording."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli_adapt import ORIGIN, PLAN, generator

from made_up_person import FS_HZ, bundle_here, levelling_here
from physioedge.cli.main import main
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.adaptation import AdapterStore, Target
from physioedge_runtime.bundle.signing import _PRIVATE_PREFIX, _PUBLIC_PREFIX, _to_pem, make_keys, public_key
from synthetic_ecg import synthetic_ecg
from tiny_bundle import PRIVATE_KEY

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "private.pem").write_bytes(_to_pem(_PRIVATE_PREFIX + PRIVATE_KEY, "PRIVATE KEY"))
    (tmp_path / "public.pem").write_bytes(_to_pem(_PUBLIC_PREFIX + public_key(PRIVATE_KEY), "PUBLIC KEY"))
    samples, _ = synthetic_ecg(FS_HZ, 40.0)
    np.savez(tmp_path / "person.npz", samples=samples, fs_hz=FS_HZ, units="mV", channels=["MLII"])
    bundle_here(tmp_path / "tiny.physio", {**levelling_here(), "change-plan.json": PLAN.to_bytes()})
    generator(tmp_path / "alike.generator", np.full(ORIGIN.width, 0.01))
    return tmp_path


@pytest.fixture
def command(here: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(name: str, *words: Any) -> tuple[int, str, str]:
        keys = ["--trust", str(here / "public.pem"), "--bundle", str(here / "tiny.physio"), "--precision", "fp32"]
        code = main([name, str(here / "person.npz"), *map(str, words), *keys])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def kept(command: Command, here: Path) -> tuple[str, dict[str, float]]:
    """An adapter and a bias of this person's; its name, and the bias by label."""
    local = ["--local", here / "alike.generator", "--key", here / "private.pem", "--beside"]
    store = ["--store", here / "store", "--seconds", 12, "--json"]
    code, out, err = command("adapt", *local, *store)
    assert code == 0, (out, err)
    code, text, err = command("adapt", "--level", *store)
    assert code == 0, (text, err)
    return json.loads(out)["serves"], json.loads(text)["bias"]


def test_adapter_and_bias_that_serve_there_serve_here(
    command: Command, here: Path, kept: tuple[str, dict[str, float]]
) -> None:
    name, bias = kept
    before = {path: path.read_bytes() for path in (here / "store").iterdir()}
    code, out, err = command("run", "--store", here / "store", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and {row["adapter"] for row in rows} == {name}
    assert f"serves: {name}, with N +0.000, S {bias['S']:+.3f}" in err
    assert before == {path: path.read_bytes() for path in (here / "store").iterdir()}
    plain = [json.loads(line) for line in command("run", "--json")[1].splitlines()]
    assert {row["adapter"] for row in plain} == {"global"}
    bundle = Bundle.open(here / "tiny.physio", trust=here / "public.pem")
    with (
        AdapterStore.open(here / "store", target=Target.of(bundle, device="local"), trust=here / "public.pem") as store,
        Stream(bundle, fs_hz=FS_HZ, units="mV", adapters="slots", precision="fp32") as stream,
    ):
        assert store.serving is not None and store.centring is not None
        arrays = dict(store.serving.arrays)
        arrays["head.bias"] = arrays.get("head.bias", 0) + store.centring
        stream.set_adapter(arrays, name)
        expected = stream.push(np.load(here / "person.npz")["samples"]) + stream.flush()
    labels = [row["label"] for row in rows]
    assert labels == [result.label for result in expected] and labels != [row["label"] for row in plain]


def test_it_is_let_go_of_at_once(command: Command, here: Path, kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live sensor may run for days."""
    seen = []

    def results(*given: Any) -> Any:
        bundle = Bundle.open(here / "tiny.physio", trust=here / "public.pem")
        target = Target.of(bundle, device="local")
        with AdapterStore.open(here / "store", target=target, trust=here / "public.pem") as store:
            seen.append(store.phase)
        return iter(())

    monkeypatch.setattr("physioedge.cli.run._results", results)
    assert command("run", "--store", here / "store")[0] == 0 and seen == [""]


def test_what_does_not_serve_is_told(command: Command, here: Path, kept: Any) -> None:
    make_keys(here / "other")
    code, out, err = command(
        "run", "--store", here / "store", "--adapter-trust", here / "other" / "public.pem", "--json"
    )
    assert code == 0 and json.loads(out.splitlines()[0])["adapter"] == "global"
    assert "problem: " in err and "are --device and --adapter-trust right?" in err and "serves: global" in err
    assert "problem: " in command("run", "--store", here / "store", "--device", "watch-9")[2]
    code, _, err = command("run", "--store", here / "store", "--adapters", "merged")
    assert code == 1 and "error[slots]" in err


def test_a_store_that_is_not_there_is_not_made_by_running(command: Command, here: Path) -> None:
    code, out, err = command("run", "--store", here / "nothing")
    assert (code, out) == (1, "") and "error[store]" in err and not (here / "nothing").exists()


def test_what_is_forgotten_bears_its_name(command: Command, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("adapt", "--level", "--seconds", 12, "--store", here / "store")[0] == 0
    where = ["--bundle", str(here / "tiny.physio"), "--trust", str(here / "public.pem"), "--store", str(here / "store")]
    assert main(["adapter", "forget", *where]) == 0
    assert "Erased: 0 adapter files, 1 biases of the person's own signal, 0 lines" in capsys.readouterr().out
