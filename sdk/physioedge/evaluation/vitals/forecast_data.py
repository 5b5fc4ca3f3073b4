"""What forecasts are fitted on, calibrated on and judged on: spans of people, and a file to take them elsewhere in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.forecasting import spans_of
from physioedge.pretraining.vitals import SPAN
from physioedge.tasks.series import VITALS, Stretch, stretches

FIT_EVERY = 2
"""Steps from one span to the next where forecasts are fitted."""
MOST_JUDGED = 320
"""Spans that are judged, of all people of a series."""
CALIBRATE_EVERY = 4
"""Of the people fitted on, so many-th is kept to choose the learning rate and to calibrate intervals."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Spans and whose they are.

    Attributes
    ----------
    spans : float32 (n, step)
    person : int64 (n,)
        Index into `people`.
    people : tuple of str
    """

    spans: NDArray[np.float32]
    person: NDArray[np.int64]
    people: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ForecastData:
    """One series' people in three parts."""

    name: str
    fit: Part
    calibration: Part
    judged: Part


def pack(path: Path, names: tuple[str, ...], root: Path | None) -> None:
    """Write the stretches of series to one file."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in names:
        found = stretches(name, SPAN, root)
        arrays[f"{name}/values"] = np.concatenate([one.values for one in found])
        arrays[f"{name}/length"] = np.array([len(one.values) for one in found])
        arrays[f"{name}/judged"] = np.array([one.judged for one in found])
        arrays[f"{name}/subject"] = np.array([one.subject for one in found])
        arrays[f"{name}/record"] = np.array([one.record for one in found])
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, allow_pickle=False, **arrays)
    part.replace(path)


def names_in(path: Path) -> tuple[str, ...]:
    """Series of a packed file."""
    with np.load(path, allow_pickle=False) as file:
        return tuple(name for name in VITALS if f"{name}/values" in file.files)


@lru_cache(maxsize=8)
def load(path: Path, name: str) -> ForecastData:
    """One series of a packed file, in parts."""
    with np.load(path, allow_pickle=False) as file:
        values = {key: file[f"{name}/{key}"] for key in ("values", "length", "judged", "subject", "record")}
    ends = np.cumsum(values["length"])
    found = [
        Stretch(subject=str(subject), record=str(record), judged=bool(judged), values=values["values"][end - n : end])
        for subject, record, judged, n, end in zip(
            values["subject"], values["record"], values["judged"], values["length"], ends, strict=True
        )
    ]
    fitted = sorted({one.subject for one in found if not one.judged})
    kept = set(fitted[::CALIBRATE_EVERY])
    judged_people = sorted({one.subject for one in found if one.judged})
    most = max(1, MOST_JUDGED // max(1, len(judged_people)))
    return ForecastData(
        name=name,
        fit=_part([one for one in found if not one.judged and one.subject not in kept], FIT_EVERY, None),
        calibration=_part([one for one in found if not one.judged and one.subject in kept], 1, 4 * most),
        judged=_part([one for one in found if one.judged], 1, most),
    )


def _part(found: list[Stretch], every: int, most: int | None) -> Part:
    """All spans, or so many of each person, spread over their time."""
    people = tuple(sorted({one.subject for one in found}))
    spans, person = [], []
    for index, name in enumerate(people):
        own = np.concatenate([spans_of(one.values, every) for one in found if one.subject == name])
        if most is not None and len(own) > most:
            own = own[np.linspace(0, len(own) - 1, most).astype(np.int64)]
        spans.append(own)
        person.append(np.full(len(own), index))
    return Part(spans=np.concatenate(spans), person=np.concatenate(person).astype(np.int64), people=people)
