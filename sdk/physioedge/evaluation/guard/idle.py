"""Trials of an adapter that changes nothing: whatever the guard reverts here, it reverts wrongly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from physioedge.datasets import mitbih, stress_predict
from physioedge.datasets.splits import load_split
from physioedge.evaluation import bundled, lived
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.models import shipped
from physioedge.results import Row
from physioedge.tasks import arrhythmia, stress
from physioedge_runtime import Bundle
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.guard import CONFIRM, REVERT, WAIT, Guard
from physioedge_runtime.engine import load_engine
from physioedge_runtime.result import Result

FILE = "guard-idle"
TRIALS = 40
"""A person, that begin evenly over the recording."""
ARMS = ("before", "beside", "flags_withheld")
"""Compared with the windows before the trial; with the model in use; with those before, where no window counts that
has a flag beside its answer."""
_TRIAL = "idle"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How trials of one person ended.

    Attributes
    ----------
    decisions : list of str
        Of those that began with enough windows before them; ``wait`` where the recording ended first.
    seconds : list of float
        Length of those that were decided.
    """

    decisions: list[str]
    seconds: list[float]


def streams(task: str, data: Path | None) -> Iterator[tuple[str, Bundle, list[Result]]]:
    """Every person whom the task's backbone has not seen through what ships for the task, and its bundle.

    Raises
    ------
    DatasetError
        The recordings are not here.
    """
    if task == arrhythmia.NAME:
        bundle = Bundle.open(shipped.BUNDLE)
        engine = load_engine(bundle, adapters="slots")
        for person in load_split(mitbih.NAME).evaluate:
            record = person.partition(":")[2]
            yield person, bundle, lived.stream_record(bundle, record, engine, data)
        return
    hour = shipped.stress_hour()
    bundle = Bundle.open(hour.bundle, trust=hour.trust)
    engine = load_engine(bundle, adapters="slots")
    for person in load_split(stress_predict.NAME).evaluate:
        yield person, bundle, bundled.streamed(bundle, engine, stress.recordings(person.partition(":")[2], data))


TASKS = (arrhythmia.NAME, stress.TASK.name)


def idle(results: Sequence[Result], plan: ChangePlan, arm: str) -> Ended:
    """Trials of the model in use against itself.

    Parameters
    ----------
    results : sequence of Result
        Of a person's whole recording.
    plan : ChangePlan
    arm : str
        Of `ARMS`.
    """
    counted = [_silent(one) if arm == "flags_withheld" and one.flags else one for one in results]
    ended = Ended(decisions=[], seconds=[])
    for first in np.linspace(0, len(counted), TRIALS, endpoint=False).astype(int):
        guard = Guard(plan)
        guard.before(counted[:first])
        if not guard.ready:
            continue
        decision, seconds = _tried(guard, counted[first:], beside=arm == "beside")
        ended.decisions.append(decision)
        if decision != WAIT:
            ended.seconds.append(seconds)
    return ended


def rows_of(task: str, arm: str, people: Mapping[str, Ended]) -> list[Row]:
    """Share of decided trials that were reverted, with its interval over people, and how long a trial took."""
    counts = np.array([[(one.decisions.count(REVERT), len(one.seconds)) for one in people.values()]], float)
    if not counts[0, :, 1].any():
        return []
    value, low, high = subject_bootstrap(counts, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1))
    middle = float(np.median(np.concatenate([one.seconds for one in people.values()])))
    decided = int((counts[0, :, 1] > 0).sum())
    share = Row(task=task, arm=arm, group="changes nothing", metric="false_reverts", unit="1", value=value, low=low,
                high=high, n=decided, seeds=1)  # fmt: skip
    return [share, replace(share, metric="trial_s", unit="s", value=middle, low=None, high=None)]


def _tried(guard: Guard, during: Sequence[Result], *, beside: bool) -> tuple[str, float]:
    guard.tries(_TRIAL)
    for one in during:
        guard.during([replace(one, adapter=_TRIAL)])
        if beside:
            guard.beside([one])
        said = guard.verdict().decision
        if said in (CONFIRM, REVERT):
            return said, guard.seconds
    return WAIT, guard.seconds


def _silent(one: Result) -> Result:
    return replace(one, label=None, values=())
