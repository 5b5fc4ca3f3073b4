"""The page's HTTP: who may look, who may act, and what other sites and users get."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from made_up_view import served, session_of
from physioedge.view.app import POLICY
from physioedge_runtime.errors import HostError


@pytest.fixture(scope="module")
def server():
    with session_of() as session, served(session) as server:
        yield server


class Site:
    """Requests to the page, with the token's cookie or without."""

    def __init__(self, server) -> None:
        self.server = server
        self.token = server.url.split("token=")[1]
        self.cookie = f"physioedge_view_{server.port}={self.token}"

    def ask(self, path: str, *, method: str = "GET", cookie: bool = True, body: bytes | None = None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if cookie:
            given["Cookie"] = self.cookie
        connection.request(method, path, body=body, headers=given)
        answer = connection.getresponse()
        text = answer.read().decode() if answer.getheader("content-type") != "text/event-stream; charset=utf-8" else ""
        connection.close()
        return answer, text

    def act(self, action: str, body: bytes | None = None, **headers: str):
        answer, text = self.ask(f"/actions/{action}", method="POST", body=body, **{"X_Physioedge": "1", **headers})
        return answer.status, json.loads(text)


@pytest.fixture
def site(server):
    return Site(server)


def test_the_token_becomes_a_cookie_and_leaves_the_address(site):
    answer, _ = site.ask(f"/?token={site.token}", cookie=False)
    said = answer.getheader("set-cookie")
    assert (answer.status, answer.getheader("location")) == (303, "/")
    assert site.cookie in said and "HttpOnly" in said and "SameSite=strict" in said


@pytest.mark.parametrize("path", ["/", "/events", "/assets/view.js", "/assets/colours.css", "/?token=wrong"])
def test_without_the_token_there_is_nothing(site, path):
    answer, text = site.ask(path, cookie=False)
    assert answer.status == 401 and "physioedge view printed" in text


def test_another_host_name_is_refused(site):
    """A name that somebody else points at this machine, so that a browser takes it for their site."""
    assert site.ask("/", Host="attacker.example")[0].status == 421
    assert site.ask("/", Host=f"attacker.example:{site.server.port}")[0].status == 421
    assert site.ask("/", Host=f"localhost:{site.server.port}")[0].status == 200


def test_another_site_cannot_act(site):
    assert site.act("pause", Origin="https://attacker.example")[0] == 403
    answer, _ = site.ask("/actions/pause", method="POST")  # as a form of another site would
    assert answer.status == 403
    assert site.ask("/actions/pause", method="POST", cookie=False, X_Physioedge="1")[0].status == 401
    assert site.ask("/actions/pause", X_Physioedge="1")[0].status == 405


def test_actions(site):
    assert site.act("pause") == (200, {"done": True, "text": ""})
    assert site.act("speed", b'{"value": 5}') == (200, {"done": True, "text": ""})
    status, said = site.act("rollback")
    assert status == 200 and not said["done"] and "[store-state]" in said["text"]
    assert site.act("play", Origin=f"http://127.0.0.1:{site.server.port}")[1]["done"]
    assert site.act("format")[0] == 404 and site.act("__init__")[0] == 404


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"value": true}', b'{"value": "5"}', b"x" * 10_000, b"[" * 200])
def test_odd_bodies_are_refused(site, body):
    assert site.act("speed", body)[0] == 400


def test_every_answer_is_strict(site):
    for path in ("/", "/assets/view.js", "/nothing"):
        answer, _ = site.ask(path)
        assert answer.getheader("content-security-policy") == POLICY and "unsafe" not in POLICY
        assert (
            answer.getheader("x-content-type-options") == "nosniff" and answer.getheader("cache-control") == "no-store"
        )
        assert answer.getheader("server") is None
    assert site.ask("/assets/../app.py")[0].status == 404 and site.ask("/assets/%2e%2e/app.py")[0].status == 404


def test_nothing_in_the_page_comes_from_elsewhere(site):
    for path in ("/", "/assets/view.css", "/assets/view.js", "/assets/rows.js", "/assets/panel.js", "/assets/wire.js"):
        text = site.ask(path)[1]
        assert text and "https://" not in text and "http://" not in text and "//cdn" not in text
        assert " style=" not in text and "onclick" not in text  # which the policy would refuse


def events(site: Site) -> Iterator[tuple[str, dict]]:
    connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=10)
    connection.request("GET", "/events", headers={"Cookie": site.cookie})
    answer = connection.getresponse()
    kind = ""
    try:
        while line := answer.readline().decode():
            if line.startswith("event: "):
                kind = line[7:].strip()
            elif line.startswith("data: "):
                yield kind, json.loads(line[6:])
    finally:
        connection.close()


def test_events_begin_with_what_there_is(site):
    site.act("play")
    stream = events(site)
    kind, hello = next(stream)
    assert kind == "hello" and hello["sensors"][0]["fs_hz"] == 360.0 and hello["labels"][0]["label"] == "N"
    assert hello["bundle"]["name"] == "arrhythmia" and "past" in hello and not hello["live"]
    ticks = [next(stream) for _ in range(20)]
    assert all(kind == "tick" for kind, _ in ticks)
    assert sum(piece["n"] for _, tick in ticks for piece in tick.get("signal", [])) > 100
    stream.close()


def test_a_port_that_is_taken_is_one_clear_error(server):
    from physioedge.view.serving import PageServer

    with session_of() as session, pytest.raises(HostError, match="--port"):
        PageServer(session, port=server.port, ready=lambda _: None)
