"""Graphs of our own exporter that are made for a comparison only, in a folder that a later run uses again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import physioedge.models
import physioedge_export
from physioedge.bench.arms import FORMS
from physioedge.bench.measured import LeftOut
from physioedge.bench.network import write_weights
from physioedge.bench.rivals import quiet
from physioedge.bench.work import Work, work_of
from physioedge.models.network import Network
from physioedge.models.stepping import StepNetwork
from physioedge_export.build import build
from physioedge_export.forms import ENGINE_OF, Artifact, Choice, Form, contract_with_slots, forms
from physioedge_export.merge import LoraAdapter, LoraPair
from physioedge_export.pack import BundleParts, write_bundle
from physioedge_export.runners import run_windows
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import EMBEDDING, INPUT, Contract
from physioedge_runtime.bundle.manifest import WINDOW, GraphEntry
from physioedge_runtime.bundle.signing import make_keys
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.errors import PhysioEdgeError

GOLDEN = 4
RANK = 8
_BUNDLE = "made.physio"
_TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "executorch", "torchao")
_TARGET_OF = {engine: target for target, engine in ENGINE_OF.items()}
Array = NDArray[np.float32]
Built = dict[str, tuple[Form, Artifact]]


def folder_for(work: Path, group: str, digest: str) -> Path:
    """The part of the work folder that belongs to these weights, these tools and this exporter."""
    key = hashlib.sha256(digest.encode())
    for name in _TOOLS:
        key.update(f"{name} {_version(name)}\n".encode())
    for package in (physioedge_export, physioedge.models):
        for place in package.__path__:
            for source in sorted(Path(place).rglob("*.py")):
                key.update(source.read_bytes())
    for name in ("making.py", "rivals.py", "network.py"):
        key.update((Path(__file__).parent / name).read_bytes())
    folder = work / f"{group}-{key.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_network(network: Network, contract: Contract, folder: Path) -> tuple[Path, Work]:
    """The weights file that the rivals load, and what a window of the network costs."""
    backbone = network.backbone
    work = work_of(backbone.config, backbone.layout, contract.n_outputs, classes=bool(contract.labels))
    return write_weights(network, folder / "network.npz"), work


def comparison_bundle(
    network: Network,
    contract: Contract,
    windows: Array,
    names: Sequence[str],
    folder: Path,
    progress: Callable[[str], None],
) -> tuple[Bundle | None, str, list[LeftOut]]:
    """A bundle of our own graphs, signed with a key of its own and trusted by nobody else.

    The exporter's gates on labels are left aside: they ask whether int8 decides as fp32 does, which for random weights
    means nothing. Golden vectors are there as in any bundle.

    Parameters
    ----------
    network : Network
        Of one sensor.
    contract : Contract
        Slots are filled in.
    windows : float32 (window, channel, sample)
    names : sequence of str
        Arms of `FORMS` to make graphs for; those that go on from window to window need a contract with `step`.
    folder : Path
        Inside that of `folder_for`; a bundle that is there already is used again.
    progress : callable
        Takes a line of text for people.

    Returns
    -------
    bundle : Bundle or None
        None where no graph could be made, or none was asked for.
    trust : str
        Its public key file.
    left_out : list of LeftOut
    """
    keys, target = folder / "keys", folder / _BUNDLE
    trust = str(keys / "public.pem")
    if target.exists():
        bundle = Bundle.open(target, trust=trust)
        if {g.variant for g in bundle.manifest.graphs} == {FORMS[name] for name in names}:
            return bundle, trust, []
    if not names:
        return None, trust, []
    contract, built, left_out = _built(network, contract, windows, names, progress)
    if not built:
        return None, trust, left_out
    if not keys.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_keys(keys)
    parts, files = _content(network, contract, built, windows[:GOLDEN])
    return write_bundle(target, parts=parts, files=files, signing_key=keys / "private.pem"), trust, left_out


def _built(
    network: Network, contract: Contract, windows: Array, names: Sequence[str], progress: Callable[[str], None]
) -> tuple[Contract, Built, list[LeftOut]]:
    """Graphs by file name, with those that failed."""
    wanted = tuple(dict.fromkeys(FORMS[name][2] for name in names))
    step = None if contract.step is None else StepNetwork(network, contract.step)
    every = forms(network, contract, _random_adapter(network), Choice(adapters=wanted, step=step))
    found = {(form.adapters, form.mode): form for form in every}
    contract = contract_with_slots(contract, list(found.values()))
    built: Built = {}
    left_out = []
    for name in names:
        engine, precision, adapters, *rest = FORMS[name]
        form = found[adapters, rest[0] if rest else WINDOW]
        fallback = (adapters,) if precision == "int8_static" else ()
        targets, precisions = (_TARGET_OF[engine],), (precision.partition("_")[0],)
        choice = Choice(targets=targets, adapters=(adapters,), precisions=precisions, fallback=fallback)
        progress(f"exporting {name}")
        try:
            with quiet():
                made = list(build(form, contract, choice, {INPUT: windows[:GOLDEN]}))
        except PhysioEdgeError as error:
            left_out.append(LeftOut(name, str(error)))
            continue
        built |= {a.file: (form, a) for a in made if a.precision == precision}
    return contract, built, left_out


def _content(network: Network, contract: Contract, built: Built, golden: Array) -> tuple[BundleParts, dict[str, bytes]]:
    """Manifest and files, with the outputs of every graph as golden vectors."""
    tensors: dict[str, Array] = {INPUT: golden}
    feeds, first = {INPUT: golden}, contract.output_name
    entries = []
    for file, (form, artifact) in built.items():
        runner = form.stage(form.call(artifact))
        limits = [1e-3, 1e-3]
        for prefix, slots in (("", form.zero), ("adapted_", dict(form.probe))) if form.slots else (("", form.zero),):
            exact, out = run_windows(form.runner(), feeds, slots), run_windows(runner, feeds, slots)
            tensors |= {f"{file}/{prefix}{first}": out.first, f"{file}/{prefix}{EMBEDDING}": out.embedding}
            pairs = ((exact.first, out.first), (exact.embedding, out.embedding))
            limits = [max(limit, *_limits(*pair)) for limit, pair in zip(limits, pairs, strict=True)]
        tensors |= {f"adapter/{name}": array for name, array in form.probe.items()}
        engine = ENGINE_OF[artifact.target]
        entries.append(GraphEntry(file, engine, artifact.precision, artifact.adapters, limits[0], limits[1], form.mode))
    shape = network.backbone.config
    texts = {
        "MODEL_CARD.md": f"# {shape.name}, for measuring speed\n\nNot for use.\n".encode(),
        "LICENCE.txt": b"Apache-2.0\n",
    }
    graphs = {file: artifact.data for file, (_, artifact) in built.items()}
    parts = BundleParts(name=f"{shape.name}-bench", version="0", contract=contract, graphs=tuple(entries),
                        provenance={"training_subjects": []})  # fmt: skip
    return parts, {**graphs, **texts, "golden.safetensors": write_tensors(tensors)}


def _limits(exact: Array, out: Array) -> Iterator[float]:
    """As the exporter has them: what quantisation did here, and a thousandth of the largest value."""
    yield float(np.abs(exact - out).max())
    yield 1e-3 * max(1.0, float(np.abs(exact).max()))


def _random_adapter(network: Network) -> LoraAdapter:
    """A for the slots of q and v, which cost the same whatever they hold; B is zero."""
    d = network.backbone.config.d_model
    generator = np.random.default_rng(0)
    pairs = {}
    for i in range(network.backbone.config.n_layers):
        for part in "qv":
            a = (generator.standard_normal((RANK, d)) / np.sqrt(d)).astype(np.float32)
            pairs[f"backbone.blocks.{i}.attention.{part}"] = LoraPair(a=a, b=np.zeros((d, RANK), np.float32), scale=1.0)
    return LoraAdapter(pairs=pairs)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
