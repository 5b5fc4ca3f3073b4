"""A host whose generator is a linear function, and ways to run it for real: in a thread, or as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.condition import Condition, task_of
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.bundle.contract import Contract, SlotSpec, TriggerSpec
from physioedge_runtime.errors import ConditionError
from tiny_bundle import DIM, PRIVATE_KEY, RANK, SLOT, tiny_contract

Arrays = dict[str, NDArray[np.float32]]
DEVICE, TOKEN = "watch-7", "t" * 40
TOKENS = {DEVICE: sha256(TOKEN.encode()).hexdigest()}
SOURCE = "0" * 64
SECOND = "blocks.0.attention.v.B"
SHAPES = {SLOT: (RANK, DIM), SECOND: (RANK, DIM)}
PATIENT = Retry(tries=3, first_s=0.01, longest_s=0.05, give_up_s=5.0)


class LinearGenerator:
    """Arrays that are a linear function of the condition's means."""

    kind, task, backbone_digest, source = "linear", "arrhythmia", "0" * 64, SOURCE

    def __init__(self, *, slow_s: float = 0.0, broken: bool = False) -> None:
        self.slow_s, self.broken = slow_s, broken
        self.batches: list[int] = []
        self.running = threading.Event()

    def generate(self, conditions: Sequence[Condition]) -> list[Arrays]:
        self.batches.append(len(conditions))
        self.running.set()
        time.sleep(self.slow_s)
        if self.broken:
            raise ValueError(f"secret {conditions[0].mean.tolist()}")
        return [self._one(condition) for condition in conditions]

    def _one(self, condition: Condition) -> Arrays:
        if len(condition.mean) != DIM:
            raise ConditionError(f"{len(condition.mean)} features", f"{DIM}", "Send those of this backbone.")
        made = {}
        for i, (name, shape) in enumerate(SHAPES.items()):
            slope = np.random.default_rng(i).standard_normal((shape[0] * shape[1], DIM)) / DIM
            made[name] = (slope @ condition.mean).reshape(shape).astype(np.float32)
        return made


class SeededGenerator(LinearGenerator):
    """The same with chance in it."""

    kind = "seeded"

    def sample(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Arrays]:
        return [
            {name: array + np.float32(np.random.default_rng(seed).normal()) for name, array in arrays.items()}
            for arrays, seed in zip(self.generate(conditions), seeds, strict=True)
        ]


def contract(**changes: Any) -> Contract:
    """A window every 0.2 s, two slots."""
    parts: dict[str, Any] = {
        "trigger": TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=25),
        "slots": tuple(SlotSpec(name=name, shape=shape) for name, shape in SHAPES.items()),
    }
    return tiny_contract(lookahead=0, **{**parts, **changes})


def condition_bytes(seed: int = 0, *, features: int = DIM, **changes: Any) -> bytes:
    """Bytes of a condition that nobody's stream made."""
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {
        "kind": "embedding", "source": SOURCE, "task": task_of(contract()), "backbone": "0" * 64, "adapter": "global",
        "windows": 100, "mean": rng.standard_normal(features).astype(np.float32),
        "deviation": np.ones(features, np.float32),
    }  # fmt: skip
    return Condition(**{**parts, **changes}).to_bytes()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def link_to(port: int, **changes: Any) -> Link:
    return Link(f"http://127.0.0.1:{port}", DEVICE, TOKEN, **{"timeout_s": 20.0, "retry": PATIENT, **changes})


@contextmanager
def served(generator: Any = None, **settings: Any) -> Iterator[Any]:
    """A uvicorn server in a thread; gives its app, with `port` set beside the service in its state."""
    from physioedge.host.app import create_app
    from physioedge.host.serving import Listening, server
    from physioedge.host.settings import HostSettings

    generator = LinearGenerator() if generator is None else generator
    seams = {name: settings.pop(name) for name in ("clock", "monotonic", "cache") if name in settings}
    parts = {"tokens": TOKENS, "burst": 1000, "refusals": 1000, **settings}
    app = create_app(generator, PRIVATE_KEY, HostSettings(**parts), **seams)
    app.state.port = free_port()
    running = server(app, Listening(host="127.0.0.1", port=app.state.port), log_config=None)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        until(lambda: running.started)
        yield app
    finally:
        running.should_exit = True
        thread.join(20.0)
        assert not thread.is_alive()


def until(holds: Any, limit_s: float = 20.0) -> None:
    """Wait until it holds."""
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s, "it never came to hold"
        time.sleep(0.01)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


@contextmanager
def process(port: int, folder: Path, *, slow_s: float = 0.0, drain_s: float = 0.5) -> Iterator[subprocess.Popen[bytes]]:
    """The same in a process of its own, which can be killed; ``folder/running`` appears when the generator runs."""
    command = [sys.executable, __file__, str(port), str(folder), str(slow_s), str(drain_s)]
    here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]), "TMPDIR": str(folder)}
    with (folder / "output").open("ab") as output:
        child = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env={**os.environ, **here})
    try:
        until(lambda: answers(port) or child.poll() is not None, 40.0)
        assert child.poll() is None, (folder / "output").read_text()
        yield child
    finally:
        child.kill()
        child.wait()


class _Telling(LinearGenerator):
    def __init__(self, folder: Path, slow_s: float) -> None:
        super().__init__(slow_s=slow_s)
        self._folder = folder

    def generate(self, conditions: Sequence[Condition]) -> list[Arrays]:
        (self._folder / "running").touch()
        return super().generate(conditions)


def _main(port: str, folder: str, slow_s: str, drain_s: str) -> None:
    import logging

    from physioedge.host.app import create_app
    from physioedge.host.serving import Listening, server
    from physioedge.host.settings import HostSettings

    settings = HostSettings(tokens=TOKENS, burst=1000, drain_s=float(drain_s))
    app = create_app(_Telling(Path(folder), float(slow_s)), PRIVATE_KEY, settings)
    logging.basicConfig(level=logging.DEBUG)  # all there is to be logged, of every library
    server(app, Listening(host="127.0.0.1", port=int(port)), log_level="debug").run()


if __name__ == "__main__":
    _main(*sys.argv[1:])
