"""``physioedge adapt`` and ``physioedge adapter``, with a generator in the process and with a host in a thread."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_up_host import DEVICE, SHAPES, SOURCE, TOKEN, served
from made_up_person import FS_HZ, bundle_here
from physioedge.cli.main import main
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.files import Generator, save_generator
from physioedge.generator.regression import fit_mean
from physioedge.models.shipped import BUNDLE
from physioedge_runtime.adaptation.change_plan import FILE, ChangePlan
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.bundle.contract import SlotSpec
from synthetic_ecg import synthetic_ecg
from tiny_bundle import DIM, write_keys

PLAN = ChangePlan(min_windows=40, max_windows=200)
ORIGIN = Origin(
    task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source=SOURCE,
    slots=tuple(SlotSpec(name=name, shape=shape) for name, shape in SHAPES.items()),
)  # fmt: skip


def generator(path: Path, numbers: Any, features: int = DIM) -> Path:
    """One that answers everybody with the same numbers."""
    conditions = np.random.default_rng(0).normal(size=(2, 2 * features))
    adapters = np.broadcast_to(np.asarray(numbers, np.float64), (2, ORIGIN.width))
    found = AdapterSet(
        origin=ORIGIN, conditions=conditions, adapters=adapters, person=np.array(["a", "b"]), details={}
    )  # fmt: skip
    save_generator(path, Generator(origin=ORIGIN, weights=fit_mean(found)))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_keys(folder)
    (folder / "token").write_text(TOKEN + "\n")
    samples, _ = synthetic_ecg(FS_HZ, 40.0)
    for name, kept in (("person", samples), ("short", samples[:, : int(12 * FS_HZ)])):
        np.savez(folder / f"{name}.npz", samples=kept, fs_hz=FS_HZ, units="mV", channels=["MLII"])
    bundle_here(folder / "tiny.physio", {FILE: PLAN.to_bytes()})
    generator(folder / "alike.generator", np.zeros(ORIGIN.width))
    generator(folder / "harmful.generator", np.random.default_rng(1).normal(size=ORIGIN.width) * 8.0)
    generator(folder / "foreign.generator", np.zeros(ORIGIN.width), DIM + 1)
    return folder


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command on the store of this test; gives exit code, stdout and stderr."""

    def call(*words: Any) -> tuple[int, str, str]:
        keys = ["--trust", str(files / "public.pem"), "--bundle", str(files / "tiny.physio")]
        code = main([*map(str, words), *keys, "--store", str(tmp_path / "store")])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def adapt(command: Command, files: Path) -> Command:
    def call(*words: Any, record: str = "person") -> tuple[int, str, str]:
        return command("adapt", files / f"{record}.npz", "--precision", "fp32", "--seconds", 12, *words)

    return call


@pytest.fixture
def local(adapt: Command, files: Path) -> Command:
    def call(name: str, *words: Any, **more: Any) -> tuple[int, str, str]:
        return adapt("--local", files / f"{name}.generator", "--key", files / "private.pem", *words, **more)

    return call


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "socketpair", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.usefixtures("no_sockets")
def test_locally_an_adapter_is_confirmed_and_no_socket_opened(local: Command, command: Command) -> None:
    code, out, _ = local("alike", "--json")
    told = json.loads(out)
    assert (code, told["step"], told["serves"]) == (0, "confirmed", told["candidate"])
    assert told["serves"].startswith("mean-")
    assert told["windows_before"] >= 40 == told["windows_during"] and 12.0 < told["signal_s"] < 25.0
    status = json.loads(command("adapter", "status", "--json")[1])
    assert status["serves"] == told["serves"] and status["phase"] == "" and not status["problems"]
    assert [event["what"] for event in status["history"]] == ["staged", "trying", "confirmed"]


@pytest.mark.usefixtures("no_sockets")
def test_a_harmful_one_is_reverted_and_the_exit_code_is_1(local: Command, command: Command) -> None:
    code, out, _ = local("harmful", "--no-beside")
    assert code == 1 and "reverted" in out and "label shares moved" in out
    status = json.loads(command("adapter", "status", "--json")[1])
    assert status["serves"] == "global" and status["history"][-1]["what"] == "reverted"


@pytest.mark.usefixtures("no_sockets")
def test_beside_the_model_in_use_the_same_windows_are_compared(local: Command) -> None:
    code, out, _ = local("alike", "--json")
    assert code == 0 and "0.000 of windows called otherwise" in json.loads(out)["reason"]
    code, out, _ = local("harmful", "--json", "--beside")
    assert code == 1 and "windows called otherwise" in json.loads(out)["reason"]


def labels_in(path: Path, label: str) -> Path:
    path.write_text("t_s,label\n" + "".join(f"{n / 10},{label}\n" for n in range(400)))
    return path


def test_confirmed_labels_decide_whether_a_change_is_right(local: Command, command: Command, tmp_path: Path) -> None:
    """The adapter calls everything otherwise: whether that is harm only labels can tell."""
    told = {}
    for label in ("N", "S", "V", "other"):
        code, out, _ = local("harmful", "--json", "--labels", labels_in(tmp_path / "known.csv", label))
        told[label] = json.loads(out)
        assert "of 10 confirmed windows right" in told[label]["reason"] and told[label]["windows_during"] >= 40
        assert (code == 0) == (told[label]["step"] == "confirmed")
        command("adapter", "forget")
    assert {one["step"] for one in told.values()} == {"confirmed", "reverted"}
    for one in told.values():
        right, before = map(int, re.findall(r"(\d+) of 10 confirmed windows right, (\d+) by", one["reason"])[0])
        assert (one["step"] == "confirmed") == (right >= before)


def test_whoever_sits_there_is_asked(local: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", iter(["N\n", "what?\n", "\n"]))
    _, out, err = local("harmful", "--json", "--labels", "-")
    assert err.count("what is at") == 10 and "N, S, V, other, or nothing where you cannot tell" in err
    told = json.loads(out)  # one answer of ten: what holds without labels holds as well
    assert told["step"] == "reverted" and "called otherwise (at most" in told["reason"]


@pytest.mark.parametrize("text", ["t_s,label\n", "\ufefft_s,label\n900,N\n"])
def test_without_one_usable_label_a_trial_is_judged_as_without_labels(
    local: Command, tmp_path: Path, text: str
) -> None:
    (tmp_path / "known.csv").write_text(text, encoding="utf-8")
    code, out, _ = local("harmful", "--json", "--labels", tmp_path / "known.csv")
    assert code == 1 and "called otherwise (at most" in json.loads(out)["reason"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,N\n", "the head 'a,b'"),
        ("t_s,label\nx,N\n", "'x'"),
        ("", "head"),
        ("t_s,label\n1,normal\n", "the line '1,normal'"),
        ("t_s,label\nnan,N\n", "the line 'nan,N'"),
        ("t_s,label\n1\n", "the line '1'"),
        ("t_s,label\n\n", "the line ''"),
    ],
)
def test_a_file_of_labels_that_is_none_is_refused(local: Command, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "known.csv").write_text(text)
    code, _, err = local("alike", "--labels", tmp_path / "known.csv")
    assert code == 1 and "error[record]" in err and said in err


def test_the_nearest_moment_counts_and_none_that_is_far() -> None:
    from physioedge.cli.trying import _nearest

    said = [(1.0, "N"), (2.0, "V")]
    assert [_nearest(said, at_s) for at_s in (0.79, 0.9, 1.15, 1.5, 1.9, 2.3)] == [
        None, "N", "N", None, "V", None,
    ]  # fmt: skip
    assert _nearest([], 1.0) is None


@pytest.mark.parametrize(
    ("name", "words", "record", "step", "reason"),
    [
        ("alike", [], "short", "reverted", "the recording ended before a verdict"),
        ("alike", ["--seconds", "20"], "short", "not asked", "the recording ended after 12 s"),
        ("alike", ["--seconds", "5"], "person", "not asked", "[condition]"),
        ("alike", ["--seconds", "8"], "person", "not asked", "at least 40"),
        ("foreign", [], "person", "refused", "features"),
    ],
)
def test_whatever_keeps_an_adapter_out_is_said(
    local: Command, name: str, words: list[str], record: str, step: str, reason: str
) -> None:
    code, out, _ = local(name, "--json", *words, record=record)
    told = json.loads(out)
    assert (code, told["step"], told["serves"]) == (1, step, "global") and reason in told["reason"]


@pytest.mark.usefixtures("no_sockets")
def test_the_preview_is_what_a_host_gets(adapt: Command, command: Command, files: Path) -> None:
    code, out, _ = adapt("--preview", "--json", "--device", DEVICE)
    shown = json.loads(out)
    body = base64.b64decode(shown["body_base64"])
    assert code == 0 and len(body) == shown["bytes"] and (shown["device"], shown["counter"]) == (DEVICE, 0)
    assert shown["condition"]["mean"] == Condition.from_bytes(body).mean.tolist()
    code, out, _ = adapt(
        "--preview", "--host", "http://127.0.0.1:1", "--device", DEVICE, "--token-file", files / "token"
    )
    assert code == 0 and Condition.from_bytes(body).preview() in out and TOKEN not in out
    assert json.loads(command("adapter", "status", "--json")[1])["history"] == []


def test_a_preview_of_too_few_windows_is_refused(adapt: Command) -> None:
    code, _, err = adapt("--preview", "--seconds", "2")
    assert code == 1 and "error[condition]" in err
    code, out, _ = adapt("--preview", "--seconds", "20", record="short")
    assert code == 1 and "the recording ended" in out


def test_a_real_host_is_asked(adapt: Command, command: Command, files: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra host")
    pytest.importorskip("uvicorn", reason="needs the extra host")
    from physioedge.generator.files import load_generator

    preview = json.loads(adapt("--preview", "--json", "--device", DEVICE)[1])
    asked = []

    class Noting:
        kind, task, backbone_digest, source = "mean", "arrhythmia", "0" * 64, SOURCE

        def generate(self, conditions: Any) -> Any:
            asked.extend(condition.to_bytes() for condition in conditions)
            return load_generator(files / "alike.generator").generate(conditions)

    who = ["--device", DEVICE, "--token-file", files / "token", "--json"]
    with served(Noting()) as app:
        code, out, err = adapt("--host", f"http://127.0.0.1:{app.state.port}", *who)
    assert code == 0, (out, err)
    assert json.loads(out)["step"] == "confirmed" and asked == [base64.b64decode(preview["body_base64"])]
    code, out, _ = command("adapter", "status", "--device", DEVICE, "--json")
    assert json.loads(out)["serves"].startswith("mean-")
    stranger = json.loads(command("adapter", "status", "--json")[1])  # bound to another device
    assert stranger["serves"] == "global" and stranger["problems"]
    code, out, _ = adapt("--host", f"http://127.0.0.1:{app.state.port}", *who, "--tries", 1)  # it is gone now
    told = json.loads(out)
    assert (code, told["step"]) == (1, "waiting") and told["serves"].startswith("mean-") and "[link]" in told["reason"]


def test_adapters_are_rolled_back_pinned_and_forgotten(local: Command, command: Command) -> None:
    names = [json.loads(local("alike", "--json")[1])["serves"] for _ in range(2)]
    assert len(set(names)) == 2
    code, out, _ = command("adapter", "rollback", "--reason", "felt wrong")
    assert code == 0 and f"serves: {names[0]}" in out and "felt wrong" in out
    assert command("adapter", "pin")[0] == 0 and ", pinned" in command("adapter", "status")[1]
    code, _, err = command("adapter", "rollback")
    assert code == 1 and "error[store-state]" in err
    code, out, _ = local("alike", "--json")
    assert code == 1 and json.loads(out)["step"] == "refused" and json.loads(out)["serves"] == names[0]
    assert command("adapter", "unpin")[0] == 0
    code, out, _ = command("adapter", "forget")
    assert code == 0 and "Erased: 1 adapter files" in out and "serves: global" in out and names[0] not in out
    code, out, _ = command("adapter", "forget", "--json")
    assert code == 0 and json.loads(out)["forgotten"] == {"adapters": 0, "centring": 0, "events": 0}
    assert command("adapter", "rollback")[0] == 1


def test_a_store_that_is_not_there_is_not_made_by_looking(command: Command, tmp_path: Path) -> None:
    code, _, err = command("adapter", "status")
    assert code == 1 and "error[store]" in err and not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say whom to ask"),
        (["--local", "g"], "--local needs --key"),
        (["--host", "https://h"], "--host needs"),
        (["--host", "https://h", "--token-file", "t"], "--host needs"),
        (["--host", "https://h", "--local", "g"], "not allowed with"),
        (["--seconds", "0"], "positive"),
        (["--tries", "0"], "from 1 on"),
        (["--level", "--beside"], "are of a trial"),
        (["--local", "g", "--key", "k", "--labels", "f", "--no-beside"], "there are none with --no-beside"),
        (["--preview", "--labels", "f"], "are of a trial"),
    ],
)
def test_wrong_usage_is_2(adapt: Command, words: list[str], said: str) -> None:
    code, _, err = adapt(*words)
    assert code == 2 and said in err


def test_the_shipped_generator_is_asked_by_its_word(tmp_path, capsys):
    assert main(["keys", "make", str(tmp_path)]) == 0
    capsys.readouterr()
    code = main(["adapt", "shipped", "--bundle", str(BUNDLE), "--store", str(tmp_path / "store"), "--local", "shipped",
                 "--key", str(tmp_path / "private.pem"), "--seconds", "75", "--json"])  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert code == 1 and told["step"] == "reverted", "90 s are too few for a verdict"
    assert told["candidate"].startswith("mlp-") and told["serves"] == "global"
