"""How much faster an adapter set is made by two workers than by one, and what they spend beside the work."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from physioedge.adapters.sets.backends import LOKY
from physioedge.adapters.sets.ledger import FOLDER, read_ledger
from physioedge.adapters.sets.making import GLOBALS, LEVELS, ROWS, SetConfig, make_rows
from physioedge.bench.scale_people import MadeUpPeople
from physioedge.results import Row

CONFIG = SetConfig(folds=2, wearers=2)
SEED = 0
ONE = "one worker"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One set, made once.

    Attributes
    ----------
    took_s : float
        The whole call, with the start of workers and of a cluster.
    span_s : float
        From the first adapter begun to the last one done.
    core_s : float
        Processor seconds of all adapters.
    workers, adapters : int
    """

    took_s: float
    span_s: float
    core_s: float
    workers: int
    adapters: int


def prepared(people: MadeUpPeople, folder: Path, say: Callable[[str], None]) -> Path:
    """A folder with everything of a set but its adapters."""
    say("global adapters")
    make_rows(people, folder, replace(CONFIG, wearers=0), seed=SEED, workers=1, say=lambda line: None)
    return folder


def timed(people: MadeUpPeople, ready: Path, out: Path, *, backend: str, workers: int) -> Run:
    """Make the adapters of a set whose other parts are in `ready`."""
    for name in (GLOBALS, LEVELS):
        shutil.copytree(ready / name, out / name)
    began_s = time.perf_counter()
    rows = make_rows(people, out, CONFIG, seed=SEED, workers=workers, say=lambda line: None, backend=backend)
    took_s = time.perf_counter() - began_s
    ledger = read_ledger(out)
    times = [ledger.at_s[job] for job in ledger.done if job.startswith(ROWS)]
    return Run(
        took_s=took_s, span_s=max(last for _, last in times) - min(first for first, _ in times),
        core_s=sum(ledger.core_s[job] for job in ledger.done if job.startswith(ROWS)), workers=workers,
        adapters=len(rows),
    )  # fmt: skip


def measure(
    people: MadeUpPeople, work: Path, *, backends: tuple[str, ...], rounds: int, say: Callable[[str], None]
) -> dict[str, list[Run]]:
    """Runs by one worker and by two of each backend, in turns; their arrays must be equal.

    Raises
    ------
    RuntimeError
        Two backends made different arrays.
    """
    ready, found = prepared(people, work / "ready", say), dict[str, list[Run]]()
    for number in range(rounds):
        for name, backend, workers in ((ONE, LOKY, 1), *((one, one, 2) for one in backends)):
            say(f"round {number + 1}: {name}")
            out = work / f"{name.replace(' ', '-')}-{number}"
            found.setdefault(name, []).append(timed(people, ready, out, backend=backend, workers=workers))
            _same(work / f"{ONE.replace(' ', '-')}-0", out)
    return found


def _same(first: Path, other: Path) -> None:
    for path in sorted((first / ROWS).glob("*.npz")):
        with np.load(path, allow_pickle=False) as one, np.load(other / ROWS / path.name, allow_pickle=False) as two:
            if not all(np.array_equal(one[name], two[name]) for name in ("conditions", "residual")):
                raise RuntimeError(f"{path.name} of {other.name} has other arrays than that of {first.name}")
    assert not read_ledger(other).again and (other / FOLDER).exists()


def set_rows(found: dict[str, list[Run]]) -> list[Row]:
    """Medians over rounds, with the least and the most as bounds.

    ``speedup_2_workers`` is the time of one worker over that of two, from the first adapter begun to the last one done;
    ``speedup_with_start`` is that of the whole calls. ``overhead_share`` is the part of the workers' time between the
    same two moments in which no processor worked on an adapter, ``start_s`` what the call took beside.
    """
    rows, single = [], found[ONE]
    for arm, runs in found.items():
        values = {
            "overhead_share": ("1", [1 - run.core_s / (run.workers * run.span_s) for run in runs]),
            "start_s": ("s", [run.took_s - run.span_s for run in runs]),
            "core_s_per_adapter": ("s", [run.core_s / run.adapters for run in runs]),
            "adapters_per_hour": ("1/h", [3600 * run.adapters / run.span_s for run in runs]),
        }
        if arm != ONE:
            pairs = list(zip(single, runs, strict=True))
            values |= {
                "speedup_2_workers": ("1", [one.span_s / two.span_s for one, two in pairs]),
                "speedup_with_start": ("1", [one.took_s / two.took_s for one, two in pairs]),
            }
        rows += [
            Row(task="made_up", arm=arm, group="adapter sets", metric=metric, unit=unit, value=float(np.median(of)),
                low=min(of), high=max(of), n=runs[0].adapters, seeds=len(runs))
            for metric, (unit, of) in values.items()
        ]  # fmt: skip
    return rows
