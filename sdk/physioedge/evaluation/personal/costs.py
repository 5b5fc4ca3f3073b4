"""What personalisation costs, phase by phase: in the cloud once, on a host a person, and beside training on the device.

What other commands have measured and kept (pre-training, the device's swap, a host's answers) is not measured again;
`physioedge.report.costs` puts all of it in one table.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from physioedge.generator.adapter_set import AdapterSet, load_set
from physioedge.generator.spaces import FourierSpace, VeraSpace
from physioedge.results import Row

TASK = "arrhythmia"
ONCE, PERSON = "once, cloud", "one person"
SET, LOCAL, FULL, MERGE = "set", "local", "full", "merge"
FITTED = ("krr", "mlp", "cgan", "dit")
EXPANSIONS: Mapping[str, type[FourierSpace] | type[VeraSpace]] = {"fourier": FourierSpace, "vera": VeraSpace}
"""Vectors that could be sent in place of a slot's numbers, and would be written out on the device."""
PARTS = (SET, *FITTED, LOCAL, FULL, MERGE, *EXPANSIONS)
_OF_A_PERSON = (LOCAL, FULL, MERGE, *EXPANSIONS)
_MB = 1024.0 if sys.platform != "darwin" else 1024.0**2


@dataclass(frozen=True, kw_only=True)
class Places:
    """What costs are measured with.

    Attributes
    ----------
    backbone : Path
    data : Path, optional
    folder : Path
        What ``train adapters`` wrote.
    parts : tuple of str
        Of `PARTS`, or generators' names.
    people : int
        How many judged people are fitted locally.
    """

    backbone: Path
    data: Path | None
    folder: Path
    parts: tuple[str, ...] = PARTS
    people: int = 3


def cost_rows(places: Places, say: Callable[[str], None]) -> list[Row]:
    """Every cost a row: ``core_s`` of processor time, ``peak_rss_mb`` of a process that does nothing else."""
    rows: list[Row] = []
    for part in places.parts:
        if part == SET:
            rows += _set_rows(places.folder)
        else:
            rows += _measured(places, part, PERSON if part in _OF_A_PERSON else ONCE, say)
        if part in EXPANSIONS:
            rows += _lost(places.folder, part)
    return rows


def beside(rows: list[Row], known: list[Row]) -> list[Row]:
    """Rows with those in place of older ones of the same arm: a table may be measured part by part."""
    new = {row.arm for row in rows}
    return [*(row for row in known if row.arm not in new), *rows]


def _set_rows(folder: Path) -> Iterator[Row]:
    """What the set says of itself, and what its ledger says of global adapters."""
    from physioedge.adapters.sets.ledger import read_ledger
    from physioedge.adapters.sets.making import GLOBALS

    found = _set(folder)
    cost = found.details["cost"]
    yield _row("adapter set", ONCE, "adapters", "1", [cost["adapters"]])
    yield _row("adapter set", ONCE, "core_s", "s", [cost["core_s"]])
    spent = [s for job, s in read_ledger(folder).core_s.items() if job.startswith(GLOBALS)]
    if spent:
        yield _row("global adapters", ONCE, "core_s", "s", [sum(spent)])


def _lost(folder: Path, part: str) -> Iterator[Row]:
    """Numbers of a vector, and how far residuals of the set are from the nearest that such vectors stand for."""
    found = _set(folder)
    space = EXPANSIONS[part].of(found.origin)
    near = space.adapters(space.vectors(found.adapters))
    error = np.linalg.norm(near - found.adapters, axis=1) / np.linalg.norm(found.adapters, axis=1)
    yield _row(part, PERSON, "numbers", "1", [space.width])
    yield _row(part, PERSON, "relative_error", "1", [float(np.median(error))])


def _set(folder: Path) -> AdapterSet:
    return load_set(next(folder.glob("*.safetensors")))


def _measured(places: Places, arm: str, group: str, say: Callable[[str], None]) -> Iterator[Row]:
    """Rows of one measurement in a process of its own, whose peak is then its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak_mb, idle_mb = pool.apply(_measure, (places, arm))
    say(f"{group}, {arm}: {np.mean(seconds):.3g} core-seconds, {peak_mb:.0f} MB")
    yield _row(arm, group, "core_s", "s", seconds)
    yield _row(arm, group, "peak_rss_mb", "MB", [peak_mb])
    yield _row(arm, group, "rss_before_mb", "MB", [idle_mb])


def _measure(places: Places, arm: str) -> tuple[list[float], float, float]:
    """Seconds of each repetition, the process's peak, and its peak before the first of them began."""
    torch.set_num_threads(1)
    calls = list(_calls(places, arm))
    idle_mb, seconds = _peak_mb(), []
    for call in calls:
        began_s = time.process_time()
        call()
        seconds.append(time.process_time() - began_s)
    return seconds, _peak_mb(), idle_mb


def _calls(places: Places, arm: str) -> Iterator[Callable[[], object]]:
    if arm in (LOCAL, FULL):
        yield from _local(places, arm)
    elif arm == MERGE:
        yield from _merge(places)
    elif arm in EXPANSIONS:
        yield from _expand(places, arm)
    else:
        yield from _fit(places, arm)


def _fit(places: Places, kind: str) -> Iterator[Callable[[], object]]:
    from physioedge.evaluation.personal.generated import GENERATORS

    found = _set(places.folder)
    yield lambda: GENERATORS[kind](found, 0)


def _expand(places: Places, part: str) -> Iterator[Callable[[], object]]:
    """One vector written out; bases and signs are made before, as a device would."""
    found = _set(places.folder)
    space = EXPANSIONS[part].of(found.origin)
    vector = space.vectors(found.adapters[:1])
    for _ in range(20):
        yield lambda: space.adapters(vector)


def _local(places: Places, name: str) -> Iterator[Callable[[], object]]:
    """Fits on the labels of the first five minutes, as in the personalisation table."""
    from physioedge.adapters.sets.base import load_base
    from physioedge.adapters.sets.making import everybody, global_folder
    from physioedge.evaluation.personal.judged import JudgedBeats
    from physioedge.evaluation.personal.labelled import LABELLED

    judged = JudgedBeats(places.backbone, places.data)
    folder = global_folder(places.folder, everybody(judged.people.names))
    base = load_base(places.backbone, folder, np.zeros(len(judged.labels)))
    fit = LABELLED[name].fit
    for person in judged.tests[: places.people]:
        subject = judged.subject(person, judged.variants[0])
        yield lambda subject=subject: fit(base, subject, None)  # type: ignore[misc]


def _merge(places: Places) -> Iterator[Callable[[], object]]:
    """The global adapter's own numbers merged into the network in float, which is what an exporter begins with."""
    from physioedge.adapters.lora.files import load_network
    from physioedge.adapters.sets.making import EVERYBODY, GLOBALS
    from physioedge_export.merge import LoraAdapter, merged_state

    network, adapter, _, _ = load_network(places.backbone, places.folder / GLOBALS / EVERYBODY)
    state, pairs = network.state_dict(), LoraAdapter(pairs=adapter.pairs)
    for _ in range(10):
        yield lambda: merged_state(state, pairs)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB


def _row(arm: str, group: str, metric: str, unit: str, values: list[float]) -> Row:
    low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
    return Row(
        task=TASK, arm=arm, group=group, metric=metric, unit=unit, value=float(np.mean(values)), low=low, high=high,
        n=len(values), seeds=1,
    )  # fmt: skip
