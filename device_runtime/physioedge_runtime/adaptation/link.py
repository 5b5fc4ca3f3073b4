"""The device's way to a host: one HTTP request, tried again with patience. Standard library only.

An answer is bytes and nothing more: whether it is an adapter for this device is decided by `AdapterStore.stage`.
"""

from __future__ import annotations

import json
import random
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from physioedge_runtime.adaptation.adapter import MAX_ADAPTER_BYTES
from physioedge_runtime.adaptation.request import MEDIA_TYPE, PATH, Request
from physioedge_runtime.adaptation.wire import BoundedConnection
from physioedge_runtime.errors import (
    BackboneMismatch,
    ConditionError,
    HostError,
    LinkError,
    PhysioEdgeError,
    RequestInvalid,
    TaskMismatch,
    TokenRefused,
)

MAX_ERROR_BYTES = 16 * 1024
MAX_RETRY_AFTER_S = 3600.0
"""A host that asks for more patience than this is asked again all the same."""
LOCAL = ("localhost", "127.0.0.1", "::1")
AGAIN = (408, 429, 500, 502, 503, 504)
_FOR_GOOD = {kind.code: kind for kind in (BackboneMismatch, ConditionError, RequestInvalid, TaskMismatch, TokenRefused)}
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How patient a link is.

    Attributes
    ----------
    tries : int
        At most, of one `Link.send`.
    first_s, longest_s : float
        Bound of the first wait, which doubles with each further one, and bound of all.
    give_up_s : float
        `Link.send` waits no longer than this over all tries.
    """

    tries: int = 6
    first_s: float = 1.0
    longest_s: float = 60.0
    give_up_s: float = 300.0

    def wait_s(self, failures: int, asked_s: float, rng: random.Random) -> float:
        """How long to wait after so many failures in a row, when the host asked for `asked_s`.

        Notes
        -----
        Full jitter: anything from nothing to the bound, so that devices which failed together do not come back
        together. Source: M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015. What the host asked
        for comes on top.
        """
        bound_s = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return min(asked_s, MAX_RETRY_AFTER_S) + rng.uniform(0.0, bound_s)


class Link:
    """A host that this device may ask.

    Parameters
    ----------
    url : str
        Where the host is, such as ``https://host.example`` or, behind a prefix, ``https://host.example/physioedge``.
        Without TLS only on this machine, unless `plain` says so: token and condition would be there to read.
    device, token : str
        Who this is, and what proves it.
    timeout_s : float
        For one try, from connecting, once the system has looked up the host's name, to the last byte.
    retry : Retry
    plain : bool
        Whether ``http`` may go to other machines, for networks that are encrypted by themselves.
    tls : ssl.SSLContext, optional
        None trusts the system's certificates.
    clock, sleep : callable
        Seconds that only go up; waiting.
    rng : random.Random, optional
        For jitter and nonces; None takes the system's random numbers.

    Raises
    ------
    RequestInvalid
        The address, the device's id or the token cannot be used.

    Examples
    --------
    >>> link = Link("https://host.example", "watch-7", token)  # doctest: +SKIP
    >>> store.stage(link.ask(stream.condition().to_bytes(), last_counter))  # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913 - three say what to reach, each of the others has a default and a test that needs it
        self,
        url: str,
        device: str,
        token: str,
        *,
        timeout_s: float = 10.0,
        retry: Retry | None = None,
        plain: bool = False,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        secure, self._host, self._port, prefix = _address(url, plain=plain)
        self._path = prefix + PATH
        Request(device=device, counter=0, nonce="0" * 32)  # checks the id
        if _TOKEN.fullmatch(token) is None:
            raise RequestInvalid(
                f"a token of {len(token)} characters", "1 to 512 printable ASCII characters without spaces",
                "Use the one the host gave for this device.",
            )  # fmt: skip
        self.device, self._token, self._timeout_s = device, token, timeout_s
        self.retry = retry or Retry()
        self._tls = (tls or ssl.create_default_context()) if secure else None
        self.clock, self._sleep = clock, sleep
        self.rng: random.Random = rng or random.SystemRandom()

    def ask(self, condition: bytes, last_counter: int) -> bytes:
        """An adapter file for a condition, not verified yet; as `send` of a new request.

        Parameters
        ----------
        condition : bytes
            Of `Condition.to_bytes`.
        last_counter : int
            Of `Freshness.last_counter`.
        """
        return self.send(Request.new(device=self.device, counter=last_counter, condition=condition, rng=self.rng))

    def send(self, request: Request) -> bytes:
        """The answer to a request, tried until it comes or patience ends. Waits in between.

        Raises
        ------
        LinkError
            No answer within the bounds of `retry`. Nothing is lost: the same request may be sent later.
        HostError, ConditionError, TaskMismatch, BackboneMismatch
            The host refused it for good.
        """
        started_s, failures = self.clock(), 0
        while True:
            try:
                return self.attempt(request)
            except LinkError as error:
                failures += 1
                wait_s = self.retry.wait_s(failures, error.retry_after_s, self.rng)
                if failures >= self.retry.tries or self.clock() - started_s + wait_s > self.retry.give_up_s:
                    raise _again(f"no answer in {failures} tries, at last {error.came}", error.retry_after_s) from error
            self._sleep(wait_s)

    def attempt(self, request: Request) -> bytes:
        """The answer to a request, tried once; errors as `send`."""
        if request.device != self.device:
            raise RequestInvalid(
                f"a request of device {request.device}", f"one of {self.device}", "Use that device's link."
            )
        connection = BoundedConnection(
            self._host, self._port, tls=self._tls, timeout_s=self._timeout_s, clock=self.clock,
            max_body=MAX_ADAPTER_BYTES,
        )  # fmt: skip
        headers = {**request.to_headers(), "Authorization": f"Bearer {self._token}", "Content-Type": MEDIA_TYPE}
        try:
            connection.request("POST", self._path, body=request.condition, headers={**headers, "Connection": "close"})
            with connection.getresponse() as response:  # it may own the socket, and its body may be left unread
                body = _body(response, MAX_ADAPTER_BYTES if response.status == 200 else MAX_ERROR_BYTES)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: what is no HTTP, no host name
            why = f"{type(error).__name__}: {_shown(str(error))}"
            raise _again(f"{self._host}:{self._port} without an answer ({why})") from error
        finally:
            connection.close()
        if response.status == 200:
            return body
        raise _refusal(response, body)


def _address(url: str, *, plain: bool) -> tuple[bool, str, int, str]:
    """Whether with TLS, host, port and path of a base URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    named = re.fullmatch(r"[^\x00-\x20\x7f]+", host)
    fits = named and parts.scheme in ("http", "https") and not (parts.query or parts.fragment or parts.username)
    if not fits or not re.fullmatch(r"[\x21-\x7e]*", parts.path):
        raise RequestInvalid(f"the host address {url!r:.100}", "https://NAME or https://NAME:PORT", "Correct it.")
    secure = parts.scheme == "https"
    if not secure and not plain and host not in LOCAL:
        raise RequestInvalid(
            f"{url:.100} without TLS", "https, since token and condition could be read on the way",
            "Use https. For a network that is encrypted by itself, code may pass plain=True to Link; no command can.",
        )  # fmt: skip
    return secure, host, port or (443 if secure else 80), parts.path.rstrip("/")


def _body(response: HTTPResponse, limit: int) -> bytes:
    """All of a body; what is longer than the limit is not read, and what was cut short is no body."""
    length = response.length
    body = b"" if length is not None and length > limit else response.read(limit + 1)
    if len(body) > limit or (length or 0) > limit:
        came = f"an answer of {'more than ' if length is None else ''}{length or limit} bytes"
        raise HostError(came, f"at most {limit}", "Look into what answers at this address.")
    if length is not None and len(body) != length:
        raise ConnectionError(f"{len(body)} of {length} bytes")
    return body


def _refusal(response: HTTPResponse, body: bytes) -> PhysioEdgeError:
    """The host's error, so that the device raises what the host did; a host's words are shown, never trusted."""
    said = _said(body)
    code, came = said.get("code", ""), said.get("came", "no reason given")
    if response.status in AGAIN:
        return _again(f"status {response.status} {code}".rstrip() + f" of the host ({came})", _retry_after_s(response))
    kind = _FOR_GOOD.get(code, HostError)
    expected = said.get("expected", "an adapter, with status 200")
    return kind(f"status {response.status} of the host: {came}", expected, said.get("do", "Check the host's address."))


def _said(body: bytes) -> dict[str, str]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    texts = {k: v for k, v in values.items() if isinstance(v, str)} if isinstance(values, dict) else {}
    return {key: _shown(text) for key, text in texts.items()}


def _shown(text: str) -> str:
    """A host's words as they may be printed."""
    return "".join(c if c.isprintable() else "?" for c in text[:300])


def _retry_after_s(response: HTTPResponse) -> float:
    """Of a Retry-After in seconds, or as a date against the host's own Date; 0 where there is none to be made out."""
    text = (response.getheader("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(response.getheader("Date") or "")
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # OverflowError: hours or a time zone of twenty digits
        return 0.0


def _again(came: str, retry_after_s: float = 0.0) -> LinkError:
    error = LinkError(came, "an adapter from the host", "Try again later; what serves now keeps serving.")
    error.retry_after_s = retry_after_s
    return error
