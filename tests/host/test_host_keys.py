"""A running host takes another signing key."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra host")

from made_up_host import condition_bytes, link_to, served
from physioedge.host.serving import taking_new_keys
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.bundle.signing import make_keys, public_key, read_private_key
from physioedge_runtime.errors import UntrustedKey
from tiny_bundle import PRIVATE_KEY


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs a system with SIGHUP")
def test_a_host_signs_with_the_key_that_its_file_holds_now(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_keys(tmp_path)
    key, found = tmp_path / "private.pem", list[bytes]()
    before = signal.getsignal(signal.SIGHUP)
    with taking_new_keys(key, found.append):
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.05)
        assert found == [read_private_key(key)]
        key.write_text("no key")
        with caplog.at_level(logging.ERROR):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
    assert len(found) == 1 and "stays what it was" in caplog.text
    assert signal.getsignal(signal.SIGHUP) == before


def test_answers_come_under_the_new_key_and_repeated_ones_stay_as_they_were(tmp_path: Path) -> None:
    make_keys(tmp_path)
    new = read_private_key(tmp_path / "private.pem")
    with served() as app:
        link, condition = link_to(app.state.port), condition_bytes(1)
        first, second = (Request.new(device="watch-7", counter=n, condition=condition) for n in range(2))
        old = link.send(first)
        app.state.service.sign_with(new)
        answer = link.send(second)
        assert link.send(first) == old
    AdapterFile.open(old, trust=public_key(PRIVATE_KEY))
    AdapterFile.open(answer, trust=public_key(new))
    with pytest.raises(UntrustedKey):
        AdapterFile.open(answer, trust=public_key(PRIVATE_KEY))
