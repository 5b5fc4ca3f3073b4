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
from physioedge.evaluation.jobs import CLASSIC, Job, run_jobs
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


def seeds_of(arm: str, seeds: int) -> int:
    """How many seeds an arm gets: the classic split, there only to be compared with the literature, gets one."""
    return 1 if arm == CLASSIC else seeds


def jobs_of(plan: Plan) -> list[Job]:
    """One job an arm and seed; seeds outermost, so that an interrupted run has whole seeds.

    Raises
    ------
    EvaluationRefused
        An arm that there is none of; the bidirectional arm without the twin's weights: it would be the causal one by
        another name.
    """
    unknown = sorted(set(plan.arms) - {*ARMS, CLASSIC})
    if unknown:
        raise EvaluationRefused(f"arms {', '.join(unknown)}", f"any of {', '.join((*ARMS, CLASSIC))}", "Name those.")
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
                )
            )
    return out


def fitted_rows(plan: Plan, plot: Path) -> list[Row]:
    """Fit what is missing and return the rows of every arm; the plot shows the global adapter."""
    jobs = jobs_of(plan)
    paths = dict(zip(((job.arm, job.seed) for job in jobs), run_jobs(jobs, plan.workers), strict=True))
    rows: list[Row] = []
    for arm in plan.arms:
        loaded = [load_predictions(paths[arm, seed]) for seed in range(seeds_of(arm, plan.seeds))]
        seeds = [predictions for predictions, _ in loaded]
        prior = [extra["log_prior"].astype(float) * plan.config.prior_share for _, extra in loaded]
        if not rows:
            rows += table.all_n_rows(seeds[0])
        rows += table.metric_rows(arm, "DS2", table.matrices(seeds, prior))
        rows.append(table.calibration_row(arm, "DS2", seeds, prior))
        if arm == "global":
            rows += _global_rows(loaded, seeds, prior)
            _plot(seeds, prior, plot)
    return rows


def _global_rows(loaded: list[Any], seeds: table.Seeds, prior: list[NDArray[np.float64]]) -> list[Row]:
    """What is said of the global adapter only: per subject, without 202, F and Q, and centring on the rest."""
    rows = table.subject_rows("global", seeds, prior)
    rows += table.landing_rows("global", seeds, prior)
    others = [[p for p in predictions if p.record != WITHOUT] for predictions in seeds]
    rows += table.metric_rows("global", "DS2 without 202", table.matrices(others, prior))
    group = "DS2 after 5 min"
    rows += table.metric_rows("global", group, table.matrices(seeds, prior, table.CALIBRATION_S))
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
