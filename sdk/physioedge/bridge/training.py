"""Fit one bridge, from pairs to a folder: check that they are pairs, find the positions, fit, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.bridge.activations import Activations, activations_of, patches_of
from physioedge.bridge.alignment import Alignment, activity, alignment, check_alignment
from physioedge.bridge.config import BridgeConfig
from physioedge.bridge.directions import SHIPPED, Direction, folds_of
from physioedge.bridge.files import BridgeNote, adapter_digest, save_bridge
from physioedge.bridge.fitting import Frozen, fit_bridge, rows_of
from physioedge.bridge.labelled import fit_labelled, folder_of, load_labelled
from physioedge.bridge.module import Positions, PrototypeBridge
from physioedge.bridge.pairs import PairStore, load_store, save_store
from physioedge.bridge.selection import select_positions
from physioedge.bridge.stores import SOURCES, rate_of
from physioedge.models.checkpoint import load_backbone
from physioedge_runtime.errors import DatasetError

MOST_PAIRS = 8000
"""Spread over all of them: more make a fit slower and hardly better."""
ACTIVATIONS_FILE, CHECKPOINT_FILE = "activations.npz", "fit.checkpoint"


@dataclass(frozen=True, kw_only=True)
class BridgeRun:
    """What is fitted, and where.

    Attributes
    ----------
    direction : Direction
    out : Path
        Folder; a run that was cut off goes on from what lies there.
    work : Path
        Folder of stores of pairs and of labelled models.
    backbone : Path
        Weights file of both models.
    pairs : Path, optional
        A store of one's own (`physioedge.bridge.pairs.save_store`), everybody in it is learned from; else that of the
        direction, and the people of its first fold.
    data : Path, optional
        Folder that holds the datasets.
    most_pairs : int
    config : BridgeConfig
    seed : int
    """

    direction: Direction
    out: Path
    work: Path
    backbone: Path
    pairs: Path | None = None
    data: Path | None = None
    most_pairs: int = MOST_PAIRS
    config: BridgeConfig
    seed: int = 0


def pairs_of(run: BridgeRun) -> PairStore:
    """The pairs that are learned from, made from recordings where they are not there yet.

    The labelled model of the direction is fitted too where it is missing.

    Raises
    ------
    DatasetError
        No recordings, or none with both sensors.
    """
    direction = run.direction
    path = run.pairs or run.work / f"{direction.store}.npz"
    if run.pairs is None and not path.exists():
        source = SOURCES[direction.store]
        save_store(path, source.make(run.data), source.steps)
    store = load_store(path)
    people = tuple(sorted(set(store.subject.tolist())))
    if run.pairs is None:
        fold = folds_of(direction, store)[0]
        if direction.labelled != SHIPPED:
            fit_labelled(direction, 0, fold, store, run.work, run.backbone)
        people = fold.pairs
    sensors = {direction.old.sensor, direction.new.sensor}
    kept = tuple(s for s in store.strips if s.subject in people and sensors <= set(s.signals))
    if not kept:
        raise DatasetError(
            f"no recording with {' and '.join(sorted(sensors))}", "recordings of both at once", "Record both together."
        )
    return PairStore(name=store.name, strips=kept)


def lag_between(store: PairStore, direction: Direction) -> Alignment:
    """Lag between a direction's two sensors over all recordings of a store; DatasetError as `alignment`."""
    both = [
        [activity(strip.signals[sensor.sensor], rate_of(sensor.sensor)) for strip in store.strips]
        for sensor in (direction.old, direction.new)
    ]
    return alignment(*both)


def train_bridge(run: BridgeRun, tell: Callable[[str], None], *, progress: bool = True) -> BridgeNote:
    """Fit and write a bridge; what is told is one line a stage.

    Raises
    ------
    DatasetError
        No pairs, or sensors that are not of one person and time.
    EvaluationRefused
        The old model says the same of all pairs.
    """
    torch.manual_seed(run.seed)
    store, direction = pairs_of(run), run.direction
    found = lag_between(store, direction)
    tell(
        f"{direction.new.sensor} is {found.lag_s:+.2f} s from {direction.old.sensor}, correlation "
        f"{found.correlation:.3f}, confidence {found.confidence:.3f}"
    )
    check_alignment(found, tolerance_s=direction.tolerance_s)
    frozen = _frozen(run, store, tell)
    everything = np.arange(len(frozen.subject))
    made = frozen.made
    where = select_positions(
        made.new.astype(np.float32), made.old.astype(np.float32), made.answer, frozen.subject
    ).positions
    tell(f"from block {where.new} of the new model to block {where.old} of the old one")
    rows = rows_of(everything, made.answer, frozen.subject, run.config, seed=run.seed)
    fitted = fit_bridge(
        frozen, [rows], where, run.config, seeds=(run.seed,), checkpoint=run.out / CHECKPOINT_FILE, progress=progress
    )
    bridge = fitted.team.member(0)
    if not isinstance(bridge, PrototypeBridge):
        raise TypeError(type(bridge).__name__)
    fit = {
        "config": asdict(run.config), "seed": run.seed, "pairs": len(everything), "best_step": fitted.best_step,
        "parameters": fitted.team.parameters_each, "held_out_loss": [round(v, 4) for v in fitted.values],
        "held_out_agreement": held_agreement(fitted.predict(rows.watch)[0], made.answer[rows.watch]),
    }  # fmt: skip
    note = save_bridge(run.out, bridge, _note(run, store, fit, found, where))
    for path in run.out.glob(f"{Path(CHECKPOINT_FILE).stem}.*"):
        path.unlink()
    (run.out / ACTIVATIONS_FILE).unlink(missing_ok=True)
    tell(f"best after {fitted.best_step} steps; held-out people are judged as the old model judges them in "
         f"{fit['held_out_agreement']:.1%} of windows, classes counted alike")  # fmt: skip
    return note


def held_agreement(logits: NDArray[np.float32], answer: NDArray[np.int64]) -> float:
    """Balanced accuracy with the old model's answers (n,) for the truth, of logits (n, class)."""
    told = logits.argmax(1)
    return round(float(np.mean([np.mean(told[answer == label] == label) for label in np.unique(answer)])), 4)


def _note(run: BridgeRun, store: PairStore, fit: dict[str, Any], found: Alignment, where: Positions) -> BridgeNote:
    direction = run.direction
    _, _, digest = load_backbone(run.backbone, direction.new_layout)
    old = direction.old
    return BridgeNote(
        direction=direction.name, task=direction.task, labels=direction.labels, new=direction.new_layout,
        old=direction.old_layout, positions=where, rank=run.config.rank, prototypes=run.config.prototypes,
        tokens=old.n_tokens, backbone_digest=digest, adapter_digest=adapter_digest(folder_of(direction, 0, run.work)),
        training_subjects=tuple(sorted({strip.subject for strip in store.strips})), datasets=(store.name,),
        alignment={name: round(value, 4) for name, value in asdict(found).items()}, fit=fit,
    )  # fmt: skip


def _frozen(run: BridgeRun, store: PairStore, tell: Callable[[str], None]) -> Frozen:
    """What both models make of the pairs; kept in a file until the bridge is written."""
    direction, device = run.direction, torch.device("cpu")
    old, _ = load_labelled(direction, 0, run.work, run.backbone)
    new, _, _ = load_backbone(run.backbone, direction.new_layout)
    total = len(store.subject)
    rows = np.unique(np.linspace(0, total - 1, min(total, run.most_pairs)).astype(np.int64))
    path = run.out / ACTIVATIONS_FILE
    if not path.exists():
        tell(f"{len(rows)} pairs of windows of {len(store.strips)} recordings through both models")
        lengths = [layout.input_shapes(new.config)[0][1] for layout in (direction.new_layout, direction.old_layout)]
        patches = patches_of(new, store.windows(direction.new.sensor, lengths[0])[rows], device)
        own = store.windows(direction.old.sensor, lengths[1])[rows]
        activations_of(new, old, patches, own, np.arange(len(rows)), device).save(path)
    made = Activations.load(path)
    if len(made.answer) != len(rows):
        came = f"{path.name} of {len(made.answer)} pairs"
        raise DatasetError(came, f"{len(rows)} pairs", "Delete it, or name another folder: it is of another run.")
    people = np.unique(store.subject[rows], return_inverse=True)[1]
    return Frozen(new=new, old=old, patches=[], made=made, target=np.full(len(rows), -1), subject=people,
                  device=device)  # fmt: skip
