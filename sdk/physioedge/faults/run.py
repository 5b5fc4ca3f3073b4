"""The fault list, run row by row: one that breaks is reported as broken, and does not stop the others."""

from __future__ import annotations

import importlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from physioedge.faults.apart import Died, each_apart
from physioedge.faults.row import Outcome, Row, Setting, Trial
from physioedge_runtime.errors import EvaluationRefused, MissingExtra

MODULES = {
    "R1": "power_cuts",
    "R2": "fuzzing",
    "R3": "altered_bytes",
    "R4": "forgeries",
    "R5": "odd_tensors",
    "R6": "worse_adapters",
    "R7": "signals",
    "R8": "clocks",
    "R9": "host_away",
    "R10": "long_run",
    "R11": "chunking",
    "R12": "host_abuse",
    "R13": "full_disk",
    "R14": "privacy",
    "R15": "reproducible",
    "R16": "killed_workers",
    "R17": "parity",
}
"""Module of each row, in this package unless it is named in full; imported when the row is run."""
ALONE = ("R9", "R12")
"""Their verdict hangs on a time beside a time: with rows side by side these run alone, after all others."""
HOLDS, KNOWN, LOST, BROKEN, NOT_RUN = "holds", "misses, as known", "does not hold", "broken", "not run"
STATES = (HOLDS, KNOWN, LOST, BROKEN, NOT_RUN)
SHORT: Mapping[str, float] = {
    "R2": 0.15, "R3": 0.25, "R6": 0.15, "R7": 0.3, "R8": 0.4, "R9": 0.5, "R10": 0.1, "R11": 0.25, "R14": 0.5,
    "R16": 0.3, "R17": 0.1,
}  # fmt: skip
"""Share of a row's tries with which the whole list ends within a quarter of an hour on two cores; 1 where none."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One row, run or not.

    Attributes
    ----------
    row : Row
    state : str
        ``holds``; ``misses, as known`` where the target is missed for the reason that the row gives, and by no more;
        ``does not hold``, ``broken`` or ``not run``.
    reason : str
        Why it does not hold, as far as that is known.
    outcome : Outcome or None
        None for a row that is broken or was not run.
    wall_s : float
        How long it took.
    setting : Setting
        What it was given.
    """

    row: Row
    state: str
    reason: str = ""
    outcome: Outcome | None = None
    wall_s: float = 0.0
    setting: Setting


def chosen(text: str | None) -> tuple[str, ...]:
    """Ids of rows, from ``R1,R3`` or for all of them.

    Raises
    ------
    EvaluationRefused
        There is no such row.
    """
    if text is None:
        return tuple(MODULES)
    ids = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    unknown = [name for name in ids if name not in MODULES]
    if unknown or not ids:
        raise EvaluationRefused(f"rows {', '.join(unknown) or 'none'}", f"some of {', '.join(MODULES)}", "Name those.")
    return tuple(sorted(ids, key=list(MODULES).index))


def run_row(name: str, *, share: float, seed: int, sets: Path | None = None) -> Found:
    """One row in an empty folder of its own; never raises for what the row does."""
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder, _no_warnings():
        setting = Setting(work=Path(folder), share=share, seed=seed, sets=sets)
        row, begun = Row(id=name, what="", target=""), time.monotonic()
        try:
            where = MODULES[name] if "." in MODULES[name] else f"physioedge.faults.{MODULES[name]}"
            module: Trial = importlib.import_module(where)
            row = module.ROW
            outcome = module.trial(setting)
        except MissingExtra as error:
            return Found(row=row, state=NOT_RUN, reason=str(error), setting=setting)
        except ModuleNotFoundError as error:
            if not (error.name or "physioedge").startswith("physioedge"):
                reason = f"the package {error.name!r} is not installed; physioedge doctor says which extra brings it"
                return Found(row=row, state=NOT_RUN, reason=reason, setting=setting)
            return Found(row=row, state=BROKEN, reason=str(error), setting=setting)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken row must not hide the others
            reason, wall_s = f"{type(error).__name__}: {error}", time.monotonic() - begun
            return Found(row=row, state=BROKEN, reason=reason, wall_s=wall_s, setting=setting)
        (state, reason), wall_s = _state_of(row, outcome), time.monotonic() - begun
        return Found(row=row, state=state, reason=reason, outcome=outcome, wall_s=wall_s, setting=setting)


def _state_of(row: Row, outcome: Outcome) -> tuple[str, str]:
    """State of a row that was run, and why it is that one."""
    if outcome.holds:
        return HOLDS, ""
    if not row.known or outcome.worse:
        return LOST, "; ".join(f"worse than known: {what}" for what in outcome.worse)
    return KNOWN, row.known


def run(
    ids: Sequence[str],
    *,
    share: float = 1.0,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    sets: Path | None = None,
    workers: int = 1,
    known_s: Mapping[str, float] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[Found]:
    """Rows, each as soon as it is done: one after the other, or some at a time in processes of their own.

    Parameters
    ----------
    ids : sequence of str
        Of `MODULES`.
    share : float
        Of the full number of tries.
    shares : mapping of str to float, optional
        By row: so much of `share`, such as `SHORT`; all of it where there is none.
    seed : int
    sets : Path, optional
        See `physioedge.faults.row.Setting`.
    workers : int
        Rows at a time, in the order of how long they are known to take; those of `ALONE` one by one at the end. They
        find what they find alone.
    known_s : mapping of str to float, optional
        How long rows take at their share, for the time left.
    progress : callable
        Given a line when a row begins and when it has ended.
    """
    known = dict(known_s or {})
    given: dict[str, dict[str, Any]]
    given = {name: {"share": share * (shares or {}).get(name, 1.0), "seed": seed, "sets": sets} for name in ids}
    if workers > 1:
        yield from _side_by_side(ids, workers, known, progress, given)
        return
    for number, name in enumerate(ids):
        left = sum(known.get(other, 0.0) for other in ids[number:])
        unknown = sum(other not in known for other in ids[number:])
        more = f" and what {unknown} rows take" if unknown and left else ""
        progress(f"{name} ({number + 1} of {len(ids)})" + (f", about {left / 60:.1f} min left{more}" if left else ""))
        found = run_row(name, **given[name])
        progress(f"{name} {line(found)}")
        yield found


def _side_by_side(
    ids: Sequence[str],
    workers: int,
    known: Mapping[str, float],
    progress: Callable[[str], None],
    given: Mapping[str, dict[str, Any]],
) -> Iterator[Found]:
    together = sorted((n for n in ids if n not in ALONE), key=lambda n: known.get(n, float("inf")), reverse=True)
    for names, at_once in ((together, workers), ([n for n in ids if n in ALONE], 1)):
        calls = [partial(_row_of, name, MODULES[name], given[name]) for name in names]
        for index, found in each_apart(calls, at_once, partial(_begins, names, progress)):
            if isinstance(found, Died):
                setting = Setting(work=Path(), **given[names[index]])
                row = Row(id=names[index], what="", target="")
                found = Found(row=row, state=BROKEN, reason=found.how, setting=setting)
            progress(f"{names[index]} {line(found)}")
            yield found


def _begins(names: Sequence[str], progress: Callable[[str], None], index: int) -> None:
    progress(f"{names[index]} begins")


def _row_of(name: str, module: str, given: dict[str, Any]) -> Found:
    """In a process of its own, whose list of modules is the one of this file."""
    MODULES[name] = module
    return run_row(name, **given)


def line(found: Found) -> str:
    """How a row ended, in one line."""
    if found.outcome is None:
        return f"{found.state}: {found.reason}"
    return f"{found.state}: {found.outcome.tried:,} tried, {found.outcome.lost:,} lost, {found.wall_s:.1f} s"


def summary(found: Sequence[Found]) -> str:
    """How the list ended, in a few plain sentences."""
    by = {state: [each.row.id for each in found if each.state == state] for state in STATES}
    ran = [each for each in found if each.state != NOT_RUN]
    said = [f"{len(by[HOLDS])} of {len(ran)} rows that ran are at their target."]
    if by[KNOWN]:
        said.append(f"{', '.join(by[KNOWN])}: missed as known, for the reason told above, and by no more.")
    for state in (LOST, BROKEN, NOT_RUN):
        if by[state]:
            said.append(f"{', '.join(by[state])}: {state}.")
    return " ".join(said)


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Faults on purpose are no news for a log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
