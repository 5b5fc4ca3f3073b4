"""Words of bundles that give vital signs: what each value is, and where it must not be trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping

from physioedge.tasks.cards import CARDS
from physioedge.tasks.series import VITALS

_VALUES: Mapping[str, str] = {
    "heart_rate": "heart rate of the window",
    "age": "age that the signal looks like",
    "sbp": "systolic pressure",
    "dbp": "diastolic pressure",
}
_LIMITS: Mapping[str, tuple[str, ...]] = {
    "ecg_rate": (
        "Lead MLII; fitted on recordings chosen for arrhythmias. Counting the beats is nearer to the truth: see "
        "results/vitals.md.",
    ),
    "ecg_age": ("It knows no more of a person's age than everybody's median: see results/vitals.md.",),
    "heart_rate": ("One channel of PPG and no accelerometer: while running it is many beats off.",),
    "blood_pressure": (
        "What is learned is how far a pressure is from the person's own mean: move its answers so that their mean is "
        "that of the person's own cuff.",
    ),
    "ptt_rate": ("Finger PPG of 22 people, sitting, walking and running.",),
    "ppg_age": ("Fitted on recordings of whoever made it, and measured by nobody else.",),
}
_FEW = 9
"""Fewer people than this cannot promise nine in ten."""
_AHEAD = re.compile(r"(?P<name>\w+)_in_(?P<seconds>\d+)s")


def words_of(of: str, value: str) -> str:
    """What one value of a bundle is: of a task's estimate or a series' forecast, or an end of its interval."""
    for end, words in (("_low", "lower end of the interval around "), ("_high", "upper end of the interval around ")):
        if value.endswith(end):
            return words + value.removesuffix(end)
    ahead = _AHEAD.fullmatch(value)
    if ahead:
        return f"{VITALS[of].words}: median forecast {ahead['seconds']} s ahead"
    return _VALUES.get(value, value)


def limits_of(of: str, kept: int) -> tuple[str, ...]:
    """One sentence a limit of a bundle whose intervals are those of so many people."""
    found = _LIMITS.get(of, ())
    if of in CARDS:
        found += CARDS[of].limits
    if of in VITALS:
        found += (f"A series with gaps of more than 15 s is not forecast; {VITALS[of].words}, one value every 5 s.",)
    if kept < _FEW:
        found += (f"Its intervals are those of {kept} people, too few to promise their nominal share.",)
    return found
