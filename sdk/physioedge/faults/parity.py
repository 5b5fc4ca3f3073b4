"""R17: the shipped bundle's graphs, an fp32 graph of the exporter and torch are one network, on real windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge.datasets.registry import folder
from physioedge.evaluation.engines import GraphOutputs, outputs_of
from physioedge.faults.made import SHIPPED_RECORD, shipped_bundle
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.models import shipped
from physioedge.signals.read import read_recording
from physioedge.tasks.arrhythmia import NAME, BeatRecord, beat_record
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import MissingExtra

ROW = Row(
    id="R17",
    what="every graph of the shipped bundle, an fp32 graph of the exporter and torch on the same real windows, slots "
    "empty and with an adapter",
    target="fp32 within 1e-3 of torch; the same label in 99 % int8 against fp32, in 99.5 % between engines",
)
WINDOWS, LEAST = 10_000, 200
"""For all tries, and for few: a hundredth of fewer windows says nothing."""
LARGEST, INT8_SAME, ENGINES_SAME = 1e-3, 0.99, 0.995
TORCH, FP32, ADAPTED = "torch", "ours_fp32_export", "+adapter"
_A_RECORD = 20
"""Windows of one record at least, so that a quick look reads few records."""
_AT_ONCE = 250
_ET = "ours_et"
Windows = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two graphs on the same windows.

    Attributes
    ----------
    first, second : str
    rule : str
        ``fp32``, ``int8`` or ``engines``: which target it is held to.
    largest : float
        Distance of any logit or number of an embedding; infinite where one is not finite.
    same : float
        Share of the windows with the same label; one with an output that is not finite has none.
    lost : int
        Windows beyond the distance, or with another label.
    holds : bool
    """

    first: str
    second: str
    rule: str
    largest: float
    same: float
    lost: int
    holds: bool


def trial(setting: Setting) -> Outcome:
    """Run everything on the windows, and compare pair by pair.

    Raises
    ------
    MissingExtra
        torch, onnx or the shipped weights are not installed.
    """
    _demand_exporter()
    from physioedge_runtime.engine.native.library import is_built

    bundle = shipped_bundle()
    windows, source = windows_of(bundle.contract, setting)
    engines = ("onnxruntime", "executorch") if is_built() else ("onnxruntime",)
    found = [*references(bundle, windows), *outputs_of(bundle, windows, engines)]
    pairs = list(compared(found))
    least = {rule: min((p.same for p in pairs if p.rule == rule), default=None) for rule in ("int8", "engines")}
    shares = {f"same_label_{rule}": share for rule, share in least.items() if share is not None}
    return Outcome(
        tried=len(windows) * len(pairs),
        lost=sum(p.lost for p in pairs),
        holds=all(p.holds for p in pairs),
        figures={
            "windows": float(len(windows)), "graphs": float(len(found)),
            "fp32_difference_max": max(p.largest for p in pairs if p.rule == "fp32"), **shares,
        },
        notes=(
            source,
            *(() if "executorch" in engines else ("the ExecuTorch engine is not built here: none of its graphs ran, "
                                                  "and the target between engines was not tried",)),
            "the bundle has no fp32 graph: the one compared was exported for this row, for onnxruntime",
            *map(told, pairs),
        ),
    )  # fmt: skip


def windows_of(contract: Contract, setting: Setting) -> tuple[Windows, str]:
    """Windows (window, 1, sample) around annotated beats, and where they are from: records of DS2, or the excerpt."""
    fs_hz = contract.sensor.fs_hz
    wanted = max(LEAST, setting.tries(WINDOWS))
    if folder(mitbih.NAME) is None:
        record = beat_record(read_recording(SHIPPED_RECORD, channels=contract.sensor.channels), fs_hz)
        found = _spread(record, contract, wanted)
        return found, f"{len(found)} windows of the shipped excerpt; MIT-BIH is not here"
    names = mitbih.DS2[: max(1, min(len(mitbih.DS2), wanted // _A_RECORD))]
    each = -(-wanted // len(names))
    found = np.concatenate([_spread(beat_record(mitbih.load(name), fs_hz), contract, each) for name in names])[:wanted]
    return found, f"{len(found)} windows of {len(names)} records of MIT-BIH (DS2)"


def _spread(record: BeatRecord, contract: Contract, wanted: int) -> Windows:
    """So many of a record's windows, evenly over it; all of them where there are fewer."""
    found, _ = record.windows(contract.window)
    return found[np.unique(np.linspace(0, len(found) - 1, wanted).round().astype(np.int64))]


def references(bundle: Bundle, windows: Windows) -> list[GraphOutputs]:
    """Outputs of torch in fp32, and of the graph that the exporter makes of it; each without and with B.

    B is that of the bundle's golden vectors, which its own graphs are tried with too.
    """
    import torch
    from onnxruntime import InferenceSession

    from physioedge.adapters.lora.files import load_network
    from physioedge_export.slots import SlottedModel
    from physioedge_export.to_onnx import to_onnx

    network, adapter, _, _ = load_network(shipped.backbone(), shipped.adapter_of(NAME))
    model, golden = SlottedModel(network, adapter).eval(), bundle.golden()
    data = to_onnx(model, bundle.contract, slots=model.slots).SerializeToString()
    session = InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [end.name for end in session.get_inputs()]

    def by_torch(part: Windows, b: list[Windows]) -> Sequence[Windows]:
        with torch.no_grad():
            answer: Sequence[torch.Tensor] = model(torch.from_numpy(part), *map(torch.from_numpy, b))
        return [one.numpy() for one in answer]

    def by_onnx(part: Windows, b: list[Windows]) -> Sequence[Windows]:
        one_by_one = [session.run(None, dict(zip(names, [row[None], *b], strict=True))) for row in part]
        return [np.concatenate(arrays) for arrays in zip(*one_by_one, strict=True)]

    out = []
    for suffix in ("", ADAPTED):
        probe = [golden[f"adapter/{s.name}"] if suffix else np.zeros(s.shape, np.float32) for s in model.slots]
        for name, how in ((TORCH, by_torch), (FP32, by_onnx)):
            parts = [how(windows[i : i + _AT_ONCE], probe) for i in range(0, len(windows), _AT_ONCE)]
            logits, embedding = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            out.append(GraphOutputs(name=name + suffix, logits=logits, embedding=embedding))
    return out


def compared(found: Sequence[GraphOutputs]) -> Iterator[Compared]:
    """Each graph with torch, and each of one engine with each of the other; slots with an adapter among themselves."""
    by_name = {one.name: one for one in found}
    for one in found:
        adapted = one.name.endswith(ADAPTED)
        if not one.name.startswith(TORCH):
            rule = "fp32" if one.name.startswith(FP32) else "int8"
            yield compare(by_name[TORCH + ADAPTED * adapted], one, rule)
    for first, second in combinations([one for one in found if not one.name.startswith((TORCH, FP32))], 2):
        same_network = first.name.endswith(ADAPTED) == second.name.endswith(ADAPTED)
        if same_network and first.name.startswith(_ET) != second.name.startswith(_ET):
            yield compare(first, second, "engines")


def compare(first: GraphOutputs, second: GraphOutputs, rule: str) -> Compared:
    """Two graphs by the rule's target."""
    numbers = [np.hstack([one.logits, one.embedding]).astype(np.float64) for one in (first, second)]
    finite = np.asarray(np.isfinite(numbers[0]).all(1) & np.isfinite(numbers[1]).all(1))
    apart = np.full(len(finite), np.inf)
    apart[finite] = np.abs(numbers[0][finite] - numbers[1][finite]).max(1)
    same = finite & (first.logits.argmax(1) == second.logits.argmax(1))
    if rule == "fp32":
        lost = int((apart > LARGEST).sum())
        holds = lost == 0
    else:
        lost = int((~same).sum())
        holds = bool(same.mean() >= (INT8_SAME if rule == "int8" else ENGINES_SAME))
    return Compared(
        first=first.name, second=second.name, rule=rule, largest=float(apart.max()), same=float(same.mean()),
        lost=lost, holds=holds,
    )  # fmt: skip


def told(pair: Compared) -> str:
    """A pair in one line."""
    verdict = "" if pair.holds else ": beyond the target"
    return (
        f"{pair.second} against {pair.first} ({pair.rule}): {100 * pair.same:.2f} % the same label, largest "
        f"difference {pair.largest:.2g}{verdict}"
    )


def _demand_exporter() -> None:
    """The weights say for themselves that they are not here."""
    try:
        import onnx  # noqa: F401 - only whether they are here
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"no package {error.name!r}", "the extra 'export'", "pip install 'physioedge[export]'"
        ) from error
