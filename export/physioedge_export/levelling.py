"""What a bundle carries so that a device can level a person's logits: the head, and where everybody's level lies."""

from __future__ import annotations

import numpy as np

from physioedge_export.centring import TOLERANCE, Head
from physioedge_export.runners import Outputs
from physioedge_runtime.adaptation.levelling import BOTH_SIDES, CONSTANT, FILE, LEVEL, MARGIN, WEIGHT, Levels, LevelSpec
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.errors import ExportError, PhysioEdgeError

__all__ = ["LevelSpec", "levelling_file"]


def levelling_file(head: Head, levels: LevelSpec, contract: Contract, outputs: Outputs) -> dict[str, bytes]:
    """The file for a bundle, by its name.

    Parameters
    ----------
    head : Head
    levels : LevelSpec
        Found where it is known whose windows are whose: over people, each judged by a network not fitted on them.
    contract : Contract
    outputs : Outputs
        Of the graph that ships, on any windows: the head must say what it says.

    Raises
    ------
    ExportError
        The contract has no labels, the levels are not of its labels or not finite, or the logits are another function
        of the embedding.
    """
    arrays = {
        WEIGHT: head.weight, CONSTANT: head.constant, LEVEL: levels.level, MARGIN: levels.margin,
        BOTH_SIDES: levels.both_sides,
    }  # fmt: skip
    data = write_tensors({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()})
    try:
        found = Levels.parsed(data, contract)
    except PhysioEdgeError as error:
        raise ExportError(error.came, error.expected, "Pass levels of the labels, or none.") from error
    said = outputs.embedding.astype(np.float64) @ found.weight.T + found.constant
    strays = float(np.abs(outputs.first - said).max()) if len(said) else 0.0
    if not strays <= TOLERANCE * max(1.0, float(np.abs(said).max(initial=0.0))):
        raise ExportError(
            f"logits that stray {strays:.3g} from what the head says of the embedding",
            f"at most {TOLERANCE:g} of the largest one", "Export without levels: these logits cannot be levelled.",
        )  # fmt: skip
    return {FILE: data}
