"""The host over real HTTP: what it answers, what it refuses, and what it keeps to itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")

from made_up_host import (
    DEVICE,
    SHAPES,
    TOKEN,
    LinearGenerator,
    SeededGenerator,
    condition_bytes,
    link_to,
    served,
)
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.adaptation.condition import MAX_BYTES, task_of
from physioedge_runtime.adaptation.freshness import FLOOR_S
from physioedge_runtime.adaptation.manifest import Binding
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.errors import ConditionError, LinkError
from tiny_bundle import PRIVATE_KEY, tiny_contract

TRUST = public_key(PRIVATE_KEY)
CONDITION = condition_bytes()
REQUEST = Request(device=DEVICE, counter=4, nonce="0123456789abcdef" * 2, condition=CONDITION)


@pytest.fixture(scope="module")
def host() -> Iterator[Any]:
    with served(max_batch=8) as app:
        yield app


def ask(app: Any, request: Request = REQUEST) -> bytes:
    return link_to(app.state.port).attempt(request)


def opened(data: bytes) -> AdapterFile:
    return AdapterFile.open(data, trust=TRUST)


def raw(
    app: Any,
    *,
    method: str = "POST",
    path: str = "/v1/adaptations",
    body: Any = CONDITION,
    chunked: bool = False,
    **headers: Any,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request with headers of ours; None leaves one out."""
    names = {
        "device": "PhysioEdge-Device",
        "counter": "PhysioEdge-Counter",
        "nonce": "PhysioEdge-Nonce",
        "token": "Authorization",
        "kind": "Content-Type",
    }
    usual = {"kind": "application/octet-stream", "nonce": "a" * 32, "token": f"Bearer {TOKEN}"}
    given = {"device": DEVICE, "counter": "4", **usual, **headers}
    connection = http.client.HTTPConnection("127.0.0.1", app.state.port, timeout=20)
    try:
        sent = {names[name]: value for name, value in given.items() if value is not None}
        connection.request(method, path, body=body, headers=sent, encode_chunked=chunked)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


def metric(app: Any, name: str) -> float:
    """Its value, 0 where it has not been counted yet."""
    text = raw(app, method="GET", path="/metrics", body=None)[2].decode()
    found = re.search(rf"^physioedge_adaptation_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


def test_an_answer_is_a_signed_adapter_for_this_device_alone() -> None:
    with served(clock=lambda: FLOOR_S + 5.5, valid_s=100) as app:
        found = opened(ask(app))
    said = found.manifest
    assert (said.counter, said.binding, said.task) == (5, Binding(kind="device", id=DEVICE), "arrhythmia")
    assert (said.issued_s, said.expires_s) == (FLOOR_S + 5, FLOOR_S + 105)
    assert said.id == f"linear-{REQUEST.digest[:16]}" and said.provenance["request_sha256"] == REQUEST.digest
    assert {name: array.shape for name, array in found.arrays.items()} == SHAPES


def test_the_same_request_has_the_same_answer_here_and_the_same_arrays_on_every_host(host: Any) -> None:
    before = metric(host, "repeated_total")
    assert ask(host) == ask(host) and metric(host, "repeated_total") == before + 1
    times = iter(range(FLOOR_S, FLOOR_S + 100))
    found = []
    for _ in range(2):
        with served(SeededGenerator(), clock=lambda: next(times)) as app:
            found.append([opened(ask(app, one)) for one in (REQUEST, replace(REQUEST, nonce="f" * 32))])
    for one, other in zip(*found, strict=True):
        assert one.digest != other.digest and one.manifest.id == other.manifest.id  # issued at another time
        for name in SHAPES:
            np.testing.assert_array_equal(one.arrays[name], other.arrays[name])
    assert found[0][0].manifest.id != found[0][1].manifest.id
    assert not np.array_equal(*(one.arrays[next(iter(SHAPES))] for one in found[0]))  # another draw


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"token": None}, 401, "token"),
        ({"token": "Bearer " + "u" * 40}, 401, "token"),
        ({"token": f"Basic {TOKEN}"}, 401, "token"),
        ({"token": "Bearer \xff"}, 401, "token"),
        ({"device": "watch-8"}, 401, "token"),
        ({"device": None}, 400, "request"),
        ({"counter": None}, 400, "request"),
        ({"counter": "-1"}, 400, "request"),
        ({"counter": "1e3"}, 400, "request"),
        ({"counter": "9" * 30}, 400, "request"),
        ({"nonce": "xyz"}, 400, "request"),
        ({"nonce": "A" * 32}, 400, "request"),
        ({"kind": None}, 400, "request"),
        ({"kind": "application/json"}, 400, "request"),
        ({"body": b""}, 422, "condition"),
        ({"body": b"5\n"}, 422, "condition"),
        ({"body": CONDITION.replace(b'"adapter"', b'"\\ud800":1,"adapter"')}, 422, "condition"),
        ({"body": b"\x00\xff" * 100}, 422, "condition"),
        ({"body": CONDITION[:-1]}, 422, "condition"),
        ({"body": condition_bytes(features=9)}, 422, "condition"),
        ({"body": condition_bytes(task=task_of(tiny_contract(task="af")))}, 409, "adapter-task"),
        ({"body": condition_bytes(backbone="1" * 64)}, 409, "backbone"),
        ({"body": condition_bytes(source="1" * 64, kind="shapelets")}, 409, "condition"),
        ({"body": b"x" * (MAX_BYTES + 1)}, 413, "request"),
        ({"body": iter([b"x" * 5000] * 2), "chunked": True}, 413, "request"),
        ({"body": None, "method": "GET"}, 405, "request"),
        ({"path": "/v2/adaptations"}, 404, "request"),
        ({"path": "/v1/adaptations/"}, 404, "request"),
        ({"path": "/healthz/", "body": None, "method": "GET"}, 404, "request"),
    ],
)  # fmt: skip
def test_refusals(host: Any, headers: dict[str, Any], status: int, code: str) -> None:
    found, sent, body = raw(host, **headers)
    assert found == status
    said = json.loads(body)
    assert said["code"] == code and set(said) == {"code", "came", "expected", "do"} and all(said.values())
    assert (sent.get("www-authenticate") == "Bearer") == (status == 401)
    assert TOKEN not in body.decode() and "u" * 40 not in body.decode()


def test_what_a_proxy_could_read_otherwise_is_refused(host: Any) -> None:
    """Headers twice, of which a proxy may check the other one; a body whose end is told in two ways."""
    once = {
        "Content-Type": "application/octet-stream", "Authorization": f"Bearer {TOKEN}", "PhysioEdge-Device": DEVICE,
        "PhysioEdge-Counter": "4", "PhysioEdge-Nonce": "a" * 32, "Content-Length": str(len(CONDITION)),
    }  # fmt: skip
    for twice, status in (("", 200), *((name, 400) for name in once if name != "Content-Length"), ("chunks", 400)):
        connection = http.client.HTTPConnection("127.0.0.1", host.state.port, timeout=20)
        connection.putrequest("POST", "/v1/adaptations")
        for name, value in once.items():
            for _ in range(1 + (name == twice)):
                connection.putheader(name, value)
        if twice == "chunks":
            connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        connection.send(b"0\r\n\r\n" if twice == "chunks" else CONDITION)
        response = connection.getresponse()
        said = response.read()
        assert response.status == status, (twice, said)
        assert status == 200 or json.loads(said)["code"] == "request"
        assert twice != "chunks" or response.headers["connection"] == "close"
        connection.close()


def test_a_flood_is_cut_off_and_hurts_nobody(host: Any) -> None:
    sent = 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(2000):
            sent += 65536
            yield b"x" * 65536

    with contextlib.suppress(OSError):  # the host may hang up before its answer is read
        assert raw(host, body=flood(), chunked=True, token=None)[0] == 413
    assert sent < 2000 * 65536
    assert opened(ask(host))


def test_one_device_has_its_share_and_is_told_when_to_come_back() -> None:
    now_s = [0.0]
    with served(burst=2, rate_per_s=0.25, monotonic=lambda: now_s[0]) as app:
        assert [raw(app)[0] for _ in range(3)] == [200, 200, 429]
        status, headers, body = raw(app)
        assert (status, headers["retry-after"], json.loads(body)["code"]) == (429, "4", "busy")
        with pytest.raises(LinkError, match="429 busy") as caught:
            ask(app)
        assert caught.value.retry_after_s == 4.0
        assert raw(app, token="Bearer wrong")[0] == 401  # strangers take nothing of it
        now_s[0] += 4.0
        assert [raw(app)[0] for _ in range(2)] == [200, 429]


def test_requests_that_come_together_are_done_together() -> None:
    requests = [Request.new(device=DEVICE, counter=0, condition=condition_bytes(n)) for n in range(8)]
    with served(LinearGenerator(slow_s=0.1)) as app:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda one: ask(app, one), requests))
        batches = metric(app, "batch_size_count")
        assert batches < 8 and metric(app, 'batch_size_bucket{le="1"}') < batches  # one of more than one
        for one, answer in zip(requests, answers, strict=True):
            assert opened(answer).manifest.id == f"linear-{one.digest[:16]}"
            again = opened(ask(app, replace(one, nonce="e" * 32)))  # alone
            np.testing.assert_array_equal(*(found.arrays[next(iter(SHAPES))] for found in (again, opened(answer))))


def test_one_bad_condition_spoils_nobody_elses_answer() -> None:
    generator = LinearGenerator(slow_s=0.4)
    with served(generator, max_batch=4) as app, ThreadPoolExecutor(5) as pool:
        pool.submit(ask, app)
        assert generator.running.wait(10)  # what comes meanwhile comes together
        bad = condition_bytes(features=9)
        bodies = [condition_bytes(1), bad, condition_bytes(2), condition_bytes(3)]
        asked = [Request.new(device=DEVICE, counter=0, condition=body) for body in bodies]
        futures = [pool.submit(ask, app, one) for one in asked]
        with pytest.raises(ConditionError, match="9 features"):
            futures[1].result()
        assert all(opened(futures[n].result()) for n in (0, 2, 3))
    assert generator.batches == [1, 4, 1, 1, 1, 1]


def test_a_request_that_comes_again_while_it_is_done_is_done_once() -> None:
    generator = LinearGenerator(slow_s=0.3)
    with served(generator, max_batch=1) as app, ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: ask(app), range(3)))
        assert len(set(answers)) == 1 and generator.batches == [1] and metric(app, "repeated_total") == 2


def test_too_many_at_once_are_told_to_come_back() -> None:
    generator = LinearGenerator(slow_s=0.3)
    with served(generator, max_batch=1, max_waiting=1, batch_wait_s=0.0) as app, ThreadPoolExecutor(6) as pool:
        asked = [Request.new(device=DEVICE, counter=0, condition=CONDITION) for _ in range(6)]
        first = pool.submit(ask, app, asked[0])
        assert generator.running.wait(10)
        rest = [future.exception() for future in [pool.submit(ask, app, one) for one in asked[1:]]]
        assert opened(first.result())
    refused = [error for error in rest if error is not None]
    assert 4 <= len(refused) <= 5
    assert all(isinstance(e, LinkError) and "503 busy" in str(e) and e.retry_after_s == 1.0 for e in refused)


@pytest.mark.parametrize("fault", ["raises", "nan", "half"])
def test_a_generator_that_fails_is_an_error_without_details(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(LinearGenerator):
        def generate(self, conditions: Any) -> Any:
            made = super().generate(conditions)
            return made[:0] if fault == "half" else [{n: a * np.float32("nan") for n, a in one.items()} for one in made]

    caplog.set_level(logging.DEBUG)
    with served(Failing(broken=fault == "raises")) as app:
        status, _, body = raw(app)
        assert (status, json.loads(body)["code"]) == (500, "host")
        with pytest.raises(LinkError, match="500 host"):  # the operator may mend it
            ask(app)
        assert b"secret" not in body
    assert "no adapter: " in caplog.text and "secret" not in caplog.text


def test_draining_finishes_what_is_under_way_and_lets_nothing_in() -> None:
    generator = LinearGenerator(slow_s=0.6)
    with served(generator, drain_s=7.0) as app, ThreadPoolExecutor(1) as pool:
        assert raw(app, method="GET", path="/healthz", body=None)[0] == 200
        under_way = pool.submit(ask, app)
        assert generator.running.wait(10) and metric(app, "in_flight") == 1
        app.state.service.drain()
        status, headers, body = raw(app)
        assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "7", "busy")
        status, _, body = raw(app, method="GET", path="/healthz", body=None)
        assert status == 503 and json.loads(body)["status"] == "draining"
        assert opened(under_way.result())
        assert metric(app, "in_flight") == 0


def test_answers_are_forgotten_after_a_while() -> None:
    now_s = [0.0]
    times = iter(range(FLOOR_S, FLOOR_S + 100))
    with served(cache_ttl_s=60.0, cache_entries=2, monotonic=lambda: now_s[0], clock=lambda: next(times)) as app:
        first = ask(app)
        now_s[0] = 59.0
        assert ask(app) == first
        now_s[0] = 60.0
        assert ask(app) != first  # issued anew
        for nonce in "bc":
            ask(app, replace(REQUEST, nonce=nonce * 32))
        assert len(app.state.service._cache) == 2


def test_the_contract_can_be_read_by_machines(host: Any) -> None:
    status, _, body = raw(host, method="GET", path="/openapi.json", body=None)
    spec = json.loads(body)
    posted = spec["paths"]["/v1/adaptations"]["post"]
    assert status == 200 and set(spec["paths"]) == {"/v1/adaptations", "/healthz", "/metrics"}
    assert {row["name"] for row in posted["parameters"]} == set(REQUEST.to_headers())
    assert all(row["required"] for row in posted["parameters"]) and posted["security"] == [{"HTTPBearer": []}]
    assert list(posted["requestBody"]["content"]) == ["application/octet-stream"]
    assert set(posted["responses"]) == {str(n) for n in (200, 400, 401, 408, 409, 413, 422, 429, 500, 503)}
    assert raw(host, method="GET", path="/docs", body=None)[0] == 404


def test_metrics_are_in_the_format_they_claim(host: Any) -> None:
    ask(host)
    _, headers, body = raw(host, method="GET", path="/metrics", body=None)
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = body.decode().splitlines()
    sample = re.compile(r'physioedge_adaptation_[a-z_]+(\{(status|le)="[^"]+"\})? [0-9.e+-]+')
    assert all(line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line) for line in lines)
    for name in ("seconds", "batch_size"):
        counts = [float(line.split()[1]) for line in lines if line.startswith(f"physioedge_adaptation_{name}_bucket")]
        assert counts == sorted(counts) and counts[-1] == metric(host, f"{name}_count") > 0
    assert DEVICE not in body.decode()


def test_somebody_who_gives_up_takes_nothing_from_the_others() -> None:
    with served(LinearGenerator(slow_s=0.3)) as app:
        with pytest.raises(LinkError):
            link_to(app.state.port, timeout_s=0.05).attempt(Request.new(device=DEVICE, counter=0, condition=CONDITION))
        assert opened(ask(app, Request.new(device=DEVICE, counter=0, condition=CONDITION)))
