"""The host's HTTP: bytes in, bytes out, errors as JSON. ``docs/host.md`` is the contract."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from physioedge.host import metrics
from physioedge.host.cache import AnswerCache
from physioedge.host.doors import Doors, HoldingBack
from physioedge.host.protocol import Generator
from physioedge.host.service import AdaptationService, Refusal
from physioedge.host.settings import HostSettings
from physioedge_runtime.adaptation.condition import MAX_BYTES
from physioedge_runtime.adaptation.request import (
    COUNTER_HEADER,
    DEVICE_HEADER,
    MEDIA_TYPE,
    NONCE_HEADER,
    PATH,
    Request,
)
from physioedge_runtime.bundle.signing import read_private_key
from physioedge_runtime.errors import HostBusy, HostError, PhysioEdgeError, RequestInvalid

LOG = logging.getLogger("physioedge.host")
ONCE = ("Content-Type", "Authorization", DEVICE_HEADER, COUNTER_HEADER, NONCE_HEADER)
"""Headers that a request has one of."""
_BEARER = HTTPBearer(auto_error=False, description="The device's own token.")
_BINARY = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_SAID = {"type": "object", "properties": {k: {"type": "string"} for k in ("code", "came", "expected", "do")}}
ERRORS = {
    400: "A header is missing or malformed",
    401: "Unknown device, or another token",
    408: "The body stopped coming, or took too long",
    409: "A condition for another task, backbone or source than this host's",
    413: "The body is too long",
    422: "The body is no condition",
    429: "Too many requests of this device, or without a known device's token; Retry-After says when",
    500: "The generator failed",
    503: "The host has too much to do or is about to stop; Retry-After says when",
}


def create_app(
    generator: Generator,
    signing_key: Path | str | bytes,
    settings: HostSettings,
    *,
    cache: AnswerCache | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The application; its service and its doors are in ``app.state``.

    Parameters
    ----------
    generator : Generator
    signing_key : path or bytes
        Private key: PEM file, PEM text or 32 raw bytes. Devices trust its public half.
    settings : HostSettings
    cache : AnswerCache, optional
        None: in memory, for this process alone.
    clock, monotonic : callable
        As `AdaptationService`.

    Raises
    ------
    BundleError, FormatError
        The key cannot be read.
    """
    key = read_private_key(signing_key)
    service = AdaptationService(generator, key, settings, cache=cache, clock=clock, monotonic=monotonic)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    # the pages that FastAPI would offer load scripts from elsewhere; openapi.json is the same without
    # a path with a slash too many is another path: the place to go to instead would be made of what the client sent
    app = FastAPI(
        title="physioedge host", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.service, app.state.doors = service, Doors(settings, monotonic)
    app.add_middleware(HoldingBack, doors=app.state.doors, crowded=_crowded(settings))
    app.add_exception_handler(HTTPException, _no_such_page)

    @app.post(PATH, response_class=Response, responses=_responses(), openapi_extra=_asked())
    async def adapt(
        http: HttpRequest, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Response:
        """A signed adapter file for a condition, bound to the device, with the next counter."""
        return await _counted(service, http, "" if bearer is None else bearer.credentials)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        """200 while requests are taken, 503 once the host is about to stop."""
        state = {"status": "draining" if service.draining else "ok", "task": generator.task}
        return JSONResponse({**state, "generator": generator.kind}, 503 if service.draining else 200)

    @app.get("/metrics", response_class=Response)
    async def told() -> Response:
        """Counts in the text format of Prometheus."""
        return Response(service.metrics.text(), media_type=metrics.MEDIA_TYPE)

    return app


async def _counted(service: AdaptationService, http: HttpRequest, token: str) -> Response:
    began_s, counts = time.perf_counter(), service.metrics
    counts.in_flight += 1
    try:
        response = await _answered(service, http, token)
    finally:
        counts.in_flight -= 1
    counts.requests[response.status_code] += 1
    counts.seconds.add(time.perf_counter() - began_s)
    return response


async def _answered(service: AdaptationService, http: HttpRequest, token: str) -> Response:
    try:
        # the little there may be of a body comes first: a refusal sent before it has come could be lost with it
        known = http.app.state.doors.knows(http.scope["headers"])
        condition = await _body(http, service.settings, known=known)
        asked = _head(http)
        service.admit(asked.device, token)
        return Response(await service.answer(replace(asked, condition=condition)), media_type=MEDIA_TYPE)
    except Refusal as refusal:
        told = _told(refusal.status, refusal.error, refusal.retry_after_s)
        if _two_ends(http):
            told.headers["Connection"] = "close"
        return told
    except Exception as error:  # noqa: BLE001 - a fault of ours: its message could hold what must not be logged
        LOG.error("no answer: %s", type(error).__name__)
        return _told(500, HostError("a host that failed", "an answer", "Tell the host's operator."))


def _two_ends(http: HttpRequest) -> bool:
    """Whether a body's end is told in two ways: a proxy that went by the other one would take its rest for a request.

    RFC 9112, section 6.1.
    """
    return "transfer-encoding" in http.headers and "content-length" in http.headers


def _head(http: HttpRequest) -> Request:
    twice = [name for name in ONCE if len(http.headers.getlist(name)) > 1]
    if twice:  # a proxy that checks one of the two and a host that takes the other would speak of two devices
        raise Refusal(400, RequestInvalid(f"{twice[0]} twice", "each header once", "Send it once."))
    kind = http.headers.get("content-type", "none").partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        raise Refusal(400, RequestInvalid(f"content of type {kind!r:.40}", MEDIA_TYPE, "Send a condition's bytes."))
    try:
        return Request.from_headers(http.headers)
    except RequestInvalid as error:
        raise Refusal(400, error) from error


async def _body(http: HttpRequest, settings: HostSettings, *, known: bool) -> bytes:
    """The body, never more of it than the limit: the connection of whoever sends more is closed.

    A known device may be on a slow line: it has its time as long as parts come.
    """
    body, pause_s = b"", settings.read_timeout_s
    whole_s = settings.exchange_timeout_s if known else pause_s
    whole = asyncio.timeout(whole_s)
    try:
        if _two_ends(http):
            raise Refusal(400, RequestInvalid("a length and chunks", "one of the two", "Send Content-Length alone."))
        length = http.headers.get("content-length", "0")
        if not length.isdecimal() or not length.isascii():
            raise Refusal(400, RequestInvalid(f"a length of {length!r:.40}", "a whole number", "Correct it."))
        if len(length) > 20 or int(length) > MAX_BYTES:
            raise _too_long()
        async with whole, asyncio.timeout(pause_s) as pause:
            async for part in http.stream():
                body += part
                if len(body) > MAX_BYTES:
                    raise _too_long()
                pause.reschedule(asyncio.get_running_loop().time() + pause_s)
    except (TimeoutError, ClientDisconnect) as error:
        late = isinstance(error, TimeoutError) and whole.expired()
        came = f"{len(body)} bytes {f'in {whole_s:g} s' if late else 'that stopped coming'}"
        raise Refusal(408, RequestInvalid(came, "a whole condition", "Send it again.")) from error
    return body


def _too_long() -> Refusal:
    return Refusal(
        413, RequestInvalid(f"a body of more than {MAX_BYTES} bytes", "a condition", "Send statistics, not signal.")
    )


def _crowded(settings: HostSettings) -> JSONResponse:
    """For those without a known device's token of whom too many wait."""
    error = HostBusy(
        "a crowd without a known device's token", f"turns at most {settings.stranger_wait_s:g} s away",
        "Come back after Retry-After; a known device's token needs no turn.",
    )  # fmt: skip
    return _told(429, error, max(1.0, settings.stranger_wait_s))


def _told(status: int, error: PhysioEdgeError, retry_after_s: float | None = None) -> JSONResponse:
    headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:.0f}"}
    if status in (408, 413):
        headers["Connection"] = "close"
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    # what came may hold halves of surrogate pairs, which have no bytes
    texts = {"code": error.code, "came": error.came, "expected": error.expected, "do": error.do}
    said = {key: text.encode("utf-8", "backslashreplace").decode() for key, text in texts.items()}
    return JSONResponse(said, status, headers)


async def _no_such_page(http: HttpRequest, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return _told(status, RequestInvalid("another path or method", f"POST {PATH}", "See docs/host.md."))


def _asked() -> dict[str, Any]:
    """What OpenAPI cannot read off the function: headers and a body of bytes."""
    said = (
        (DEVICE_HEADER, "string", "Id of the device, 1 to 128 printable ASCII characters"),
        (COUNTER_HEADER, "integer", "Counter of the last adapter the device accepted for the task, 0 for none"),
        (NONCE_HEADER, "string", "32 hex digits, the same in every try of one request"),
    )
    rows = [
        {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": kind}}
        for name, kind, text in said
    ]
    return {"parameters": rows, "requestBody": {"required": True, "content": _BINARY}}


def _responses() -> dict[int | str, dict[str, Any]]:
    rows: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {"application/json": {"schema": _SAID}}}
        for status, text in ERRORS.items()
    }
    return {200: {"description": "A signed adapter file", "content": _BINARY}, **rows}
