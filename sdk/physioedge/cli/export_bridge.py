"""``physioedge export --bridge``: a labelled model that reads another sensor, as one graph in a signed bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from physioedge.cli.console import SHIPPED
from physioedge.cli.export_asked import listed, merged_choice, tell_merged

if TYPE_CHECKING:
    from physioedge.bridge.files import BridgeNote
    from physioedge.models.checkpoint import Provenance
    from physioedge_export.request import Card
    from physioedge_runtime.bundle.contract import Contract


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options to those of ``export``."""
    own = parser.add_argument_group("bridge", "a bundle for another sensor than the labelled model's: docs/bridge.md")
    own.add_argument("--bridge", type=Path, metavar="DIR", help="what `train bridge` wrote; --task is not needed")
    own.add_argument("--bridge-work", type=Path, default=Path("runs") / "bridge", metavar="DIR", help="folder of pairs "
                     "and labelled models that it was fitted with")  # fmt: skip
    own.add_argument("--channels", metavar="LIST", help="names of the new sensor's channels")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when the bundle is written and every stage agrees."""
    from physioedge.bridge.bundle import contract_of, windows_for
    from physioedge.bridge.directions import direction_of
    from physioedge.bridge.files import bridged_network, load_bridge
    from physioedge.bridge.labelled import folder_of
    from physioedge.models import shipped
    from physioedge.tasks.contracts import CENTRING_SHARE
    from physioedge_export.centring import head_of
    from physioedge_export.personal import Personal
    from physioedge_export.pipeline import export_bundle
    from physioedge_export.request import Destination

    backbone = shipped.backbone() if args.weights == SHIPPED else Path(args.weights)
    direction = direction_of(load_bridge(args.bridge)[1].direction)
    labelled = folder_of(direction, 0, args.bridge_work) if args.adapter == SHIPPED else Path(args.adapter)
    network, old, note, seen = bridged_network(args.bridge, backbone, labelled)
    contract = contract_of(note, old.backbone.config, listed(args.channels))
    head = head_of(network.head, contract.embedding_dim, CENTRING_SHARE)
    report = export_bundle(
        network,
        contract=contract,
        windows=windows_for(direction, note, contract, args.bridge_work),
        card=_card(args, note, seen, contract),
        destination=Destination(bundle=args.out, signing_key=args.key, report=args.report),
        personal=Personal(head=head),
        choice=merged_choice(args),
    )
    return tell_merged(report, args, "a bridge")


def _card(args: argparse.Namespace, note: BridgeNote, seen: Provenance, contract: Contract) -> Card:
    from physioedge.cli.export_card import licence_text
    from physioedge.tasks.cards import CARDS
    from physioedge_export.request import Card

    name = args.name or note.direction
    answers = dict(CARDS[note.task].answers) if note.task in CARDS else {label: label for label in note.labels}
    lag = note.alignment
    lines = [
        f"# {name}", "", f"The task {note.task}, learned on {note.old.names[0]}, on another sensor: {note.direction}.",
        "Research software; not a medical device, and no substitute for a physician.", "", "## Answers", "",
        *(f"- {key}: {text}." for key, text in answers.items()), "", "## Signals", "",
        *(f"- {s.name}: {', '.join(s.channels)} in {s.units} at {s.fs_hz:g} Hz." for s in contract.sensors), "",
        "## Fitted on", "",
        f"- The bridge, without labels: pairs of {', '.join(note.datasets)}, {len(note.training_subjects)} people; the "
        f"second sensor {lag.get('lag_s', 0.0):+.2f} s from the first.",
        f"- The backbone, without labels: {', '.join(seen.datasets)}, {len(seen.training_subjects)} people.", "",
        "## Limits", "", "- As good as results/bridge.md says of this direction, which is less than its own sensor's.",
        "- Centring takes rare classes away and was chosen for another sensor: see docs/bridge.md.", "",
    ]  # fmt: skip
    provenance = {
        "training_subjects": sorted({*seen.training_subjects, *note.training_subjects}),
        "datasets": sorted({*seen.datasets, *note.datasets}),
        "backbone": {"digest": note.backbone_digest, "objective": seen.objective, "details": seen.details},
        "bridge": {
            "digest": note.bridge_digest, "adapter": note.adapter_digest, "direction": note.direction,
            "positions": [note.positions.new, note.positions.old], "alignment": note.alignment,
        },
    }  # fmt: skip
    return Card(
        name=name, version=args.bundle_version, model_card="\n".join(lines), licence_text=licence_text(),
        provenance=provenance, task_info=answers,
    )  # fmt: skip
