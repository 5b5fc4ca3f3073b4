"""``physioedge export --generated``: a bundle of one person, whose generated adapter is merged into the weights."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from physioedge.cli.export import Exported
    from physioedge_export.generated import Fidelity
    from physioedge_export.request import Card, Windows
    from physioedge_runtime.adaptation.adapter import AdapterFile

FIDELITY_FILE = "fidelity.json"
_PERSONAL = """
## One person's

Adapter {id}, generated for one person from statistics of their signal, is merged into the weights.
This bundle is personal data, and is for nobody else.
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    own = parser.add_argument_group("one person", "a bundle that holds a generated adapter: docs/export.md")
    own.add_argument("--generated", type=Path, metavar="FILE", help="an adapter file that a host signed, merged into "
                     "the weights; --adapters is merged then")  # fmt: skip
    own.add_argument("--host-trust", type=Path, metavar="PEM", help="public key that must have signed it; by default "
                     "those shipped with the runtime")  # fmt: skip
    own.add_argument("--beside", type=Path, metavar="FILE", help="everybody's bundle, whose graphs say how much of the "
                     "adapter's change is kept; by default the shipped one")  # fmt: skip
    own.add_argument("--beside-trust", type=Path, metavar="PEM", help="public key that must have signed that")


@dataclass(frozen=True, kw_only=True)
class Person:
    """A generated adapter, and the float network before it was merged."""

    file: AdapterFile
    before: nn.Module

    def said(self, card: Card) -> Card:
        """The card, with whose bundle it is."""
        made = {"id": self.file.manifest.id, "digest": self.file.digest, **dict(self.file.manifest.provenance)}
        return replace(
            card, model_card=card.model_card + _PERSONAL.format(id=self.file.manifest.id),
            provenance={**card.provenance, "generated": made},
        )  # fmt: skip


def with_person(model: Exported, args: argparse.Namespace) -> tuple[Exported, Person]:
    """The model with the adapter of ``--generated`` merged in float.

    Raises
    ------
    FormatError, UntrustedKey, SignatureInvalid, NonFiniteAdapter
        As `AdapterFile.open`.
    TaskMismatch, BackboneMismatch
        It was made for another task or backbone.
    SlotMismatch, ExportError
        As `physioedge_export.generated.merged_generated`.
    """
    from physioedge_export.generated import merged_generated
    from physioedge_runtime.adaptation.adapter import AdapterFile
    from physioedge_runtime.errors import BackboneMismatch, TaskMismatch

    file = AdapterFile.open(args.generated, trust=args.host_trust)
    made = file.manifest
    if made.task != model.contract.task:
        raise TaskMismatch(f"adapter {made.id} for {made.task}", model.contract.task, f"Say --task {made.task}.")
    if made.backbone_digest != model.contract.backbone_digest:
        came, here = made.backbone_digest[:16], model.contract.backbone_digest[:16]
        raise BackboneMismatch(f"adapter {made.id} for backbone {came}...", f"{here}...", "Name its --weights.")
    network, person = merged_generated(model.network, model.adapter, file.arrays, model.contract.n_outputs)
    return replace(model, network=network, adapter=person), Person(file=file, before=model.network)


def kept(args: argparse.Namespace, model: Exported, person: Person, windows: Windows) -> list[Fidelity]:
    """What the graphs keep of the adapter's change, and a file of it beside the report."""
    from physioedge.models import shipped
    from physioedge_export.generated import fidelity
    from physioedge_export.runners import run_windows, torch_runner
    from physioedge_runtime.bundle.container import Bundle
    from physioedge_runtime.bundle.signing import public_key, read_private_key

    mine = Bundle.open(args.out, trust=public_key(read_private_key(args.key)))
    everybody = Bundle.open(args.beside or shipped.BUNDLE, trust=args.beside_trust)
    feeds = windows.fed(model.contract).checked
    after, before = (run_windows(torch_runner(n, tuple(feeds)), feeds).first for n in (model.network, person.before))
    rows = fidelity(mine, everybody, person.file.arrays, (after, before), tuple(np.asarray(a) for a in feeds.values()))
    folder = args.report or args.out.parent
    (folder / FIDELITY_FILE).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return rows


def lines_of(rows: Sequence[Fidelity]) -> list[str]:
    """For people."""
    from physioedge_export.generated import FLOAT

    alone = f", beside the {FLOAT}: everybody's bundle has no such graph"
    return [
        f"{row.graph}: keeps the adapter's change with correlation {row.correlation:.3f}, error {row.error:.2f} of it; "
        f"same label as in float {row.same_label:.4f} (the adapter changes {row.changed_label:.4f})"
        f"{alone if row.beside == FLOAT else ''}"
        for row in rows
    ]
