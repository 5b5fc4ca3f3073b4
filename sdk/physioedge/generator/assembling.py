"""From the rows of an adapter set, as they were fitted, to what generators learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from physioedge.adapters.sets.making import Row
from physioedge.generator.adapter_set import AdapterSet, Origin


def set_of(rows: Sequence[Row], origin: Origin, details: Mapping[str, Any]) -> AdapterSet:
    """A set in which every condition of a wearer stands beside the wearer's residual.

    Parameters
    ----------
    rows : sequence of Row
    origin : Origin
    details : mapping
        How it was made; what it cost is added.
    """
    each = [len(row.conditions) for row in rows]
    cost = {"core_s": round(float(sum(row.core_s for row in rows)), 1), "adapters": len(rows)}
    return AdapterSet(
        origin=origin,
        conditions=np.concatenate([row.conditions for row in rows]),
        adapters=np.repeat(np.stack([row.residual for row in rows]).astype(np.float64), each, axis=0),
        person=np.repeat(np.array([row.person for row in rows]), each),
        details={**details, "cost": cost},
    )
