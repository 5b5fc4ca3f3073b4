"""A host as a process: what it leaves behind, how it ends, how it is started."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")

from made_up_host import (
    DEVICE,
    DIM,
    SHAPES,
    SOURCE,
    TOKEN,
    TOKENS,
    condition_bytes,
    free_port,
    link_to,
    process,
    until,
)
from physioedge.cli.main import main
from physioedge.cli.serve import SHIPS
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.files import Generator as ClosedForm
from physioedge.generator.files import save_generator
from physioedge.generator.regression import fit_ridge
from physioedge.host.app import ERRORS
from physioedge.host.limits import TokenBuckets
from physioedge.host.serving import DrainingServer
from physioedge.host.settings import HostSettings, read_tokens
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.adaptation.condition import MAX_BYTES, Condition
from physioedge_runtime.adaptation.link import AGAIN, Link, Retry
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.bundle.signing import make_keys, public_key
from physioedge_runtime.errors import HostError, LinkError, RequestInvalid, TokenRefused
from tiny_bundle import PRIVATE_KEY


def traces(secret: bytes) -> list[bytes]:
    """A secret and the ways in which it is usually written."""
    return [secret, secret.hex().encode(), base64.b64encode(secret), repr(secret).encode()[2:-1]]


def is_draining(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 503
    finally:
        connection.close()


def test_nothing_of_a_person_is_written_or_logged_and_a_stopped_host_finishes_its_answers(tmp_path: Path) -> None:
    port, condition = free_port(), condition_bytes(3)
    request = Request.new(device=DEVICE, counter=0, condition=condition)
    link = link_to(port, retry=Retry(tries=1))
    with process(port, tmp_path, slow_s=0.6) as child, ThreadPoolExecutor(1) as pool:
        with pytest.raises(TokenRefused):
            Link(f"http://127.0.0.1:{port}", DEVICE, "another").send(request)
        under_way = pool.submit(link.send, request)
        until((tmp_path / "running").exists)
        child.send_signal(signal.SIGTERM)
        until(lambda: is_draining(port))
        answer = under_way.result()
        assert child.wait(20) == 0
    with pytest.raises(LinkError):
        link.send(request)
    AdapterFile.open(answer, trust=public_key(PRIVATE_KEY))
    output = (tmp_path / "output").read_bytes()
    assert b"DEBUG" in output and b"Shutting down" in output  # it was asked to tell all
    floats = [f"{v:.4f}".encode() for v in Condition.from_bytes(condition).mean]
    body = condition.partition(b"\n")[2]
    secrets = [
        condition[:40],
        body[:12],
        answer[:64],
        answer[-64:],
        TOKEN.encode(),
        request.nonce.encode(),
        DEVICE.encode(),
    ]
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for secret in secrets:
            assert not any(trace in content for trace in traces(secret)), (file.name, secret)
        assert not any(number in content for number in floats)
    assert {path.name for path in tmp_path.rglob("*")} == {"output", "running"}


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    port = free_port()
    with process(port, tmp_path, drain_s=300.0) as child:
        child.send_signal(signal.SIGINT)
        until(lambda: is_draining(port))
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0


def test_buckets_fill_again_with_time_and_no_further() -> None:
    now_s = [0.0]
    buckets = TokenBuckets(0.5, 2, lambda: now_s[0])
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 2.0] and buckets.take("b") == 0.0
    now_s[0] = 1.0
    assert buckets.take("a") == 1.0
    now_s[0] = 1000.0
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 2.0]


def test_settings_that_make_no_sense_are_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"valid_s": 0}, {"rate_per_s": 0.0}, {"batch_wait_s": -1.0}, {"cache_ttl_s": float("inf")},
        {"hold_s": float("nan"), "max_batch": 0},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(HostError) as caught:
            HostSettings(tokens=TOKENS, **change)
        told = {f"{name} {value}" for name, value in change.items()}
        assert set(caught.value.came.removeprefix("the setting ").split(", ")) == told


def test_tokens_are_kept_as_digests(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(TOKENS))
    settings = HostSettings(tokens=read_tokens(path))
    settings.check_token(DEVICE, TOKEN)
    for device, token in ((DEVICE, TOKENS[DEVICE]), (DEVICE, ""), ("watch-8", TOKEN), (DEVICE, "\udcff")):
        with pytest.raises(TokenRefused):
            settings.check_token(device, token)
    wrong: list[Any] = [[], {}, {"a": 1}, {"a": "0" * 63}, {" ": "0" * 64}, "a"]
    for text in ("", "{", "\xe4", *map(json.dumps, wrong)):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(RequestInvalid, match="watch-7"):
            read_tokens(path)


def a_generator(path: Path) -> Path:
    """A fitted one, of made-up people."""
    rng = np.random.default_rng(0)
    slots = tuple(SlotSpec(name=name, shape=shape) for name, shape in SHAPES.items())
    origin = Origin(task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source=SOURCE, slots=slots)
    people = AdapterSet(
        origin=origin, conditions=rng.normal(size=(6, 2 * DIM)), adapters=rng.normal(size=(6, origin.width)),
        person=np.array([f"p{i}" for i in range(6)]), details={},
    )  # fmt: skip
    save_generator(path, ClosedForm(origin=origin, weights=fit_ridge(people)))
    return path


def test_a_generator_that_cannot_be_loaded_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tokens.json").write_text(json.dumps(TOKENS))
    words = ["serve", "--generator", "g", "--key", "k", "--tokens", str(tmp_path / "tokens.json")]
    assert main(words) == 1
    assert "a generator of this version" in capsys.readouterr().err


def test_serve_is_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command up to the socket, with a generator from a file."""
    make_keys(tmp_path)
    (tmp_path / "tokens.json").write_text(json.dumps(TOKENS))
    port, found, run = free_port(), [], DrainingServer.run

    def ask_and_stop(server: Any, sockets: Any) -> None:
        thread = threading.Thread(target=run, args=(server, sockets))
        thread.start()
        until(lambda: server.started)
        found.append(link_to(port).ask(condition_bytes(), 0))
        server.should_exit = True
        thread.join(20)

    monkeypatch.setattr(DrainingServer, "run", ask_and_stop)
    file = str(a_generator(tmp_path / "ridge.safetensors"))
    words = ["--generator", file, "--key", str(tmp_path / "private.pem"), "--tokens", str(tmp_path / "tokens.json")]
    assert main(["serve", *words, "--port", str(port), "--valid-days", "2"]) == 0
    said = AdapterFile.open(found[0], trust=tmp_path / "public.pem").manifest
    assert said.expires_s - said.issued_s == 2 * 86_400
    assert f"1 devices, no TLS, port {port} of 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize("task", SHIPS)
def test_shipped_generators_are_served_by_task(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("physioedge_weights", reason="needs the extra host")
    make_keys(tmp_path)
    (tmp_path / "tokens.json").write_text(json.dumps(TOKENS))
    port, served, run = free_port(), [], DrainingServer.run

    def look(server: Any, sockets: Any) -> None:
        thread = threading.Thread(target=run, args=(server, sockets))
        thread.start()
        until(lambda: server.started)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/healthz")
        served.append(json.loads(connection.getresponse().read()))
        connection.close()
        server.should_exit = True
        thread.join(20)

    monkeypatch.setattr(DrainingServer, "run", look)
    words = ["--key", str(tmp_path / "private.pem"), "--tokens", str(tmp_path / "tokens.json")]
    assert main(["serve", "--generator", "shipped", "--task", task, "--port", str(port), *words]) == 0
    assert served == [{"status": "ok", "task": task, "generator": "mlp"}]


def test_the_page_of_the_contract_says_what_the_code_does(repository: Path) -> None:
    page = (repository / "docs" / "host.md").read_text()
    rows = {row.split("|")[1].strip(" `"): row for row in page.splitlines() if row.startswith("| ")}
    statuses = {int(key.partition(",")[0]) for key in rows if key[:3].isdigit()}
    assert statuses == {200, 404, *ERRORS}
    again = {status for status in ERRORS if not rows[str(status)].endswith("| no |")}
    assert again == set(AGAIN) - {502, 504}  # which are a proxy's
    request = Request.new(device=DEVICE, counter=0, condition=b"")
    assert set(request.to_headers()) <= set(rows)
    assert set(json.loads(request.to_bytes().partition(b"\n")[0])) <= {
        name for key in rows for name in key.split("`, `")
    }
    ours, retry = HostSettings(tokens=TOKENS), Retry()
    for words in (
        f"good for {ours.valid_s // 86_400} days", f"at most {ours.cache_entries} |",
        f"within {ours.cache_ttl_s / 60:g} minutes",
        f"within {1000 * ours.batch_wait_s:g} ms", f"at most {ours.max_batch};", f"{ours.burst} requests at once",
        f"one every {1 / ours.rate_per_s:g} s", f"503 for {ours.drain_s:g} s", f"coming for {ours.read_timeout_s:g} s",
        f"within {ours.head_timeout_s:g} s", f"within {ours.exchange_timeout_s:g} s of its head",
        f"within {ours.read_timeout_s:g} s and without", f"{ours.read_timeout_s:g} s for its body",
        f"more than {ours.stranger_wait_s:g} s away, or {ours.connections_of_address} of its address wait",
        f"has {ours.connections_of_address} connections", f"while {ours.connections} connections are open",
        f"comes {ours.hold_s:g} s late", f"one request every {1000 * ours.stranger_s:g} ms",
        f"refused {ours.refusals} requests, and one a second",
        f"{retry.tries} tries and {retry.give_up_s:g} s", f"lesser of {retry.longest_s:g} s", f"at most {MAX_BYTES}.",
    ):  # fmt: skip
        assert words in page, words
