"""How ``serve`` begins: what it says of where it listens, and what it says where it cannot."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")

from test_host_process import a_generator

from made_up_host import TOKENS, answers
from physioedge.cli.main import main
from physioedge.host.fleet import Fleet, fleet
from physioedge.host.serving import DrainingServer, Listening
from physioedge_runtime.bundle.signing import make_keys
from physioedge_runtime.errors import HostError

Serve = Callable[..., int]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """The command with all it needs, and more words."""
    make_keys(tmp_path)
    (tmp_path / "tokens.json").write_text(json.dumps(TOKENS))
    file = a_generator(tmp_path / "ridge.safetensors")
    words = ["--generator", file, "--key", tmp_path / "private.pem", "--tokens", tmp_path / "tokens.json"]
    return lambda *more: main(["serve", *map(str, words), *map(str, more)])


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_port_that_is_told_is_the_one_that_is_listened_on(
    name: str, serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[dict[str, Any]] = []

    def look(server: DrainingServer, sockets: list[socket.socket]) -> None:
        told.append(json.loads(capsys.readouterr().out))
        assert answers(told[0]["port"]) and {one.getsockname()[1] for one in sockets} == {told[0]["port"]}
        server.started = True

    monkeypatch.setattr(DrainingServer, "run", look)
    assert serve("--host", name, "--port", 0, "--json") == 0
    assert told == [{"devices": 1, "host": name, "port": told[0]["port"], "tls": False, "replicas": 1}]
    assert told[0]["port"] > 0 and not answers(told[0]["port"])


@pytest.mark.parametrize(
    ("words", "came"),
    [
        (["--port", "99999"], "port 99999"),
        (["--port", "-1"], "port -1"),
        (["--port", "0", "--replicas", "1"], "port 0 for a fleet"),
        (["--host", "nowhere.invalid"], "port 8080 of nowhere.invalid ("),
        (["--host", "a..b"], "port 8080 of a..b ("),
        (["--host", "192.0.2.1"], "port 8080 of 192.0.2.1 (Cannot assign"),
        (["--max-batch", "0"], "the setting max_batch 0"),
        (["--valid-days", "0"], "the setting valid_s 0"),
        (["--certificate", "{folder}/none.pem"], "none.pem with no key of its own (No such file"),
        (["--certificate", "{folder}/private.pem"], "private.pem with no key of its own ("),
        (["--certificate", "{folder}/private.pem", "--certificate-key", "{folder}/none.pem"], "none.pem ("),
        (["--certificate-key", "{folder}/private.pem"], "a certificate's key without a certificate"),
        (["--certificate", "{folder}/none.pem", "--replicas", "1"], "none.pem with no key of its own (No such file"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_message(
    words: list[str], came: str, serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--replicas" in words:
        pytest.importorskip("ray.serve", reason="needs the extra ray")
    assert serve("--json", *(word.format(folder=tmp_path) for word in words)) == 1
    out, err = capsys.readouterr()
    said = json.loads(err.splitlines()[-1])["error"] if out == "" else {}
    assert said["code"] == "host" and came in said["came"] and said["expected"] and said["do"], said


def test_a_port_that_is_taken_is_told(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        assert serve("--port", port) == 1
        assert f"error[host]: port {port} of 127.0.0.1 (Address already in use); expected" in capsys.readouterr().err
        where = Listening(host="127.0.0.1", port=port)
        with (
            pytest.raises(HostError, match="already in use"),
            fleet(lambda key: pytest.fail("made"), Path("k"), where, Fleet(replicas=1)),
        ):
            pytest.fail("opened")
