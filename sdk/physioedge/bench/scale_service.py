"""What an answer costs a host, for a simulated fleet: generator and signature by batch, and the rest of a request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from physioedge.bench.host_load import Devices, conditions_for, load
from physioedge.bench.host_server import hosted
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.files import Generator
from physioedge_export.adapters import build_adapter
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.adaptation.manifest import AdapterManifest, Binding

SIZES = (1, 2, 4, 8, 16)
_KEY = bytes(range(32))


def generators(shipped: Generator) -> dict[str, Generator]:
    """The shipped closed form, and diffusion of its size by one step and as it is by default.

    How well a diffusion is trained does not show in its speed: it is left as it begins.
    """
    from physioedge.generator.dit.config import DitConfig, Sampling
    from physioedge.generator.dit.fitting import fit_dit

    weights = fit_dit(_people(shipped.origin, len(shipped.weights.middle)), DitConfig(steps=0), seed=0, progress=False)
    one = replace(weights, sampling=Sampling(steps=1, samples=1))
    return {
        shipped.kind: shipped,
        "dit_steps1_draws1": replace(shipped, weights=one),
        f"dit_steps{weights.sampling.steps}": replace(shipped, weights=weights),
    }


def _people(origin: Origin, features: int) -> AdapterSet:
    rng = np.random.default_rng(0)
    return AdapterSet(
        origin=origin, conditions=rng.standard_normal((4, features)),
        adapters=1e-3 * rng.standard_normal((4, origin.width)), person=np.array(list("abcd")), details={},
    )  # fmt: skip


def batch_s(generator: Generator, rounds: int) -> dict[int, float]:
    """Processor seconds of a batch, generated and signed, by its size; the median of rounds."""
    drawn = [Condition.from_bytes(data) for data in conditions_for(generator, max(SIZES), seed=0)]
    found: dict[int, list[float]] = {size: [] for size in SIZES}
    _make(generator, drawn[:1])  # what is loaded with the first one
    for _ in range(rounds):
        for size in SIZES:
            began_s = time.process_time()
            _make(generator, drawn[:size])
            found[size].append(time.process_time() - began_s)
    return {size: float(np.median(times)) for size, times in found.items()}


def answer_bytes(generator: Generator) -> int:
    """Length of a signed adapter file."""
    return len(_make(generator, [Condition.from_bytes(data) for data in conditions_for(generator, 1, seed=0)])[0])


def _make(generator: Generator, conditions: Sequence[Condition]) -> list[bytes]:
    made = []
    for number, arrays in enumerate(generator.generate(conditions)):
        said = AdapterManifest(
            id=f"{generator.kind}-{number:016x}", task=generator.task, backbone_digest=generator.backbone_digest,
            binding=Binding(kind="device", id="bench"), counter=1, issued_s=0, expires_s=1, provenance={},
        )  # fmt: skip
        made.append(build_adapter(said, arrays, signing_key=_KEY))
    return made


def request_s(file: Path, one_s: float, seconds: float) -> float:
    """Processor seconds of a whole host for a request, less `one_s` for its generator and signature.

    Parameters
    ----------
    file : Path
        Of a generator.
    one_s : float
        What it takes for one condition, see `batch_s`.
    seconds : float
        A single client asks for so long.
    """
    from physioedge.generator.files import load_generator

    conditions = conditions_for(load_generator(file), 64, seed=1)
    with hosted(file, max_batch=1, devices=1024) as served:
        devices = Devices(served)
        load(devices, conditions, clients=1, seconds=0.5)
        found = load(devices, conditions, clients=1, seconds=seconds)
    whole_s = (found.after.cpu_s - found.before.cpu_s) / max(1, len(found.latency_s))
    return max(1e-4, whole_s - one_s)
