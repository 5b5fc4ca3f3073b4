"""From a network to a signed bundle: export, quantise, compare every stage, write, read back, compare again."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from physioedge_export import parity, speed
from physioedge_export.build import NOISE_WINDOWS, build, with_float_layers
from physioedge_export.conditions import Extraction, check_methods
from physioedge_export.feeds import Array, by_window, first_windows, n_windows
from physioedge_export.forms import ENGINE_OF, Artifact, Choice, Form, contract_with_slots, forms
from physioedge_export.merge import LoraAdapter, delta_noise
from physioedge_export.pack import BundleParts, write_bundle
from physioedge_export.parity import Agreement, Tolerance, compare
from physioedge_export.personal import Personal, personal_files
from physioedge_export.quantize import kept_float
from physioedge_export.report import ExportReport, GraphFacts
from physioedge_export.request import Card, Destination, Fed, Windows
from physioedge_export.runners import Outputs, run_windows, torch_runner
from physioedge_export.sqnr import LayerNoise, layer_sqnr
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import EMBEDDING, Contract
from physioedge_runtime.bundle.manifest import STEP, WINDOW, GraphEntry
from physioedge_runtime.bundle.signing import read_private_key
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.errors import ExportError

SQNR_WINDOWS = NOISE_WINDOWS
EMPTY_SLOT_WINDOWS = 16
STEP_WINDOWS = 200
MAX_ADAPTER_NOISE = 0.5
"""Where rounding noise exceeds half of what the adapter changed, over all layers, the export is refused.

A single layer that the fit hardly moved may have more: it has little to lose.
"""
FALLBACK = "int8_static"
_log = logging.getLogger(__name__)


def export_bundle(
    network: nn.Module,
    *,
    contract: Contract,
    windows: Windows,
    card: Card,
    destination: Destination,
    adapter: LoraAdapter | None = None,
    personal: Personal | None = None,
    choice: Choice | None = None,
) -> ExportReport:
    """Export, check and sign a bundle; write the report whether or not it holds.

    Parameters
    ----------
    network : nn.Module
        Signals (batch, channel, input_samples) of the contract's sensors, in order, to (logits or values, embedding),
        with the global adapter merged in float.
    contract : Contract
        Slots are filled in.
    windows : Windows
    card : Card
    destination : Destination
    adapter : LoraAdapter, optional
        The global adapter that was merged: gives A of the slots, and what int8 must not drown.
    personal : Personal, optional
        Lets a device centre embeddings, level logits, and make conditions of shapelets; those of embeddings it always
        can.
    choice : Choice, optional
        Which graphs; int8 ONNX, merged and slots, by default.

    Raises
    ------
    ExportError
        A graph cannot be made, stages disagree, or rounding drowns the adapter.
    """
    choice = choice or Choice()
    choice.check()
    fed = windows.fed(contract)
    read_private_key(destination.signing_key)  # a wrong key is told now, not after minutes of lowering
    found = forms(network, contract, adapter, choice)
    choice = with_float_layers(found[0], contract, choice, fed.calibration)
    contract = contract_with_slots(contract, found)
    personal = personal or Personal()
    work = _Work(contract=contract, choice=choice, windows=fed, extraction=personal.extraction)
    for i, form in enumerate(found):
        _log.info("%s graphs", form.adapters, extra={"stage": i, "stages": len(found)})
        work.check_form(network, form)
        work.add(form)
    _log.info("signing and reading back", extra={"stage": len(found), "stages": len(found)})
    if adapter is not None and "int8" in choice.precisions:
        only_onnx = set(choice.targets) == {"onnx"}  # programs round every linear layer
        work.noise, work.adapter_noise = adapter_noise(network, adapter, choice.keep_float if only_onnx else ())
    report = work.report(destination.bundle.name)
    folder = destination.report or destination.bundle.parent
    report.write(folder)
    parity.demand(report.agreement)
    _demand_adapter(report)
    outputs = work.outputs[work.shipped[0][1].file]
    files = {**work.files(card), **personal_files(personal, contract, outputs, fed)}
    check_methods(personal.extraction, contract, files, work.programs, fed.golden)
    bundle = write_bundle(destination.bundle, parts=work.parts(card), files=files, signing_key=destination.signing_key)
    report = dataclasses.replace(
        report,
        agreement=(*report.agreement, *work.read_back(bundle)),
        digest=bundle.digest,
        bundle_bytes=destination.bundle.stat().st_size,
    )
    report.write(folder)
    parity.demand(report.agreement)
    return report


@dataclass(kw_only=True)
class _Work:
    """What one export gathers on its way."""

    contract: Contract
    choice: Choice
    windows: Fed
    extraction: Extraction | None = None
    made: list[tuple[Form, Artifact]] = field(default_factory=list)
    outputs: dict[str, Outputs] = field(default_factory=dict)
    agreement: list[Agreement] = field(default_factory=list)
    sqnr: dict[str, tuple[LayerNoise, ...]] = field(default_factory=dict)
    tolerances: dict[str, tuple[float, float]] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    adapter_noise: float | None = None

    def _checked(self, form: Form) -> dict[str, Array]:
        """Windows of the parity check; of steps, which take many times as long from scratch, fewer."""
        checked = dict(self.windows.checked)
        if form.mode != STEP:
            return checked
        rows = np.linspace(0, n_windows(checked) - 1, min(n_windows(checked), STEP_WINDOWS)).astype(np.int64)
        return {name: array[np.unique(rows)] for name, array in checked.items()}

    def check_form(self, network: nn.Module, form: Form) -> None:
        """Compare a model whose slots hold zeros, or a window in steps, with the network itself."""
        name = f"torch {form.adapters}{' holding zeros' if form.slots else ''}{' in steps' * (form.mode == STEP)}"
        if name == "torch merged":
            return
        few = first_windows(self.windows.checked, EMPTY_SLOT_WINDOWS)
        without = run_windows(torch_runner(network, form.signals), few)
        self._compare(("torch merged", name), without, run_windows(form.runner(), few, form.zero), parity.FP32)

    def add(self, form: Form) -> None:
        """Build every graph of a form and compare it with the stage before it."""
        checked = self._checked(form)
        torch_name = f"torch {form.adapters}{' in steps' * (form.mode == STEP)}"
        reference = run_windows(form.runner(), checked, form.probe)
        twins: dict[str, tuple[str, Outputs, Any]] = {}
        extractor = None if self.extraction is None else self.extraction.program
        for artifact in build(form, self.contract, self.choice, self.windows.calibration, extractor):
            _log.info("built %s, %d bytes", artifact.file, len(artifact.data))
            found = run_windows(form.stage(form.call(artifact)), checked, form.probe)
            before, outputs, proto = twins.get(artifact.target, (torch_name, reference, None))
            limit = parity.FP32 if artifact.precision == "fp32" else parity.INT8
            row = self._compare((before, artifact.file), outputs, found, limit)
            if artifact.precision == FALLBACK:
                self.agreement[-1] = dataclasses.replace(row, needed=False)
                artifact = dataclasses.replace(artifact, shipped=row.holds)
            if artifact.precision == "fp32":
                twins[artifact.target] = (artifact.file, found, artifact.proto)
            self.outputs[artifact.file] = found
            self.tolerances[artifact.file] = _golden_tolerance(row, reference)
            self.made.append((form, artifact))
            if form.mode == WINDOW and proto is not None and artifact.proto is not None:
                inputs = [{**window, **form.zero} for window in by_window(checked, SQNR_WINDOWS)]
                self.sqnr[artifact.file] = tuple(layer_sqnr(proto, artifact.proto, inputs))

    def _compare(self, names: tuple[str, str], reference: Outputs, found: Outputs, limit: Tolerance) -> Agreement:
        least = self.contract.thresholds.min_probability
        row = compare(names, reference, found, limit, output=self.contract.output_name, min_probability=least)
        self.agreement.append(row)
        return row

    @property
    def shipped(self) -> list[tuple[Form, Artifact]]:
        return [(form, artifact) for form, artifact in self.made if artifact.shipped]

    @property
    def programs(self) -> tuple[str, ...]:
        """ExecuTorch programs of whole windows that ship."""
        return tuple(a.file for form, a in self.shipped if a.target == "executorch" and form.mode == WINDOW)

    def report(self, name: str) -> ExportReport:
        """The report so far, with speed measured now."""
        sizes = {artifact.file: len(artifact.data) for _, artifact in self.made}
        runners = {a.file: (form.timed(form.call(a)), form.zero) for form, a in self.made}
        speeds = speed.measure(runners, self.windows.golden)
        int8 = [a.file for _, a in self.made if a.precision == "int8"]
        return ExportReport(
            bundle=name,
            graphs=tuple(_facts(artifact, sizes) for _, artifact in self.made),
            agreement=tuple(self.agreement),
            sqnr=self.sqnr,
            speed=tuple(speeds),
            answers=tuple(speed.answers(int8, speed.by_file(speeds))),
            delta_noise=self.noise,
            adapter_noise=self.adapter_noise,
        )

    def parts(self, card: Card) -> BundleParts:
        """What the manifest says."""
        entries = [
            GraphEntry(a.file, ENGINE_OF[a.target], a.precision, a.adapters, *self.tolerances[a.file], form.mode)
            for form, a in self.shipped
        ]
        return BundleParts(
            name=card.name,
            version=card.version,
            contract=self.contract,
            graphs=tuple(entries),
            provenance=card.provenance,
            task_info=card.task_info,
            licence=card.licence,
        )

    def files(self, card: Card) -> dict[str, bytes]:
        """Graphs, golden vectors with the outputs of every graph, model card and licence."""
        golden: dict[str, Array] = dict(self.windows.golden)
        for form, artifact in self.shipped:
            runner = form.stage(form.call(artifact))
            variants = {"": form.zero} if not form.slots else {"": form.zero, "adapted_": dict(form.probe)}
            for prefix, slots in variants.items():
                found = run_windows(runner, self.windows.golden, slots)
                golden[f"{artifact.file}/{prefix}{self.contract.output_name}"] = found.first
                golden[f"{artifact.file}/{prefix}{EMBEDDING}"] = found.embedding
            golden |= {f"adapter/{name}": array for name, array in form.probe.items()}
        texts = {"MODEL_CARD.md": card.model_card.encode(), "LICENCE.txt": card.licence_text.encode()}
        graphs = {artifact.file: artifact.data for _, artifact in self.shipped}
        return {**graphs, **texts, "golden.safetensors": write_tensors(golden)}

    def read_back(self, bundle: Bundle) -> list[Agreement]:
        """The graphs in the bundle against those that were built."""
        rows = []
        for form, artifact in self.shipped:
            again = dataclasses.replace(artifact, data=bundle.read(artifact.file))
            found = run_windows(form.stage(form.call(again)), self._checked(form), form.probe)
            names = (artifact.file, f"{artifact.file} in the bundle")
            output = self.contract.output_name
            rows.append(compare(names, self.outputs[artifact.file], found, parity.SAME, output=output))
        return rows


def _golden_tolerance(row: Agreement, reference: Outputs) -> tuple[float, float]:
    """Limits for another machine on logits or values, and on embeddings.

    An engine elsewhere may round other values up than this one does, but may not stray further from what was exported
    than quantisation itself did here; in fp32 a thousandth of the largest value.
    """
    floors = [1e-3 * max(1.0, float(np.abs(a).max())) for a in (reference.first, reference.embedding)]
    return max(row.max_first, floors[0]), max(row.max_embedding, floors[1])


def _facts(artifact: Artifact, sizes: Mapping[str, int]) -> GraphFacts:
    twin = None
    if artifact.precision != "fp32":
        twin = sizes.get(artifact.file.replace(f".{artifact.precision}.", ".fp32."))
    return GraphFacts(
        file=artifact.file,
        engine=ENGINE_OF[artifact.target],
        precision=artifact.precision,
        adapters=artifact.adapters,
        bytes=len(artifact.data),
        ratio_to_fp32=None if twin is None else len(artifact.data) / twin,
        shipped=artifact.shipped,
        delegated_pieces=artifact.delegated_pieces,
        not_delegated=artifact.not_delegated,
    )


def adapter_noise(
    network: nn.Module, adapter: LoraAdapter, keep_float: tuple[str, ...] = ()
) -> tuple[dict[str, float], float]:
    """int8 rounding noise relative to what the merged adapter changed: by layer, and over all layers together.

    Layers that stay in float, as `Choice.keep_float` names them, have none.
    """
    state = network.state_dict()
    by_layer, noise, change = {}, 0.0, 0.0
    for layer, pair in sorted(adapter.pairs.items()):
        delta = pair.delta()
        rounded = not kept_float(layer, keep_float)
        by_layer[layer] = delta_noise(state[f"{layer}.weight"].numpy(), delta) if rounded else 0.0
        size = float(np.linalg.norm(delta)) ** 2
        noise, change = noise + by_layer[layer] ** 2 * size, change + size
    return by_layer, (noise / change) ** 0.5 if change > 0 else 0.0


def _demand_adapter(report: ExportReport) -> None:
    if report.adapter_noise is not None and report.adapter_noise > MAX_ADAPTER_NOISE:
        layer = max(report.delta_noise, key=lambda name: report.delta_noise[name])
        raise ExportError(
            f"an adapter that int8 rounding drowns ({report.adapter_noise:.2f} of its change is noise, most of all "
            f"{report.delta_noise[layer]:.2f} in {layer})",
            f"at most {MAX_ADAPTER_NOISE} over all layers",
            "Export slots, which stay in float, or fp32, or ONNX alone with --keep-float for the worst layers.",
        )
