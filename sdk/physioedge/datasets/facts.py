"""What is known of the person of a record beside the signal: age and sex."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.location import find
from physioedge.signals.wfdb.header import read_header
from physioedge_runtime.errors import DatasetError

COLUMNS = ("age", "age known", "male", "sex known")
"""Of `Facts.row`: age in tens of years from fifty."""
_MITBIH = re.compile(r"\s*(?P<age>-?\d+)\s+(?P<sex>[MF])\b")
_ADULT = 50.0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Of one person; None where nobody has written it down.

    Attributes
    ----------
    age_years : float or None
    sex : str or None
        ``M`` or ``F``.
    """

    age_years: float | None = None
    sex: str | None = None

    def row(self) -> NDArray[np.float32]:
        """Numbers for a network, `COLUMNS`; what is unknown is 0."""
        age = 0.0 if self.age_years is None else (self.age_years - _ADULT) / 10.0
        known = float(self.age_years is not None), float(self.sex is not None)
        return np.array([age, known[0], {"M": 1.0, "F": -1.0}.get(self.sex or "", 0.0), known[1]], np.float32)


def mitbih_facts(record: str, root: Path | None = None) -> Facts:
    """Age and sex from the comments of a record of MIT-BIH; an age of -1 means that it is not known.

    Raises
    ------
    DatasetError
        The record's file is not here, or its comments are not as the database has them.
    """
    folder = find("mitbih", root)
    packed, original = folder / f"{record}.npz", folder / f"{record}.hea"
    if packed.exists():
        with np.load(packed, allow_pickle=False) as file:
            comments = json.loads(str(file["comments"]))
    elif original.exists():
        comments = list(read_header(original).comments)
    else:
        raise DatasetError(f"no {record}.npz or {record}.hea in {folder}", "one of them", "Download the record.")
    for line in comments:
        found = _MITBIH.match(line)
        if found:
            age = float(found["age"])
            return Facts(age_years=age if age > 0 else None, sex=found["sex"])
    raise DatasetError(f"{record}: comments {comments[:1]}", "age and sex, such as '69 M'", "Download it again.")
