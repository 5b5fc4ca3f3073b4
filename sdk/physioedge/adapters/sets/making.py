"""Make an adapter set: global adapters without some of the people, and for each of these residuals around them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.lora.files import TASK_FILE, load_note
from physioedge.adapters.sets.backends import LOKY, Backend, pool
from physioedge.adapters.sets.base import REFERENCE, Base, Floats, embedded, load_base, logits_of, slotted
from physioedge.adapters.sets.begun import go_on
from physioedge.adapters.sets.ledger import once
from physioedge.adapters.sets.people import CHECKPOINT, People, Worn
from physioedge.adapters.sets.residual import LabelledWindows, ResidualFit, fit_residual
from physioedge.adapters.sets.stretches import inside, stretches_of
from physioedge.tasks.levels import levels

GLOBALS, ROWS, LEVELS = "globals", "rows", "levels"
EVERYBODY = "everybody"
"""Folder of the global adapter that is fitted on all of them: what judged people meet."""
_EVERY = 8


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """What a set is made of.

    Attributes
    ----------
    folds : int
        A global adapter is fitted without each; a person's residuals are taken around the one that has not seen it.
    splits : int
        So many divisions into folds: each gives every person another global adapter to differ from.
    wearers : int
        Virtual wearers a person.
    stretches : int
        Conditions a wearer, each of a stretch of its own.
    stretch_s : tuple of float
        Shortest and longest stretch; the first is always the longest from the beginning, as a device takes it.
    residual : ResidualFit
    levelled : bool
        Residuals are fitted to logits that are levelled already, so that they hold what levelling cannot give.
    """

    folds: int = 5
    splits: int = 1
    wearers: int = 5
    stretches: int = 4
    stretch_s: tuple[float, float] = (60.0, 300.0)
    residual: ResidualFit = field(default_factory=ResidualFit)
    levelled: bool = False


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One global adapter: fitted on `fitted`, residuals of `held` around it; with nobody held out, it is the last."""

    split: int
    number: int
    fitted: tuple[str, ...]
    held: tuple[str, ...]

    @property
    def name(self) -> str:
        """Folder of its global adapter."""
        return f"{self.split}-{self.number}" if self.held else EVERYBODY


@dataclass(frozen=True, kw_only=True)
class Row:
    """One wearer's residual and conditions.

    Attributes
    ----------
    person : str
    wearer, split : int
    conditions : float64 (stretch, 2 * embedding_dim)
        Means, then deviations, each less that of the people the global adapter was fitted on.
    residual : float32 (width,)
    core_s : float
        Processor seconds that the fit took.
    """

    person: str
    wearer: int
    split: int
    conditions: Floats
    residual: NDArray[np.float32]
    core_s: float


def folds_of(names: tuple[str, ...], config: SetConfig, *, seed: int) -> list[Fold]:
    """Every person is held out once a split; the first split goes by the order of the names, others are drawn."""
    out = []
    for split in range(config.splits):
        order = list(names) if split == 0 else np.random.default_rng((seed, split)).permutation(names).tolist()
        for number in range(config.folds):
            held = tuple(order[number :: config.folds])
            fitted = tuple(name for name in names if name not in held)
            out.append(Fold(split=split, number=number, fitted=fitted, held=held))
    return [*out, everybody(names)]


def everybody(names: tuple[str, ...]) -> Fold:
    """The fold that holds nobody out."""
    return Fold(split=0, number=0, fitted=names, held=())


def make_rows(
    people: People, out: Path, config: SetConfig, *, seed: int, workers: int, say: Callable[[str], None],
    backend: str = LOKY, address: str | None = None,
) -> list[Row]:  # fmt: skip
    """All rows of a set; what an earlier call has finished in `out` is not done again.

    Every row and every global adapter is a job and a file of its own, named by all that shapes it and put in place in
    one step. It may be killed at any moment and called again, also while workers of the call before still finish their
    job. Whatever they run on and however many there are, the arrays are the same.

    Parameters
    ----------
    people : People
    out : Path
        Folder of the set; `physioedge.adapters.sets.ledger` is kept in it.
    config : SetConfig
    seed : int
    workers, backend, address
        See `physioedge.adapters.sets.backends.Backend`.
    say : callable
        Takes a line whenever a job ends.

    Raises
    ------
    AdapterError
        `out` was begun with other people, settings, or another seed or backbone.
    """
    folds = folds_of(people.names, config, seed=seed)
    go_on(out / GLOBALS, people, folds, seed=seed)
    with pool(Backend(name=backend, workers=workers, address=address)) as at:
        lacking = [fold for fold in folds if not (global_folder(out, fold) / REFERENCE).exists()]
        for job in at.run(_global, [(people, fold, out, seed) for fold in lacking]):
            say(f"{job} is there")
        units = [(fold, name) for fold in folds for name in fold.held]
        lacking_levels = [unit for unit in units if not _level_file(out, *unit).exists()]
        for job in at.run(_level, [(people, *unit, out, seed) for unit in lacking_levels]):
            say(f"{job} is there")
        calls = [(people, *unit, wearer, out, config, seed) for unit in units for wearer in range(config.wearers)]
        calls = [call for call in calls if not _path(*call).exists()]
        for finished, job in enumerate(at.run(_wearer, calls), 1):
            say(f"{job} is there, {finished} of {len(calls)} adapters")
    return [_read(_path(people, fold, name, wearer, out, config, seed), fold, name, wearer)
            for fold, name in units
            for wearer in range(config.wearers)]  # fmt: skip


def global_folder(out: Path, fold: Fold) -> Path:
    """Where a fold's global adapter lies."""
    return out / GLOBALS / fold.name


def _global(people: People, fold: Fold, out: Path, seed: int) -> str:
    torch.set_num_threads(1)
    folder = global_folder(out, fold)

    def fit() -> None:
        if not (folder / TASK_FILE).exists():
            folder.mkdir(parents=True, exist_ok=True)
            torch.manual_seed(seed)  # nothing may hang on what this process has fitted before
            people.fit_global(fold.fitted, folder, seed=seed)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        _write_reference(people, fold.fitted, folder, seed=seed)

    return _done_once(out, folder / REFERENCE, fit)


def _done_once(out: Path, path: Path, do: Callable[[], None]) -> str:
    """Name of a job whose result is the file `path`, once it is done."""
    job = path.relative_to(out).as_posix()
    once(out, job, path.exists, do)
    return job


def _write_reference(people: People, names: tuple[str, ...], folder: Path, *, seed: int) -> None:
    """Mean and deviation of the embeddings of those a global adapter was fitted on, beside it."""
    network, _ = slotted(people.backbone, folder, people.device)
    rows = []
    for name in names:
        worn = people.worn(name, 0, seed=seed)
        found = embedded(network, worn.of(np.arange(0, len(worn.target), _EVERY)).signals).astype(np.float64)
        rows.append((found.mean(0), found.std(0)))
    mean, deviation = (np.mean(part, axis=0) for part in zip(*rows, strict=True))
    save_arrays(folder / REFERENCE, mean=mean, deviation=deviation)


def _path(people: People, fold: Fold, name: str, wearer: int, out: Path, config: SetConfig, seed: int) -> Path:
    """Where a row lies, by all that shapes it."""
    note = load_note(global_folder(out, fold))
    shape = asdict(config)
    plain = () if config.levelled else ("levelled",)  # rows made before there was a choice keep their names
    for key in ("folds", "splits", "wearers", *plain):
        del shape[key]
    said = [people.task, note.backbone_digest, note.fit, fold.fitted, name, shape, seed, wearer]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]
    return out / ROWS / f"{fold.split}-{name}-{wearer}-{digest}.npz"


def _wearer(people: People, fold: Fold, name: str, wearer: int, out: Path, config: SetConfig, seed: int) -> str:
    """One adapter: a person as one of the wearers."""
    torch.set_num_threads(1)
    path = _path(people, fold, name, wearer, out, config, seed)

    def fit() -> None:
        base, worn = _base(people, fold, out, config, seed), people.worn(name, wearer, seed=seed)
        save_arrays(path, **_row(base, worn, config, seed=hash_seed(name, wearer, seed)))

    return _done_once(out, path, fit)


def _base(people: People, fold: Fold, out: Path, config: SetConfig, seed: int) -> Base:
    level, folder = common_level(out, folds_of(people.names, config, seed=seed), fold.held), global_folder(out, fold)
    return _loaded(
        people.backbone, folder, (folder / REFERENCE).stat().st_mtime_ns, tuple(level.tolist()), people.device
    )


@lru_cache(maxsize=1)
def _loaded(backbone: Path, folder: Path, made_ns: int, level: tuple[float, ...], device: str) -> Base:
    """The jobs of a fold follow each other, and share what they begin with."""
    return load_base(backbone, folder, np.array(level), device)


def _level(people: People, fold: Fold, name: str, out: Path, seed: int) -> str:
    torch.set_num_threads(1)
    path = _level_file(out, fold, name)

    def find() -> None:
        network, prior = slotted(people.backbone, global_folder(out, fold), people.device)
        found = embedded(network, people.worn(name, 0, seed=seed).signals)
        save_arrays(path, level=levels(logits_of(network, prior, found)))

    return _done_once(out, path, find)


def save_arrays(path: Path, **arrays: Any) -> None:
    """Put a file of arrays in place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(path)


def _level_file(out: Path, fold: Fold, name: str) -> Path:
    return out / LEVELS / f"{fold.name}-{name}.npz"


def common_level(out: Path, folds: list[Fold], barred: tuple[str, ...] = ()) -> Floats:
    """Median (class,) over people of their levels, each under global adapters that have not seen the person.

    Levels under an adapter that was fitted on a person are farther from zero than anybody else will ever show.
    """
    own: dict[str, list[Floats]] = {}
    for fold in folds:
        for name in fold.held:
            if name not in barred:
                with np.load(_level_file(out, fold, name), allow_pickle=False) as file:
                    own.setdefault(name, []).append(file["level"])
    return np.asarray(np.median([np.mean(found, axis=0) for found in own.values()], axis=0))


def hash_seed(name: str, wearer: int, seed: int) -> int:
    """A seed of a row's own."""
    return int.from_bytes(hashlib.sha256(f"{name}:{wearer}:{seed}".encode()).digest()[:4], "little")


def _row(base: Base, worn: Worn, config: SetConfig, *, seed: int) -> dict[str, Any]:
    embedding, stretches = base.embed(worn.signals), stretches_of(worn.time_s, config, seed=seed)
    conditions = [base.features(embedding[inside(worn.time_s, *stretch)]) for stretch in stretches]
    known, prior = worn.of(worn.target >= 0), base.log_prior
    if config.levelled:
        found = levels(base.logits(embedding[inside(worn.time_s, *stretches[0])]))
        prior = prior + base.rule.bias(found, base.level)
    began = time.process_time()
    labelled = LabelledWindows(log_prior=prior, signals=known.signals, target=known.target, seed=seed)
    residual = fit_residual(base.network, labelled, config.residual)
    core_s = time.process_time() - began
    return {"conditions": np.stack(conditions), "residual": residual, "core_s": np.array(core_s)}


def _read(path: Path, fold: Fold, name: str, wearer: int) -> Row:
    with np.load(path, allow_pickle=False) as file:
        return Row(
            person=name, wearer=wearer, split=fold.split, conditions=file["conditions"], residual=file["residual"],
            core_s=float(file["core_s"]),
        )  # fmt: skip
