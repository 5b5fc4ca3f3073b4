"""Bodies that stop coming, or come slowly."""

from __future__ import annotations

import contextlib
import http.client
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")

from test_host_app import CONDITION, REQUEST, metric

from made_up_host import TOKEN, served, until


@pytest.fixture(scope="module")
def host() -> Iterator[Any]:
    with served(read_timeout_s=0.3) as app:
        yield app


def begun(app: Any, length: int, token: str = TOKEN) -> http.client.HTTPConnection:
    """A request whose body has not come yet."""
    connection = http.client.HTTPConnection("127.0.0.1", app.state.port, timeout=20)
    connection.putrequest("POST", "/v1/adaptations")
    said = {**REQUEST.to_headers(), "Authorization": f"Bearer {token}", "Content-Length": str(length)}
    for name, value in {**said, "Content-Type": "application/octet-stream"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def test_a_body_that_stops_coming_is_not_waited_for(host: Any) -> None:
    connection = begun(host, 100)
    connection.send(b"half")
    response = connection.getresponse()
    assert response.status == 408 and b"4 bytes that stopped coming" in response.read()
    connection.close()


def test_a_slow_line_has_its_time_and_a_strangers_has_an_end() -> None:
    """The limit is one of pauses; in all there is the connection's."""
    with served(read_timeout_s=0.8, exchange_timeout_s=4.0) as app:
        for token, status in ((TOKEN, 200), ("another", 408)):
            connection = begun(app, len(CONDITION), token)
            size = len(CONDITION) // 5 + 1
            for start in range(0, len(CONDITION), size):
                with contextlib.suppress(OSError):
                    connection.send(CONDITION[start : start + size])
                time.sleep(0.3)
            response = connection.getresponse()
            said = response.read()
            assert response.status == status, said
            assert status == 200 or b"bytes in 0.8 s" in said
            connection.close()
        connection, began_s = begun(app, 8000), time.monotonic()
        with pytest.raises(OSError):
            for _ in range(200):
                connection.send(b"x")
                time.sleep(0.1)
        assert 3.5 < time.monotonic() - began_s < 10.0
        connection.close()


def test_a_client_that_hangs_up_is_no_fault(host: Any, caplog: pytest.LogCaptureFixture) -> None:
    before = metric(host, 'requests_total{status="408"}')
    connection = begun(host, 100)
    connection.send(b"half")
    connection.close()
    until(lambda: metric(host, 'requests_total{status="408"}') > before)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
