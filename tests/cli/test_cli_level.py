"""``physioedge adapt --level``: nobody is asked, no key is needed, and what it changed is counted."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli_adapt import ORIGIN, PLAN, generator

from made_up_person import FS_HZ, bundle_here, levelling_here
from physioedge.cli.main import main
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.engine.slots import BIAS
from synthetic_ecg import synthetic_ecg
from tiny_bundle import tiny_pair, write_keys, write_tiny_bundle

SECONDS = 12.0
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_keys(folder)
    samples, _ = synthetic_ecg(FS_HZ, 40.0)
    for name, kept in (("person", samples), ("short", samples[:, : int(5 * FS_HZ)])):
        np.savez(folder / f"{name}.npz", samples=kept, fs_hz=FS_HZ, units="mV", channels=["MLII"])
    bundle_here(folder / "tiny.physio", {**levelling_here(), "change-plan.json": PLAN.to_bytes()})
    bundle_here(folder / "bare.physio")
    generator(folder / "alike.generator", np.zeros(ORIGIN.width))
    return folder


@pytest.fixture
def command(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command on the store of this test; gives exit code, stdout and stderr."""

    def call(*words: Any, bundle: str = "tiny") -> tuple[int, str, str]:
        keys = ["--trust", str(files / "public.pem"), "--bundle", str(files / f"{bundle}.physio")]
        code = main([*map(str, words), *keys, "--store", str(tmp_path / "store")])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def level(command: Command, files: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "socketpair", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)

    def call(*words: Any, record: str = "person", **more: Any) -> tuple[int, str, str]:
        return command("adapt", files / f"{record}.npz", "--level", "--seconds", SECONDS, *words, **more)

    return call


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_a_bias_changes_of_the_rest_is_counted(level: Command, files: Path, precision: str) -> None:
    """Against two streams of the same signal, with the bias from the start and without; int8 is there merged only."""
    code, out, _ = level("--precision", precision, "--json")
    told = json.loads(out)
    assert (code, told["step"], told["how"], told["serves"]) == (0, "levelled", "levelling", "global")
    assert told["windows"] == 58 and list(told["bias"]) == ["N", "S", "V"] and told["bias"]["S"] < -1.0
    samples = np.load(files / "person.npz")["samples"]
    labels = []
    for bias in (None, {BIAS: np.array(list(told["bias"].values()), np.float32)}):
        bundle = Bundle.open(files / "tiny.physio", trust=files / "public.pem")
        with Stream(bundle, fs_hz=FS_HZ, units="mV", precision="fp32") as stream:
            stream.set_adapter(bias)
            rest = [r for r in stream.push(samples) + stream.flush() if r.t_emitted_s > SECONDS + 1e-6]
        labels.append([r.label or "withheld" for r in rest])
    pairs = [f"{old} -> {new}" for old, new in zip(*labels, strict=True) if old != new]
    assert told["rest"] == len(labels[0]) and len(pairs) > 20
    assert told["changed"] == {pair: pairs.count(pair) for pair in set(pairs)}


def test_the_bias_is_kept_named_and_taken_away(level: Command, command: Command) -> None:
    code, out, _ = level("--precision", "fp32")
    assert code == 0 and "bias of S" in out and "S -> N" in out and "reason" not in out
    told = json.loads(level("--precision", "fp32", "--json")[1])  # the first part is levelled now, and comes out alike
    assert told["changed"] and f"{told['bias']['S']:+.3f}" in out
    status = json.loads(command("adapter", "status", "--json")[1])
    assert status["serves"] == "global" and status["bias"] == told["bias"]
    assert f"bias from the person's own signal: N +0.000, S {told['bias']['S']:+.3f}" in command("adapter", "status")[1]
    code, out, _ = command("adapter", "unlevel")
    assert code == 0 and "bias" not in out
    assert json.loads(command("adapter", "status", "--json")[1])["bias"] == {}


def test_beside_an_adapter_its_own_bias_is_kept(level: Command, command: Command, files: Path) -> None:
    first = json.loads(level("--precision", "fp32", "--json")[1])
    asked = ["--local", files / "alike.generator", "--key", files / "private.pem", "--seconds", SECONDS]
    record = files / "person.npz"
    command("adapter", "unlevel")  # else the trial would be compared with levelled labels
    code, out, err = command("adapt", record, *asked, "--precision", "fp32", "--json")
    assert code == 0, (out, err)
    name = json.loads(out)["serves"]
    told = json.loads(level("--precision", "fp32", "--json")[1])
    assert (told["step"], told["serves"]) == ("levelled", name)
    assert told["bias"] == pytest.approx(first["bias"], abs=1e-4) and told["changed"] == first["changed"]
    status = json.loads(command("adapter", "status", "--json")[1])
    assert status["serves"] == name and status["bias"] == told["bias"]
    code, out, _ = command("adapter", "rollback")
    assert code == 0 and "serves: global" in out and "bias" not in out


@pytest.mark.parametrize(
    ("words", "record", "bundle", "step", "reason"),
    [
        ([], "short", "tiny", "not asked", "the recording ended after 5 s"),
        (["--seconds", 4], "person", "tiny", "waiting", "windows"),
        ([], "person", "bare", "refused", "offers none"),
    ],
)
def test_whatever_keeps_a_bias_out_is_said(
    level: Command, command: Command, words: list[Any], record: str, bundle: str, step: str, reason: str
) -> None:
    code, out, _ = level("--precision", "fp32", "--json", *words, record=record, bundle=bundle)
    told = json.loads(out)
    assert (code, told["step"], told["bias"], told["rest"]) == (1, step, {}, 0) and reason in told["reason"]
    code, out, _ = level("--precision", "fp32", *words, record=record, bundle=bundle)
    assert code == 1 and "reason" in out
    assert json.loads(command("adapter", "status", "--json", bundle=bundle)[1])["bias"] == {}


def test_values_are_refused_and_not_crashed_on(level: Command, files: Path) -> None:
    write_tiny_bundle(files / "pair.physio", contract=tiny_pair())
    rng, t = np.random.default_rng(0), np.arange(64 * 15) / 64
    pulse = 20 * np.sin(2 * np.pi * 1.2 * t) + rng.normal(size=t.shape)
    still = np.repeat([[0.0], [0.0], [1.0]], 32 * 15, axis=1) + rng.normal(scale=0.01, size=(3, 32 * 15))
    np.savez(
        files / "wrist.npz", **{"ppg.samples": pulse[None].astype(np.float32), "ppg.fs_hz": 64.0, "ppg.units": "a.u.",
        "ppg.channels": ["pulse"], "acc.samples": still.astype(np.float32), "acc.fs_hz": 32.0, "acc.units": "g",
        "acc.channels": ["x", "y", "z"]},
    )  # fmt: skip
    code, out, err = level("--json", record="wrist", bundle="pair")
    assert code == 1 and "2 values" in json.loads(out)["reason"], err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "https://h"], "not allowed with"),
        (["--local", "g"], "not allowed with"),
        (["--preview"], "--level sends nothing"),
    ],
)
def test_wrong_usage_is_2(level: Command, words: list[str], said: str) -> None:
    code, _, err = level(*words)
    assert code == 2 and said in err
