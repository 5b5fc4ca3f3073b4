"""Run what is missing of a plan in several processes, and keep every finished fit as a line of one file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.bridge.config import BridgeConfig
from physioedge.bridge.directions import direction_of, folds_of
from physioedge.bridge.files import adapter_digest
from physioedge.bridge.labelled import folder_of
from physioedge.bridge.module import Positions
from physioedge.bridge.pairs import load_store
from physioedge.evaluation.bridge import plan
from physioedge.evaluation.bridge.carried import carried_record
from physioedge.evaluation.bridge.fits import Outcome, Place, frozen_record, labelled_record, run_fit
from physioedge.evaluation.bridge.plan import Fit
from physioedge.models.checkpoint import read_config

FITS, BRIDGES = "fits.jsonl", "bridges.npz"
Record = dict[str, Any]
_STAGES, _LAST = ("labelled", "frozen", "choice", "arms"), "ablations"
_KEEP_EVERY_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be run.

    Attributes
    ----------
    directions : tuple of str
    arms : tuple of str
        Those with a fit.
    seeds : int
    ablations : tuple of str
        Directions whose bridge is ablated.
    carried : tuple of str
        Directions in which centring and adapters of the old model are tried through the bridge.
    config : BridgeConfig
    """

    directions: tuple[str, ...]
    arms: tuple[str, ...] = plan.MAIN
    seeds: int = 5
    ablations: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    config: BridgeConfig = field(default_factory=BridgeConfig)

    def arms_of(self, name: str) -> tuple[str, ...]:
        """Arms of a direction: fewer where nobody has labelled the judged people."""
        return self.arms if direction_of(name).scored else tuple(a for a in self.arms if a in plan.UNSCORED)


class Finished:
    """Finished fits on disk: lines of JSON, and arrays of bridges.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, Record] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / FITS).exists():
            for line in (folder / FITS).read_text().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:  # the line that was being written when the run was cut off
                    continue
                self.records[record["key"]] = record
        if (folder / BRIDGES).exists():
            with np.load(folder / BRIDGES, allow_pickle=False) as file:
                self.arrays = {name: file[name] for name in file.files}

    def add(self, record: Record, arrays: dict[str, NDArray[Any]]) -> None:
        """Append one fit."""
        self.records[record["key"]] = record
        self.arrays |= {f"{record['key']}:{name}": array for name, array in arrays.items()}
        with (self.folder / FITS).open("a") as file:
            file.write(json.dumps(record) + "\n")

    def without(self, directions: Iterable[str]) -> None:
        """Forget every fit of these directions, on disk too."""
        begins = tuple(f"{name}/" for name in directions)
        if not any(key.startswith(begins) for key in self.records):
            return
        self.records = {key: record for key, record in self.records.items() if not key.startswith(begins)}
        self.arrays = {key: array for key, array in self.arrays.items() if not key.startswith(begins)}
        part = self.folder / f"{FITS}.part"
        part.write_text("".join(json.dumps(record) + "\n" for record in self.records.values()))
        part.replace(self.folder / FITS)
        self.flush()

    def flush(self) -> None:
        """Write the arrays, in one step."""
        part = self.folder / "bridges.part.npz"
        arrays: dict[str, Any] = dict(self.arrays)
        np.savez_compressed(part, **arrays)
        part.replace(self.folder / BRIDGES)


def run(
    place: Place, wanted: Wanted, out: Path, *, workers: int, limit_s: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Finished:  # fmt: skip
    """Run what is missing; a run that is cut off, or out of time, leaves what it has finished.

    Every direction goes through its stages as fast as it can: labelled models, frozen models, choice of settings, the
    arms. Ablations come when all of that is done. Fits of a direction whose labelled model has changed since are
    forgotten, and made anew.

    Parameters
    ----------
    place : Place
    wanted : Wanted
    out : Path
        Folder of finished fits.
    workers : int
        Processes, one thread each; 1 runs all in this one.
    limit_s : float, optional
        No fit begins later than so many seconds from now.
    tell : callable
        Told one line a finished fit, and one a fit that failed; the others go on.
    """
    done, began_s = Finished(out), time.monotonic()
    for name in (changed := changed_models(done, place, wanted.directions)):
        tell(f"{name}: its labelled model has changed; all fits anew")
    done.without(changed)
    course = _Course(place, wanted, done, None if limit_s is None else began_s + limit_s)
    kept_s = began_s
    with _Here() if workers == 1 else ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        active = {pool.submit(_one, job): name for name, job in course.first()}
        while active:
            for future in wait(active, return_when=FIRST_COMPLETED).done:
                name = active.pop(future)
                error = future.exception()
                for record, arrays in [] if error else future.result():
                    done.add(record, arrays)
                    tell(f"{time.monotonic() - began_s:.0f} s, {len(active)} wait: {record['key']}")
                if error:
                    tell(f"failed: {name}: {type(error).__name__}: {error}")
                active |= {pool.submit(_one, job): other for other, job in course.after(name)}
            if time.monotonic() - kept_s > _KEEP_EVERY_S:
                done.flush()
                kept_s = time.monotonic()
    done.flush()
    return done


def changed_models(done: Finished, place: Place, directions: Sequence[str]) -> list[str]:
    """Directions with a fit to another labelled model than the one that is there now."""
    out = []
    for key, record in done.records.items():
        name, kind, *rest = key.split("/")
        if kind != "frozen" or name not in directions or name in out:
            continue
        folder = folder_of(direction_of(name), int(rest[0]), place.work)
        if not folder.exists() or adapter_digest(folder) != record.get("labelled"):
            out.append(name)
    return out


class _Here:
    """A pool that runs what it is given at once, in this process."""

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def submit(self, work: Callable[[_Job], list[Outcome]], job: _Job) -> Future[list[Outcome]]:
        future: Future[list[Outcome]] = Future()
        try:
            future.set_result(work(job))
        except Exception as error:  # noqa: BLE001 - handed on, as a process would
            future.set_exception(error)
        return future


class _Course:
    """Which jobs come next, direction by direction."""

    def __init__(self, place: Place, wanted: Wanted, done: Finished, end_s: float | None) -> None:
        self.place, self.wanted, self.done, self.end_s = place, wanted, done, end_s
        self.n_layers = read_config(place.backbone).n_layers
        stores = {name: load_store(place.work / f"{direction_of(name).store}.npz") for name in wanted.directions}
        self.folds = {name: range(len(folds_of(direction_of(name), store))) for name, store in stores.items()}
        self.stage = dict.fromkeys(wanted.directions, -1)
        self.open = dict.fromkeys((*wanted.directions, _LAST), 0)

    def first(self) -> list[tuple[str, _Job]]:
        """Jobs to begin with."""
        return [one for name in self.wanted.directions for one in self._next(name)] or self._last()

    def after(self, name: str) -> list[tuple[str, _Job]]:
        """What a finished job of a direction lets begin."""
        self.open[name] -= 1
        if name == _LAST or self.open[name]:
            return []
        return self._next(name) or self._last()

    def _next(self, name: str) -> list[tuple[str, _Job]]:
        while self.stage[name] < len(_STAGES) - 1:
            self.stage[name] += 1
            if jobs := self._made(name, self._jobs(name, _STAGES[self.stage[name]])):
                return jobs
        return []

    def _last(self) -> list[tuple[str, _Job]]:
        if any(self.open.values()) or any(stage < len(_STAGES) - 1 for stage in self.stage.values()):
            return []
        out = []
        for name in self.wanted.ablations:
            for k in self.folds[name]:
                out += self._made(_LAST, list(plan.ablation_fits(direction_of(name), k, self.n_layers)))
        return out

    def _jobs(self, name: str, stage: str) -> list[Any]:
        direction, folds, arms = direction_of(name), self.folds[name], self.wanted.arms_of(name)
        if stage == "labelled":
            return [(stage, name, k) for k in folds]
        if stage == "frozen":
            return [(stage, name, k) for k in folds]
        if stage == "choice":
            known = f"{name}/choice" in self.done.records
            return [] if known else [fit for k in folds for fit in plan.choice_fits(direction, k, arms)]
        found = plan.chosen(name, self.done.records)
        if found and f"{name}/choice" not in self.done.records:
            self.done.add({"key": f"{name}/choice", **found}, {})
        jobs: list[Any] = []
        for k in folds:
            jobs += plan.main_fits(direction, k, self.n_layers, self.wanted.seeds, arms)
        return jobs + [("carried", name, k) for k in folds if name in self.wanted.carried]

    def _made(self, name: str, jobs: list[Any]) -> list[tuple[str, _Job]]:
        """Jobs that are not finished yet, counted."""
        out = [_Job(self.place, job, _config(job, self.wanted.config, self.done), _selected(job, self.done), self.end_s)
               for job in jobs if not self._known(job)]  # fmt: skip
        self.open[name] += len(out)
        return [(name, job) for job in out]

    def _known(self, job: Any) -> bool:
        if isinstance(job, Fit):
            return all(key in self.done.records for key in job.keys)
        return f"{job[1]}/{job[0]}/{job[2]}" in self.done.records


def _config(job: Any, base: BridgeConfig, done: Finished) -> BridgeConfig:
    """Settings chosen for a job's direction."""
    name = job.direction if isinstance(job, Fit) else job[1]
    found = done.records.get(f"{name}/choice", {})
    return replace(base, **{key: value for key, value in found.items() if key != "key"})


def _selected(job: Any, done: Finished) -> Positions | None:
    """Selected positions of a fit's fold."""
    if not isinstance(job, Fit):
        name, fold = job[1], job[2]
    else:
        name, fold = job.direction, job.fold
    found = done.records.get(f"{name}/frozen/{fold}")
    return None if found is None else Positions(new=found["positions"][0], old=found["positions"][1])


@dataclass(frozen=True)
class _Job:
    place: Place
    what: Any
    config: BridgeConfig
    selected: Positions | None
    end_s: float | None


def _one(job: _Job) -> list[Outcome]:
    torch.set_num_threads(1)
    if job.place.device != "cpu":
        torch.set_float32_matmul_precision("high")
    if job.end_s is not None and time.monotonic() > job.end_s:  # the clock is the machine's: processes share it
        return []
    what = job.what
    if isinstance(what, Fit):
        return [] if job.selected is None else run_fit(job.place, what, job.config, job.selected)
    kind, name, fold = what
    if kind == "labelled":
        return [(labelled_record(job.place, name, fold), {})]
    if kind == "frozen":
        return [(frozen_record(job.place, name, fold), {})]
    return [] if job.selected is None else [(carried_record(job.place, name, fold, job.config, job.selected), {})]
