"""The host as its operators start it, in a process of its own, with a small generator and many devices."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physioedge.faults.fuzz_seeds import DIM, RANK, SLOT, condition
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.files import Generator, save_generator
from physioedge.generator.regression import fit_ridge
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.bundle.signing import make_keys
from physioedge_runtime.errors import EvaluationRefused

DEVICES = 4000
START_S = 60.0
HERE = "127.0.0.1"
TOKENS = "tokens.json"


def token_of(device: str) -> str:
    """Whoever knows the rule knows the token: this host is for these trials alone."""
    return hashlib.sha256(device.encode()).hexdigest()


@dataclass(kw_only=True)
class AbusedHost:
    """A host that may be killed and started again on the same port.

    Attributes
    ----------
    folder : Path
        With its generator, key and tokens.
    port : int
    process : subprocess.Popen or None
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    _unused: Iterator[int] = field(default_factory=lambda: iter(range(DEVICES)))

    def device(self) -> str:
        """One that has asked nothing yet."""
        return f"device-{next(self._unused)}"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises
        ------
        EvaluationRefused
            It did not come up.
        """
        code = "import sys; from physioedge.cli.main import main; sys.exit(main(sys.argv[1:]))"
        words = ["serve", "--generator", "generator.safetensors", "--key", "keys/private.pem", "--tokens", TOKENS]
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *words, "--port", str(self.port)], cwd=self.folder, stdout=output,
                stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        until_s = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > until_s or self.process.poll() is not None:
                said = (self.folder / "output").read_text(errors="replace")[-500:]
                raise EvaluationRefused(f"a host that does not start: {said}", "one that answers", "See its output.")
            time.sleep(0.05)

    def kill(self) -> None:
        """As if the machine had lost its power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def answers(self) -> bool:
        """Whether it is alive and well."""
        with closing(http.client.HTTPConnection(HERE, self.port, timeout=20)) as connection:
            try:
                connection.request("GET", "/healthz")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    def peak_mb(self) -> float:
        """Most memory it has had, in MiB; NaN where the system does not tell."""
        try:
            lines = Path(f"/proc/{self.process.pid if self.process else 0}/status").read_text().splitlines()
        except OSError:
            return float("nan")
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))

    def ask(self, *, tries: int = 1, device: str | None = None, seed: int = 0) -> bytes:
        """What a good device gets; errors as `Link.send`."""
        name = device or self.device()
        retry = Retry(tries=tries, first_s=0.2, longest_s=1.0, give_up_s=60.0)
        request = Request.new(device=name, counter=seed, condition=condition())
        return Link(f"http://{HERE}:{self.port}", name, token_of(name), timeout_s=10.0, retry=retry).send(request)


@contextmanager
def abused_host(folder: Path) -> Iterator[AbusedHost]:
    """A host that runs until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    make_keys(folder / "keys")
    names = [f"device-{i}" for i in range(DEVICES)]
    tokens = {name: hashlib.sha256(token_of(name).encode()).hexdigest() for name in names}
    (folder / TOKENS).write_text(json.dumps(tokens))
    _write_generator(folder / "generator.safetensors")
    with socket.socket() as held:
        held.bind((HERE, 0))
        port = int(held.getsockname()[1])
    host = AbusedHost(folder=folder, port=port)
    try:
        host.start()
        yield host
    finally:
        host.kill()


def _write_generator(path: Path) -> None:
    rng = np.random.default_rng(0)
    origin = Origin(
        task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source="0" * 64,
        slots=(SlotSpec(name=SLOT, shape=(RANK, DIM)),),
    )  # fmt: skip
    people = AdapterSet(
        origin=origin, conditions=rng.normal(size=(6, 2 * DIM)), adapters=rng.normal(size=(6, origin.width)),
        person=np.array([f"p{i}" for i in range(6)]), details={},
    )  # fmt: skip
    save_generator(path, Generator(origin=origin, weights=fit_ridge(people)))
