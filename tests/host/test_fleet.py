"""A fleet on this machine, as a user starts it: Ray Serve in a process of its own, with replicas that are killed."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("ray", reason="needs the extra ray")
pytest.importorskip("ray.serve", reason="needs the extra ray")

from test_host_process import a_generator

from made_up_host import condition_bytes, free_port, served
from physioedge.generator.files import load_generator
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.bundle.signing import key_id, make_keys, public_key, read_private_key
from tiny_bundle import PRIVATE_KEY

DEVICES = 64
READY_S = 400.0
PATIENT = Retry(tries=20, first_s=0.2, longest_s=2.0, give_up_s=120.0)


def token_of(device: str) -> str:
    return hashlib.sha256(device.encode()).hexdigest()


TOKENS = {name: hashlib.sha256(token_of(name).encode()).hexdigest() for name in (f"d{i}" for i in range(DEVICES))}


@dataclass
class Started:
    child: subprocess.Popen[bytes]
    port: int
    generator: Path
    key: Path
    said: Path
    folder: Path

    def link(self, device: str) -> Link:
        return Link(f"http://127.0.0.1:{self.port}", device, token_of(device), timeout_s=20.0, retry=PATIENT)

    def replicas(self) -> list[int]:
        return [pid for pid, title in descendants(self.child.pid).items() if "ServeReplica" in title]


def descendants(pid: int) -> dict[int, str]:
    """Titles of the processes below one, by their number."""
    rows = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    found: dict[int, str] = {}
    parents = {}
    for row in rows.splitlines():
        number, parent, title = row.split(None, 2)
        parents[int(number)] = (int(parent), title)
    below, more = {pid}, True
    while more:
        new = {n for n, (parent, _) in parents.items() if parent in below} - below
        more = bool(new)
        below |= new
        found |= {n: parents[n][1] for n in new}
    return found


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def wait_for(holds, limit_s: float, said: Path) -> None:  # type: ignore[no-untyped-def]
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s, said.read_text(errors="replace")[-3000:]
        time.sleep(0.2)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder, port = tmp_path_factory.mktemp("fleet"), free_port()
    make_keys(folder)
    (folder / "tokens.json").write_text(json.dumps(TOKENS))
    generator, said = a_generator(folder / "ridge"), folder / "said"
    words = ["--generator", str(generator), "--key", str(folder / "private.pem"), "--tokens",
             str(folder / "tokens.json"), "--port", str(port), "--replicas", "2"]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="t") as short:
        with said.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "physioedge.cli.main", "serve", *words], stdout=log, stderr=log,
                env={**os.environ, "TMPDIR": short, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        whole = Started(child, port, generator, folder / "private.pem", said, Path(short))
        try:
            wait_for(lambda: child.poll() is not None or healthy(port), READY_S, said)
            assert child.poll() is None, said.read_text(errors="replace")[-3000:]
            yield whole
        finally:
            below = descendants(child.pid)
            child.kill()
            child.wait()
            for pid in below.keys() & descendants(1).keys():
                os.kill(pid, signal.SIGKILL)


def asked(device: int, counter: int = 0) -> Request:
    return Request.new(device=f"d{device}", counter=counter, condition=condition_bytes(device))


def test_ray_serve_and_uvicorn_give_the_same_arrays(started: Started) -> None:
    requests = [asked(device) for device in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ours = list(pool.map(lambda request: started.link(request.device).send(request), requests))
    trust = public_key(read_private_key(started.key))
    with served(load_generator(started.generator), tokens=TOKENS) as app:
        for request, answer in zip(requests, ours, strict=True):
            link = Link(f"http://127.0.0.1:{app.state.port}", request.device, token_of(request.device))
            one, other = (
                AdapterFile.open(answer, trust=trust),
                AdapterFile.open(link.send(request), trust=public_key(PRIVATE_KEY)),
            )
            assert one.manifest.id == other.manifest.id and one.manifest.counter == request.counter + 1
            for name, array in one.arrays.items():
                np.testing.assert_allclose(array, other.arrays[name], rtol=0, atol=1e-6)


def test_a_replica_killed_under_load_fails_no_request_that_retries(started: Started) -> None:
    before = started.replicas()
    assert len(before) == 2
    over, answers = threading.Event(), list[tuple[Request, bytes]]()

    def ask(device: int) -> None:
        link, counter = started.link(f"d{device}"), 0
        while not over.is_set() and counter < 9:  # ten at once are a device's
            request = asked(device, counter)
            answers.append((request, link.send(request)))
            counter += 1
            time.sleep(0.05)

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(ask, device) for device in range(8, 16)]
        time.sleep(0.3)
        os.kill(before[0], signal.SIGKILL)
        for one in done:
            one.result()  # raises where a request was not answered in the end
    assert len(answers) == 72
    wait_for(lambda: len(started.replicas()) == 2 and before[0] not in started.replicas(), 120.0, started.said)


def test_keys_are_rotated_under_load_and_no_request_is_lost(started: Started) -> None:
    old = public_key(read_private_key(started.key))
    with tempfile.TemporaryDirectory() as folder:
        make_keys(folder)
        (Path(folder) / "private.pem").replace(started.key)
    new = public_key(read_private_key(started.key))
    started.child.send_signal(signal.SIGHUP)
    seen, end_s, device = list[str](), time.monotonic() + 180.0, 16
    while time.monotonic() < end_s and (not seen or seen[-8:] != [key_id(new)] * 8):
        request = asked(16 + device % 48, device // 48)
        answer = started.link(request.device).send(request)
        signer = [trust for trust in (old, new) if opens(answer, trust)]
        seen.append(key_id(signer[0]))
        device += 1
        time.sleep(0.3)
    assert seen[-8:] == [key_id(new)] * 8, started.said.read_text(errors="replace")[-3000:]


def opens(answer: bytes, trust: bytes) -> bool:
    from physioedge_runtime.errors import UntrustedKey

    try:
        AdapterFile.open(answer, trust=trust)
    except UntrustedKey:
        return False
    return True


def test_a_stopped_fleet_leaves_nothing(started: Started) -> None:
    below = descendants(started.child.pid)
    assert any("raylet" in title for title in below.values())
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=False).stdout
    ours = [row for row in listening.splitlines() if any(f"pid={pid}," in row for pid in [*below, started.child.pid])]
    local = re.compile(r"(127\.0\.0\.1|\[::1\]|\[::ffff:127\.0\.0\.1\]):\d+")
    far = [row for row in ours if not local.search(row.split()[3]) and "ServeRepl" not in row]
    assert far == []  # a replica's own port is on all addresses, and asks for the cluster's token
    started.child.send_signal(signal.SIGTERM)
    assert started.child.wait(90) == 0, started.said.read_text(errors="replace")[-3000:]
    wait_for(lambda: not below.keys() & descendants(1).keys(), 30.0, started.said)
    assert list(started.folder.iterdir()) == []
