"""The page's HTTP: one page, its files, one stream of events, and actions. For this machine alone.

Events are server-sent (https://html.spec.whatwg.org/multipage/server-sent-events.html): they need no package beside
the server, browsers connect again by themselves, and other sites cannot read them, as they could a web socket.
What a person's body says must not be read by another site or user of the machine: each request must name this machine
as its host and bring the token that was printed, an action also a header that no other site can send.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.responses import StreamingResponse as Streamed
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from physioedge.report.colours import css
from physioedge.view.board import Full
from physioedge.view.person import ACTIONS
from physioedge.view.session import Session

STATIC = Path(__file__).with_name("static")
HOSTS = ("127.0.0.1", "localhost", "[::1]")
OWN_HEADER = "x-physioedge"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_MAX_BODY = 256


def create_app(session: Session, *, token: str, port: int) -> Starlette:
    """The application of one session.

    Parameters
    ----------
    session : Session
        Started.
    token : str
        Who brings it may look and act.
    port : int
        Where it listens; cookies are shared by all ports of a host, so that it stands in the cookie's name.
    """

    async def page(request: Request) -> Response:
        if "token" in request.query_params:  # out of the address at once: it is kept in histories
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(_cookie(port), token, httponly=True, samesite="strict")
            return answer
        return FileResponse(STATIC / "index.html")

    async def colours(_: Request) -> Response:
        return Response(css(), media_type="text/css")

    async def events(_: Request) -> Response:
        return Streamed(_events(session), media_type="text/event-stream")

    async def act(request: Request) -> Response:
        action = request.path_params["action"]
        if request.headers.get(OWN_HEADER) is None:
            return _refused(403, "an action without the page's own header")
        if action not in (*ACTIONS, "pause", "play", "speed"):
            return _refused(404, "no such action")
        value = await _value(request)
        if value is None:
            return _refused(400, 'a body that is no {"value": number}')
        said = await run_in_threadpool(session.do, action, value)
        return JSONResponse({"done": said.done, "text": said.text})

    routes = [
        Route("/", page),
        Route("/events", events),
        Route("/actions/{action}", act, methods=["POST"]),
        Route("/assets/colours.css", colours),
        Mount("/assets", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(Guarded, token=token, port=port)
    return app


class Guarded:
    """Refuses what does not come from this page on this machine, and puts the strict headers on all answers.

    Parameters
    ----------
    app : ASGI application
    token : str
    port : int
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app, self._token, self._port = app, token, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refused = self._refusal(Request(scope))
        await (refused or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("host", "") not in {f"{host}:{self._port}" for host in HOSTS}:
            return _refused(421, "another host's name")  # a name that an attacker points at this machine
        origin = request.headers.get("origin")
        if origin is not None and origin not in {f"http://{host}:{self._port}" for host in HOSTS}:
            return _refused(403, "a request of another site")
        given = request.cookies.get(_cookie(self._port), "")
        if request.url.path == "/":
            given = request.query_params.get("token", given)
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return PlainTextResponse("Open the address that physioedge view printed: it holds the token.", 401)
        return None


async def _events(session: Session) -> AsyncIterator[bytes]:
    try:
        async with session.board.looking() as (first, own):
            yield _event("hello", first)
            while (message := await own.next()) is not None:
                yield _event("tick", message)
            yield _event("bye", {"text": "ended"})
    except Full:
        yield _event("full", {"text": "Too many pages look at this session. Close one."})


def _event(kind: str, value: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(value, allow_nan=False, separators=(',', ':'))}\n\n".encode()


async def _value(request: Request) -> float | None:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            return None
    if not body:
        return 0.0
    try:
        value = json.loads(body)["value"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _refused(status: int, text: str) -> Response:
    return JSONResponse({"done": False, "text": text}, status)


def _cookie(port: int) -> str:
    return f"physioedge_view_{port}"
