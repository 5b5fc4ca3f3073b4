"""A host process under test, and what it takes of the machine."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from physioedge_runtime.adaptation.link import Link
from physioedge_runtime.bundle.signing import make_keys
from physioedge_runtime.errors import HostError

HOST = "127.0.0.1"
READY_S = 300.0
"""A busy machine takes minutes to import what a host needs."""
_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a process has taken, by Linux's own count; all zero elsewhere.

    Attributes
    ----------
    cpu_s : float
        Processor time since it began.
    rss_kb, peak_kb : float
        Resident memory now, and the most since the peak was last forgotten.
    """

    cpu_s: float
    rss_kb: float
    peak_kb: float


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running host.

    Attributes
    ----------
    port, pid : int
    devices : int
        It knows so many, ``bench-0`` and up.
    """

    port: int
    pid: int
    devices: int

    def link(self, device: int) -> Link:
        """One device's way to it."""
        return Link(f"http://{HOST}:{self.port}", _name(device), _token(device), timeout_s=60.0)

    def usage(self) -> Usage:
        """What it has taken so far."""
        folder = Path("/proc") / str(self.pid)
        if not folder.exists():
            return Usage(cpu_s=0.0, rss_kb=0.0, peak_kb=0.0)
        # fields 14 and 15 of proc(5), counted from the end of the name, which may hold anything
        times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
        kept = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        rss, peak = (float(kept[name].split()[0]) for name in ("VmRSS", "VmHWM"))
        return Usage(cpu_s=sum(map(int, times)) / os.sysconf("SC_CLK_TCK"), rss_kb=rss, peak_kb=peak)

    def forget_peak(self) -> None:
        """From now on the peak is that of what comes."""
        path = Path("/proc") / str(self.pid) / "clear_refs"
        if path.exists():
            path.write_text("5")  # proc(5): resets the peak, and nothing else


@contextmanager
def hosted(generator: Path, *, max_batch: int, devices: int) -> Iterator[Served]:
    """``physioedge serve`` in a process of its own, on this machine alone, one thread for arithmetic.

    All clients come from one address, so it is told that a proxy counts addresses.

    Parameters
    ----------
    generator : Path
    max_batch : int
        Conditions computed together; 1 for one by one.
    devices : int

    Raises
    ------
    HostError
        It did not begin to serve.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), _free_port()
        make_keys(folder)
        tokens = {_name(i): hashlib.sha256(_token(i).encode()).hexdigest() for i in range(devices)}
        (folder / "tokens.json").write_text(json.dumps(tokens))
        words = ["--generator", str(generator), "--key", str(folder / "private.pem"), "--tokens",
                 str(folder / "tokens.json"), "--port", str(port), "--max-batch", str(max_batch)]  # fmt: skip
        with (folder / "said").open("wb") as said:
            child = subprocess.Popen(
                [sys.executable, "-m", "physioedge.cli.main", "serve", "--behind-proxy", *words],
                stdout=said, stderr=said, env={**os.environ, **_ONE_THREAD},
            )  # fmt: skip
        try:
            _wait(child, port, folder / "said")
            yield Served(port=port, pid=child.pid, devices=devices)
        finally:
            _stop(child)


def _name(device: int) -> str:
    return f"bench-{device}"


def _token(device: int) -> str:
    return f"{device:032x}"


def _free_port() -> int:
    with socket.socket() as held:
        held.bind((HOST, 0))
        return int(held.getsockname()[1])


def _wait(child: subprocess.Popen[bytes], port: int, said: Path) -> None:
    until_s = time.monotonic() + READY_S
    while child.poll() is None and time.monotonic() < until_s:
        if _healthy(port):
            return
        time.sleep(0.1)
    last = said.read_text(errors="replace").strip().splitlines()[-1:]
    raise HostError(f"a host that does not serve ({''.join(last):.300})", "one that does", "See what it says.")


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Twice told it goes at once; one that does not is ended."""
    for _ in range(2):
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            time.sleep(0.2)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
