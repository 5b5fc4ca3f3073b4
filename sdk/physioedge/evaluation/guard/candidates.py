"""Adapters to put on trial for a person: good ones, foreign ones, spoilt ones, and nonsense of the same size.

Each is a residual (width,) around the global model. `own` is fitted on the person's labels and stands for a good
adapter; everything else is made of it, of other people's, of a generator's answers, or of random numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FOREIGN = 3
"""Other people's residuals tried on each person."""
KINDS: Mapping[str, str] = {
    "own": "fitted on the person's labels",
    "other_lead": "the same person's, of the other lead",
    "foreign": "other people's",
    "generated": "a generator's answer to the person's condition",
    "misdirected": "a generator's answer to somebody else's condition",
    "wrong_task": "what the adapter of heart rate has in these places, once and tenfold",
    "noised": "the person's with noise of as much or three times its size",
    "overdone": "threefold: the person's, another's, the generator's",
    "shuffled": "the person's numbers in another order, once and three times as large",
    "opposed": "the person's with the sign turned",
    "random": "random numbers of one, three and ten times the size of the person's",
}
"""Kinds of candidates."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What candidates of a person are made of.

    Attributes
    ----------
    own : float64 (width,)
    other_lead : float64 (width,) or None
    foreign : float64 (n, width)
        Of people who are not this one, in an order of the person's own.
    generated, misdirected : float64 (width,)
    wrong_task : float64 (width,)
        Of an adapter for something else.
    """

    own: Floats
    other_lead: Floats | None
    foreign: Floats
    generated: Floats
    misdirected: Floats
    wrong_task: Floats


def candidates(known: Known, name: str, *, seed: int) -> dict[str, Floats]:
    """By ``<kind>:<which>``, residuals (width,) to try; the same every time for a name and a seed."""
    rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
    own, size = known.own, float(np.linalg.norm(known.own))

    def drawn(times: float) -> Floats:
        direction = rng.standard_normal(len(own))
        return np.asarray(direction * (times * size / np.linalg.norm(direction)))

    shuffled = rng.permutation(own)
    out = {"own:": own, "generated:": known.generated, "misdirected:": known.misdirected, "opposed:": -own}
    if known.other_lead is not None:
        out["other_lead:"] = known.other_lead
    out |= {f"foreign:{number}": one for number, one in enumerate(known.foreign[:FOREIGN])}
    out |= {f"wrong_task:{times:g}": times * known.wrong_task for times in (1.0, 10.0)}
    out |= {f"noised:{times:g}": own + drawn(times) for times in (1.0, 3.0)}
    out |= {
        "overdone:own": 3 * own,
        "overdone:foreign": 3 * known.foreign[0],
        "overdone:generated": 3 * known.generated,
    }
    out |= {f"shuffled:{times:g}": times * shuffled for times in (1.0, 3.0)}
    return out | {f"random:{times:g}": drawn(times) for times in (1.0, 3.0, 10.0)}


def kind_of(candidate: str) -> str:
    """Key of `KINDS`."""
    return candidate.partition(":")[0]
