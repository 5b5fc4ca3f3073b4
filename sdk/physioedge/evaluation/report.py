"""The arrhythmia evaluation from fitted arms to committed files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.beats import BeatFit
from physioedge.datasets import mitbih
from physioedge.evaluation import arrhythmia as table
from physioedge.evaluation.arms import ARMS, load_predictions
from physioedge.evaluation.jobs import CLASSIC, TAUGHT, Job, run_jobs
from physioedge.evaluation.plots import confusion_and_calibration
from physioedge.results import Row
from physioedge.tasks.arrhythmia import LABELS
from physioedge_runtime.errors import EvaluationRefused

WITHOUT = "202"
"""Record of DS2 whose person is also record 201 of DS1."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is fitted: arms, seeds, weights."""

    arms: tuple[str, ...]
    seeds: int
    backbone: Path
    twin: Path | None
    config: BeatFit
    work: Path
    data: Path | None
    workers: int
    taught: Path | None = None


def seeds_of(arm: str, seeds: int) -> int:
    """How many seeds an arm gets: the classic split, there only to be compared with the literature, gets one."""
    return 1 if arm == CLASSIC else seeds


def jobs_of(plan: Plan) -> list[Job]:
    """One job an arm and seed; seeds outermost, so that an interrupted run has whole seeds.

    Raises
    ------
    EvaluationRefused
        An arm that there is none of; the bidirectional arm without the twin's weights: it would be the causal one by
        another name; the taught one without a teacher's people.
    """
    unknown = sorted(set(plan.arms) - {*ARMS, CLASSIC, TAUGHT})
    if unknown:
        known = ", ".join((*ARMS, CLASSIC, TAUGHT))
        raise EvaluationRefused(f"arms {', '.join(unknown)}", f"any of {known}", "Name those.")
    if (TAUGHT in plan.arms) != (plan.taught is not None):
        raise EvaluationRefused(
            f"arm {TAUGHT!r} without --taught, or the other way round", "both", "Make the file by `train teacher`."
        )
    if "bidirectional" in plan.arms and plan.twin is None:
        raise EvaluationRefused(
            "arm 'bidirectional' without --twin", "the twin's weights", "Name them, or leave it out."
        )
    out = []
    for seed in range(plan.seeds):
        for arm in plan.arms:
            if seed >= seeds_of(arm, plan.seeds):
                continue
            backbone = plan.twin if plan.twin is not None and arm == "bidirectional" else plan.backbone
            train = mitbih.DS1 if arm == CLASSIC else mitbih.FIT
            out.append(
                Job(
                    arm=arm,
                    seed=seed,
                    backbone=backbone,
                    config=plan.config,
                    train=train,
                    test=mitbih.DS2,
                    work=plan.work,
                    data=plan.data,
                    taught=plan.taught if arm == TAUGHT else None,
                )
            )
    return out


def fitted_rows(plan: Plan, plot: Path) -> list[Row]:
    """Fit what is missing and return the rows of every arm; the plot shows the global adapter, or the taught one."""
    jobs = jobs_of(plan)
    paths = dict(zip(((job.arm, job.seed) for job in jobs), run_jobs(jobs, plan.workers), strict=True))
    rows: list[Row] = []
    counts: dict[str, NDArray[np.float64]] = {}
    for arm in plan.arms:
        loaded = [load_predictions(paths[arm, seed]) for seed in range(seeds_of(arm, plan.seeds))]
        seeds = [predictions for predictions, _ in loaded]
        prior = [extra["log_prior"].astype(float) * plan.config.prior_share for _, extra in loaded]
        if not rows:
            rows += table.all_n_rows(seeds[0])
        counts[arm] = table.matrices(seeds, prior)
        rows += table.metric_rows(arm, "DS2", counts[arm])
        rows.append(table.calibration_row(arm, "DS2", seeds, prior))
        if arm in ("global", TAUGHT):
            rows += _global_rows(arm, seeds, prior)
        if arm == (TAUGHT if TAUGHT in plan.arms else "global"):
            _plot(seeds, prior, plot)
        if arm == "global":
            rows += _centred_rows(loaded, seeds, prior)
    if {"global", TAUGHT} <= set(plan.arms):
        rows += table.gain_rows(TAUGHT, "DS2", counts[TAUGHT], "global", counts["global"])
    return rows


def _global_rows(arm: str, seeds: table.Seeds, prior: list[NDArray[np.float64]]) -> list[Row]:
    """What is said of global adapters only: per subject, without 202, F and Q."""
    rows = table.subject_rows(arm, seeds, prior)
    rows += table.landing_rows(arm, seeds, prior)
    others = [[p for p in predictions if p.record != WITHOUT] for predictions in seeds]
    return rows + table.metric_rows(arm, "DS2 without 202", table.matrices(others, prior))


def _centred_rows(loaded: list[Any], seeds: table.Seeds, prior: list[NDArray[np.float64]]) -> list[Row]:
    """Centring on what comes after five minutes, beside the global adapter there."""
    group = "DS2 after 5 min"
    rows = table.metric_rows("global", group, table.matrices(seeds, prior, table.CALIBRATION_S))
    for arm, share in (("centring_half", 0.5), ("centring", 1.0)):
        moved = [table.centred(predictions, extra, extra["reference"], share) for predictions, extra in loaded]
        rows += table.metric_rows(arm, group, table.matrices(moved, prior, table.CALIBRATION_S))
    return rows


def _plot(seeds: table.Seeds, prior: list[NDArray[np.float64]], path: Path) -> None:
    counts = table.matrices(seeds, prior).sum(1).mean(0)
    confidence = [table.pooled_confidence(s, p) for s, p in zip(seeds, prior, strict=True)]
    probability = np.concatenate([c[0] for c in confidence])
    correct = np.concatenate([c[1] for c in confidence])
    confusion_and_calibration(counts, LABELS, probability, correct, path)
