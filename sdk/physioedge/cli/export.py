"""``physioedge export``: weights of any task to a signed bundle, with a report."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioedge.cli import export_bridge, export_generated, export_vital
from physioedge.cli.console import SHIPPED
from physioedge.cli.export_asked import listed, tell
from physioedge.cli.export_card import card, warnings
from physioedge.cli.firmware import add_options, kit_of, line_of
from physioedge.cli.progress import Staged
from physioedge_runtime.bundle.signing import public_key, read_private_key

if TYPE_CHECKING:
    from torch import nn

    from physioedge.adapters.lora.files import TaskNote
    from physioedge.models.checkpoint import Provenance
    from physioedge.models.config import BackboneConfig
    from physioedge.models.network import Network
    from physioedge.models.rate import RateNetwork
    from physioedge_export.centring import Head
    from physioedge_export.conditions import Extraction
    from physioedge_export.forms import Choice
    from physioedge_export.merge import LoraAdapter
    from physioedge_export.personal import Personal
    from physioedge_runtime.adaptation.levelling import LevelSpec
    from physioedge_runtime.bundle.contract import Contract

BACKBONE_FILE = "backbone.safetensors"
ARRHYTHMIA = "arrhythmia"


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export", help="turn weights into a signed bundle, with a report", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("--task", default=ARRHYTHMIA, help="see docs/tasks.md; default: arrhythmia")
    parser.add_argument("--weights", default=SHIPPED, metavar="DIR", help="backbone's folder or file, or 'shipped'")
    parser.add_argument("--adapter", default=SHIPPED, metavar="DIR", help="the task's global adapter, or 'shipped'")
    parser.add_argument("--target", metavar="LIST", help="onnx, executorch, or both with a comma; default: onnx, with "
                        "--firmware both")  # fmt: skip
    parser.add_argument("--adapters", default="merged,slots", metavar="LIST", help="merged, slots, or both")
    parser.add_argument("--precision", default="int8", metavar="LIST", help="int8, fp32, or both")
    parser.add_argument("--scheme", default="dynamic", choices=("dynamic", "static", "static-qdq", "static-qoperator"))
    parser.add_argument("--fallback", default="merged,slots", metavar="LIST", help="forms of adapters that also come "
                        "as a static int8 ONNX graph, for devices whose dynamic kernels are wrong; '' for "
                        "none")  # fmt: skip
    parser.add_argument("--keep-float", default="", metavar="LIST", help="more layers that stay in fp32 (ONNX)")
    parser.add_argument("--float-budget", type=int, default=0, metavar="KB", help="let ONNX files grow by so much for "
                        "the layers that int8 harms most to stay in fp32")  # fmt: skip
    parser.add_argument("--steps", nargs="?", const="fastest", choices=("fastest", "columns"), help="also graphs that "
                        "compute only what is new in a window; columns: of operators that every engine has, see "
                        "docs/incremental.md")  # fmt: skip
    parser.add_argument("--hop-s", type=float, metavar="S", help="from one window to the next; by default the task's")
    parser.add_argument("--windows", type=Path, metavar="PATH", help="real windows: see below")
    parser.add_argument("--shapelets", default=SHIPPED, metavar="FILE", help="bank for conditions, 'shipped' or 'none'")
    parser.add_argument("--change-plan", type=Path, metavar="FILE", help="what trials of adapters go by, in place of "
                        "the defaults: JSON, see docs/adapter.md")  # fmt: skip
    parser.add_argument("--key", type=Path, required=True, metavar="PEM", help="private signing key")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bundle")
    parser.add_argument("--report", type=Path, metavar="DIR", help="for the report; beside the bundle by default")
    parser.add_argument("--firmware", type=Path, metavar="DIR", help="also the firmware kit of the bundle, see "
                        "docs/firmware.md")  # fmt: skip
    add_options(parser)
    export_bridge.register(parser)
    export_vital.register(parser)
    export_generated.register(parser)
    parser.add_argument("--name", help="name of the bundle; by default the task")
    parser.add_argument("--version", dest="bundle_version", default="1", help="version of the bundle")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


_EPILOG = """--windows takes the folder that holds the task's dataset (by default it is looked for where `physioedge
datasets` says; windows are of people the adapter was fitted on); an .npz file with windows float32 (window, channel,
sample) of every sensor by its name, or `signal` where there is one sensor, in the contract's rates and units; or, for
one sensor, a recording in any format `physioedge run` reads. Exit code 1 when a stage is out of tolerance."""


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when the bundle is written and every stage agrees."""
    from physioedge.cli.export_windows import export_windows
    from physioedge_export.pipeline import export_bundle
    from physioedge_export.request import Destination

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision's absence concerns nobody here
    unused = _unused(args)
    if unused:
        print(f"physioedge export: {unused}", file=sys.stderr)
        return 2
    if args.bridge:
        return export_bridge.run(args)
    if args.vital:
        return export_vital.run(args)
    model, person = _model(args.task, args.weights, args.adapter), None
    if args.generated:
        model, person = export_generated.with_person(model, args)
    model = _stepping(model, args)
    windows = export_windows(args.windows, model.module, model.note, model.contract, model.config)
    said = card(model, args.name or args.task, args.bundle_version)
    with Staged("physioedge_export.pipeline"):
        report = export_bundle(
            model.network, contract=model.contract, windows=windows, card=person.said(said) if person else said,
            destination=Destination(bundle=args.out, signing_key=args.key, report=args.report), adapter=model.adapter,
            personal=None if person else _personal(args, model), choice=_choice(args, model),
        )  # fmt: skip
    rows = export_generated.kept(args, model, person, windows) if person else []
    for line in warnings(model):
        print(line, file=sys.stderr)
    tell(report, args, **({"fidelity": [asdict(row) for row in rows]} if person else {}))
    if rows and not args.json:
        print("\n".join(export_generated.lines_of(rows)))
    if args.firmware:
        key = public_key(read_private_key(args.key))
        print(line_of(kit_of(args.out, args.firmware, args, key)), file=sys.stderr)
    return 0 if report.holds else 1


def _unused(args: argparse.Namespace) -> str:
    """What is asked for of a bundle that a device makes personal, where this one is none; empty for nothing."""
    one = next((name for name in ("bridge", "vital", "generated") if getattr(args, name)), None)
    asked = {"--change-plan": args.change_plan is not None, "--shapelets": args.shapelets not in (SHIPPED, "none")}
    given = [name for name, said in asked.items() if said]
    if one is None or not given:
        return ""
    return f"{' and '.join(given)}: for bundles that devices make personal, which one with --{one} is not"


def _stepping(model: Exported, args: argparse.Namespace) -> Exported:
    """The model with another hop, and with step graphs, where these are asked for."""
    if args.hop_s is None and not args.steps:
        return model
    from physioedge.cli.export_steps import with_hop, with_steps

    contract = model.contract if args.hop_s is None else with_hop(model.contract, args.hop_s)
    contract, step = with_steps(contract, model.network, args.steps) if args.steps else (contract, None)
    return replace(model, contract=contract, step=step)


def _choice(args: argparse.Namespace, model: Exported) -> Choice:
    from physioedge_export.forms import Choice
    from physioedge_export.quantize import KEEP_FLOAT

    return Choice(
        targets=listed(args.target or ("onnx,executorch" if args.firmware else "onnx")),
        adapters=("merged",) if args.generated else listed(args.adapters),
        precisions=listed(args.precision),
        scheme=args.scheme,
        fallback=listed(args.fallback),
        keep_float=(*KEEP_FLOAT, *listed(args.keep_float)),
        step=model.step,
        float_budget_bytes=1000 * args.float_budget,
    )


def _personal(args: argparse.Namespace, model: Exported) -> Personal:
    from physioedge_export.personal import Personal
    from physioedge_runtime.adaptation.change_plan import ChangePlan

    plan = None if args.change_plan is None else ChangePlan.from_bytes(args.change_plan.read_bytes())
    extraction = _extraction(args.shapelets, model)
    return Personal(head=_head(model), levels=_levels(args, model), extraction=extraction, plan=plan)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What is exported, and everything to say about it."""

    network: Network | RateNetwork
    adapter: LoraAdapter
    note: TaskNote
    seen: Provenance
    contract: Contract
    module: Any
    step: nn.Module | None = None

    @property
    def config(self) -> BackboneConfig:
        """The backbone's."""
        return self.network.backbone.config


def _head(model: Exported) -> Head | None:
    """What centring needs of the network's head, where it is linear and a person's usual window is not the answer."""
    from physioedge.models.network import Network
    from physioedge.tasks.contracts import CENTRING_SHARE
    from physioedge.tasks.levels import STATES
    from physioedge_export.centring import head_of

    if not isinstance(model.network, Network) or model.contract.task in STATES:
        return None
    return head_of(model.network.head, model.contract.embedding_dim, CENTRING_SHARE)


def _levels(args: argparse.Namespace, model: Exported) -> LevelSpec | None:
    """Everybody's levels, where they were found for this adapter and a person's usual level is not the answer."""
    from physioedge.adapters.lora.files import load_levels
    from physioedge.tasks.levels import STATES, rule_of

    if args.task in STATES:
        return None
    found = load_levels(_places(args.task, args.weights, args.adapter)[1])
    return None if found is None else rule_of(args.task, len(model.note.labels)).around(found)


def _extraction(bank: str, model: Exported) -> Extraction | None:
    """The extractor of a bank for the sensors of a model; None where the shipped one does not fit them."""
    if bank == "none":
        return None
    from physioedge.models import shipped
    from physioedge.models.shapelets import Extractor
    from physioedge.shapelets.bank import digest_of, load_bank
    from physioedge_export.conditions import Extraction
    from physioedge_runtime.errors import ShapeError

    found = load_bank(shipped.shapelets() if bank == SHIPPED else Path(bank))
    layout, config = model.network.backbone.layout, model.config
    kinds = {one.kind for one in layout.sensors}
    if bank == SHIPPED and any(found.modalities.get(kind) != config.modality(kind) for kind in kinds):
        return None  # it was learned behind other frontends
    try:
        extractor = Extractor(layout, dict(found.modalities), dict(found.transforms))
    except ShapeError:
        if bank != SHIPPED:
            raise
        return None  # shapelets longer than these windows: nobody asked for them
    return Extraction(module=extractor.eval(), source=digest_of(found), program=extractor.by_products())


def _model(task: str, weights: str, adapter_folder: str) -> Exported:
    """The network with its adapter merged in float, its contract, and whom the weights have seen."""
    from physioedge.adapters.lora.files import load_network, load_note
    from physioedge.tasks.cards import card_of
    from physioedge.tasks.windowed import task_module
    from physioedge_runtime.errors import AdapterError

    card_of(task)
    backbone, folder = _places(task, weights, adapter_folder)
    note = load_note(folder)
    if note.task != task:
        raise AdapterError(f"an adapter for {note.task}", f"one for {task}", f"Say --task {note.task}.")
    network, adapter, note, seen = load_network(backbone, folder)
    module = task_module(task)
    contract = _contract(module, note, network.backbone.config)
    if contract.labels != note.labels or tuple(value.name for value in contract.values) != note.values:
        raise AdapterError(
            f"an adapter for {', '.join(note.labels or note.values)}",
            f"one for {', '.join(contract.labels) or ', '.join(value.name for value in contract.values)}",
            "Fit it with this version of the task.",
        )
    return Exported(network=network, adapter=adapter, note=note, seen=seen, contract=contract, module=module)


def _contract(module: Any, note: TaskNote, config: BackboneConfig) -> Contract:
    from physioedge.tasks import arrhythmia
    from physioedge.tasks.contracts import windowed_contract

    if note.task == arrhythmia.NAME:
        return arrhythmia.contract_for(note.backbone_digest, config, note.layout)
    return windowed_contract(module.TASK, note.layout, config, note.backbone_digest)


def _places(task: str, weights: str, adapter: str) -> tuple[Path, Path]:
    """The backbone's file and the adapter's folder; those that ship with the package by their name."""
    from physioedge.models import shipped

    backbone = shipped.backbone() if weights == SHIPPED else Path(weights)
    folder = shipped.adapter_of(task) if adapter == SHIPPED else Path(adapter)
    return backbone / BACKBONE_FILE if backbone.is_dir() else backbone, folder
