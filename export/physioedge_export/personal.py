"""What a bundle carries for one person's sake: centring, and what conditions are made of."""

from __future__ import annotations

from dataclasses import dataclass

from physioedge_export.centring import Head, centring_file
from physioedge_export.conditions import Extraction, condition_files
from physioedge_export.request import Fed
from physioedge_export.runners import Outputs
from physioedge_runtime.bundle.contract import Contract


@dataclass(frozen=True, kw_only=True)
class Personal:
    """What is asked for beyond conditions of embeddings, which every bundle offers.

    Attributes
    ----------
    head : Head, optional
        Where the first output is linear in the embedding: lets a device centre embeddings.
    extraction : Extraction, optional
        Lets a device make conditions of shapelets.
    """

    head: Head | None = None
    extraction: Extraction | None = None


def personal_files(personal: Personal, contract: Contract, outputs: Outputs, fed: Fed) -> dict[str, bytes]:
    """Files by name; `outputs` are those of the graph that ships, on the windows of the parity check."""
    files = condition_files(contract, outputs, fed.checked, fed.golden, personal.extraction)
    return files if personal.head is None else {**files, **centring_file(personal.head, outputs)}
