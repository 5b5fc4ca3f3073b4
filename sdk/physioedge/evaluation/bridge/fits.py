"""One fit from frozen activations to confusion matrices of every judged person."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.bridge.activations import Activations, activations_of, patches_of
from physioedge.bridge.config import BridgeConfig
from physioedge.bridge.directions import Direction, direction_of, folds_of
from physioedge.bridge.files import adapter_digest
from physioedge.bridge.fitting import Fitted, Frozen, fit_bridge, fit_student, rows_of
from physioedge.bridge.labelled import fit_labelled, folder_of, load_labelled
from physioedge.bridge.module import Positions
from physioedge.bridge.pairs import load_store
from physioedge.bridge.selection import select_positions
from physioedge.bridge.training import held_agreement
from physioedge.evaluation.arms import refuse_overlap
from physioedge.evaluation.bridge import plan
from physioedge.evaluation.bridge.plan import Fit
from physioedge.models.checkpoint import load_backbone

Outcome = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""A record, and the arrays of a bridge."""
_STUDENTS = {plan.KD: "kd", plan.KD_LORA: "kd", plan.CONTRAST: "kd_contrast", plan.ORACLE: "oracle"}


KEPT = 4
"""Folds whose arrays a process keeps."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where everything is.

    Attributes
    ----------
    work : Path
        Folder of stores, labelled models and activations.
    backbone : Path
        Weights file of both backbones.
    device : str
        ``cpu`` or ``cuda``.
    thin : int
        Every so-manieth window only, for a trial.
    scratch : Path
        Folder of activations.
    """

    work: Path
    backbone: Path
    device: str
    thin: int
    scratch: Path

    def activations(self, direction: str, fold: int) -> Path:
        """File of what the frozen models make of a direction's windows."""
        own = adapter_digest(folder_of(direction_of(direction), fold, self.work))
        return self.scratch / f"{direction}-{fold}-{own[:8]}-thin{self.thin}-{self.device}.npz"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A fold of a direction, ready to be fitted on.

    Attributes
    ----------
    direction : Direction
    frozen : Frozen
    pairs, test : int64 (k,)
        Rows learned from, and rows judged.
    names : list of str
        People by their number.
    """

    direction: Direction
    frozen: Frozen
    pairs: NDArray[np.int64]
    test: NDArray[np.int64]
    names: list[str]


def windows_of(place: Place, direction: Direction, *, old: bool, length: int) -> NDArray[np.float32]:
    """Windows of one of a direction's sensors."""
    store = load_store(place.work / f"{direction.store}.npz")
    return store.windows((direction.old if old else direction.new).sensor, length)[:: place.thin]


def make(place: Place, name: str, fold: int) -> None:
    """Let the frozen models run over a fold's windows, and keep what they make; done is not done again.

    Raises
    ------
    EvaluationRefused
        A backbone has seen a judged person.
    """
    path, direction, device = place.activations(name, fold), direction_of(name), torch.device(place.device)
    if path.exists():
        return
    store = load_store(place.work / f"{direction.store}.npz")
    people = folds_of(direction, store)[fold]
    fit_labelled(direction, fold, people, store, place.work, place.backbone)
    old, seen = load_labelled(direction, fold, place.work, place.backbone)
    if direction.scored:
        refuse_overlap(seen.training_subjects, people.test)
    new, _, _ = load_backbone(place.backbone, direction.new_layout)
    (_, new_length), (_, old_length) = (layout.input_shapes(new.config)[0] for layout in
                                        (direction.new_layout, direction.old_layout))  # fmt: skip
    patches = patches_of(new, windows_of(place, direction, old=False, length=new_length), device)
    subject, judged = store.subject[:: place.thin], store.judged[:: place.thin]
    pairs = np.flatnonzero(np.isin(subject, people.pairs))
    test = np.flatnonzero(np.isin(subject, people.test) & judged)
    made = activations_of(new, old, patches, windows_of(place, direction, old=True, length=old_length), pairs, device)
    target = store.target(direction.target)[:: place.thin]
    part = path.with_suffix(".rows.npz")
    part.parent.mkdir(parents=True, exist_ok=True)
    names, person = np.unique(subject, return_inverse=True)
    rows: dict[str, Any] = {"subject": person, "target": target, "pairs": pairs, "test": test, "names": names}
    np.savez(part, patches=patches[0].cpu().numpy(), **rows)
    made.save(path)


@lru_cache(maxsize=KEPT)
def prepared(place: Place, name: str, fold: int) -> Prepared:
    """A fold of a direction, from what `make` has kept."""
    make(place, name, fold)
    direction, device, path = direction_of(name), torch.device(place.device), place.activations(name, fold)
    old, _ = load_labelled(direction, fold, place.work, place.backbone)
    new, _, _ = load_backbone(place.backbone, direction.new_layout)
    with np.load(path.with_suffix(".rows.npz"), allow_pickle=False) as file:
        rows = {key: file[key] for key in file.files}
    frozen = Frozen(
        new=new, old=old, patches=[torch.from_numpy(rows["patches"]).to(device)], made=Activations.load(path),
        target=rows["target"], subject=rows["subject"], device=device,
    )  # fmt: skip
    names = [str(name) for name in rows["names"]]
    return Prepared(direction=direction, frozen=frozen, pairs=rows["pairs"], test=rows["test"], names=names)


def labelled_record(place: Place, name: str, fold: int) -> dict[str, Any]:
    """Fit the labelled model of a fold where it is missing."""
    direction = direction_of(name)
    store = load_store(place.work / f"{direction.store}.npz")
    fit_labelled(direction, fold, folds_of(direction, store)[fold], store, place.work, place.backbone)
    return {"key": f"{name}/labelled/{fold}"}


def frozen_record(place: Place, name: str, fold: int) -> dict[str, Any]:
    """Positions that are selected, and what the arms that need no fit come to."""
    began_s = time.monotonic()
    here = prepared(place, name, fold)
    ready_s = time.monotonic() - began_s
    made, pairs, subject = here.frozen.made, here.pairs, here.frozen.subject
    found = select_positions(
        made.new[pairs].astype(np.float32), made.old[pairs].astype(np.float32), made.answer[pairs], subject[pairs]
    )
    n_classes = made.logits.shape[1]
    share = np.bincount(made.answer[pairs], minlength=n_classes) / len(pairs)
    out: dict[str, Any] = {
        "key": f"{name}/frozen/{fold}",
        "labelled": adapter_digest(folder_of(here.direction, fold, place.work)),
        "positions": [found.positions.new, found.positions.old],
        "probe": found.probe.round(4).tolist(),
        "similarity": found.similarity.round(4).tolist(),
        "prepare_s": round(ready_s, 2),
        "select_s": round(time.monotonic() - began_s - ready_s, 2),
        "pairs": len(pairs),
        "test": len(here.test),
        "people": [here.names[i] for i in np.unique(subject[here.test])],
        "answers": share.round(4).tolist(),
    }
    out[plan.DIRECT] = _scores(here, made.direct[here.test])
    out[plan.CEILING] = _scores(here, made.logits[here.test])
    chance = np.tile(share, (len(here.test), 1))
    out[plan.CHANCE] = _scores(here, chance, spread=True)
    return out


def _scores(here: Prepared, logits: NDArray[np.floating], *, spread: bool = False) -> dict[str, Any]:
    """Confusion matrices of every judged person, with the truth and with the old model's own answers.

    With `spread` the scores are shares of the answers, and a window counts for all of them.
    """
    people, index = np.unique(here.frozen.subject[here.test], return_inverse=True)
    n_classes = logits.shape[1]
    weight = logits if spread else np.eye(n_classes)[logits.argmax(1)]
    out: dict[str, Any] = {}
    truths = {"agreement": here.frozen.made.answer[here.test]}
    if here.direction.scored:
        truths["counts"] = here.frozen.target[here.test]
    for name, truth in truths.items():
        counts = np.zeros((len(people), n_classes, n_classes))
        np.add.at(counts, (index, truth), weight)
        out[name] = counts.round(3).tolist() if spread else counts.astype(int).tolist()
    return out


def run_fit(place: Place, fit: Fit, base: BridgeConfig, selected: Positions) -> list[Outcome]:
    """Fit all seeds, predict and count; a record of each seed, and the arrays of its bridge.

    Parameters
    ----------
    place : Place
    fit : Fit
    base : BridgeConfig
    selected : Positions
        Those of the fold.
    """
    here = prepared(place, fit.direction, fit.fold)
    config, cuda = fit.config(base), place.device != "cpu"
    pairs = here.pairs
    if fit.arm == plan.ORACLE:
        pairs = pairs[here.frozen.target[pairs] >= 0]
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began_s = time.monotonic()
    rows = [rows_of(pairs, here.frozen.made.answer, here.frozen.subject, config, seed=seed) for seed in fit.seeds]
    positions = fit.positions or selected
    if fit.arm in _STUDENTS:
        lora = fit.arm == plan.KD_LORA
        fitted = fit_student(here.frozen, rows, _STUDENTS[fit.arm], config, seeds=fit.seeds, lora=lora)
    else:
        fitted = fit_bridge(here.frozen, rows, positions, config, seeds=fit.seeds, full=fit.arm == plan.FULL)
    fit_s = (time.monotonic() - began_s) / len(fit.seeds)
    answers = fitted.predict(here.test)
    common = {**_facts(fitted, fit, positions), "fit_s": round(fit_s, 3), "at_once": len(fit.seeds),
              "peak_mb": round(_peak_mb(cuda=cuda), 1), "device": _device(place.device)}  # fmt: skip
    kept = fit.arm == plan.BRIDGE and not fit.changed
    out = []
    for i, seed in enumerate(fit.seeds):
        agreement = held_agreement(fitted.predict(rows[i].watch)[i], here.frozen.made.answer[rows[i].watch])
        record = {"key": fit.key(seed), **common, "held_agreement": agreement, **_scores(here, answers[i])}
        state = fitted.team.member(i).state_dict() if kept else {}
        out.append((record, {name: value.cpu().numpy() for name, value in state.items()}))
    return out


def _facts(fitted: Fitted, fit: Fit, positions: Positions) -> dict[str, Any]:
    place = [] if fit.arm in _STUDENTS else [positions.new, positions.old]
    return {
        "parameters": fitted.team.parameters_each,
        "positions": place,
        "best_step": fitted.best_step,
        "last_step": fitted.steps[-1] if fitted.steps else 0,
        "watched": [round(value, 4) for value in fitted.values],
    }


def _peak_mb(*, cuda: bool) -> float:
    if cuda:
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _device(device: str) -> str:
    return torch.cuda.get_device_name() if device != "cpu" else "cpu"
