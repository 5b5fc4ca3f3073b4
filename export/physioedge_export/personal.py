"""What a bundle carries for one person's sake: centring, levelling, and what conditions are made of."""

from __future__ import annotations

from dataclasses import dataclass

from physioedge_export.centring import Head, centring_file
from physioedge_export.conditions import Extraction, condition_files
from physioedge_export.levelling import LevelSpec, levelling_file
from physioedge_export.request import Fed
from physioedge_export.runners import Outputs
from physioedge_runtime.adaptation.change_plan import FILE as PLAN_FILE
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import ExportError


@dataclass(frozen=True, kw_only=True)
class Personal:
    """What is asked for beyond conditions of embeddings, which every bundle offers.

    Attributes
    ----------
    head : Head, optional
        Where the first output is linear in the embedding: lets a device centre embeddings.
    extraction : Extraction, optional
        Lets a device make conditions of shapelets.
    levels : LevelSpec, optional
        Lets a device level logits; needs `head`.
    plan : ChangePlan, optional
        What the guard of this bundle goes by, in place of its defaults.
    """

    head: Head | None = None
    extraction: Extraction | None = None
    levels: LevelSpec | None = None
    plan: ChangePlan | None = None


def personal_files(personal: Personal, contract: Contract, outputs: Outputs, fed: Fed) -> dict[str, bytes]:
    """Files by name; `outputs` are those of the graph that ships, on the windows of the parity check.

    Raises
    ------
    ExportError
        As `condition_files`, `centring_file` and `levelling_file`; levels without a head.
    """
    files = condition_files(contract, outputs, fed.checked, fed.golden, personal.extraction)
    if personal.plan is not None:
        files[PLAN_FILE] = personal.plan.to_bytes()
    head, levels = personal.head, personal.levels
    if head is not None:
        files |= centring_file(head, outputs)
        if levels is not None:
            files |= levelling_file(head, levels, contract, outputs)
    elif levels is not None:
        raise ExportError("levels without a head", "a head whose logits are levelled", "Pass both, or no levels.")
    return files
