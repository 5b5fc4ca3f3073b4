"""Choices made on DS1 alone: person-disjoint folds of the fitting records, one row a candidate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from physioedge.adapters.beats import BeatFit
from physioedge.datasets import mitbih
from physioedge.evaluation.arms import load_predictions
from physioedge.evaluation.arrhythmia import matrices, metric_rows
from physioedge.evaluation.jobs import Job, run_jobs
from physioedge.results import Row

N_FOLDS = 3
PRIOR_SHARES = (0.0, 0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.5, 1.75)
GROUP = "DS1:folds"


def candidates(base: BeatFit) -> dict[str, BeatFit]:
    """What is compared with `base`, one change at a time."""
    draw = base.draw
    plain = replace(draw, mix_share=0.0, smear_share=0.0)
    return {
        "base": base,
        "no_smear": replace(base, draw=replace(draw, smear_share=0.0)),
        "irregular": replace(base, draw=replace(draw, irregular_share=0.3)),
        "plain_draws": replace(base, draw=plain),
        "slower": replace(base, learning_rate=base.learning_rate / 3),
        "half_the_steps": replace(base, steps=base.steps // 2),
        "twice_the_steps": replace(base, steps=2 * base.steps),
    }


def folds() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Training and held-out records of each fold; every record of DS1 but 201 is held out once."""
    out = []
    for fold in range(N_FOLDS):
        held = mitbih.FIT[fold::N_FOLDS]
        out.append((tuple(r for r in mitbih.FIT if r not in held), held))
    return out


def choose(names: list[str], base: BeatFit, backbone: Path, work: Path, data: Path | None, workers: int) -> list[Row]:
    """Fit every named candidate on every fold and score it on the held-out records, at several prior shares.

    Returns
    -------
    list of Row
        Arms ``<candidate>@<prior share>``, group ``DS1:folds``.
    """
    options = candidates(base)
    jobs = [
        Job(arm="global", seed=0, backbone=backbone, config=options[name], train=train, test=held, work=work, data=data,
            development=True)
        for name in names
        for train, held in folds()
    ]  # fmt: skip
    paths = run_jobs(jobs, workers)
    rows = []
    for i, name in enumerate(names):
        loaded = [load_predictions(path) for path in paths[i * N_FOLDS : (i + 1) * N_FOLDS]]
        for share in PRIOR_SHARES:
            counts = []
            for predictions, extra in loaded:
                prior = extra["log_prior"] * share
                counts.append(matrices([predictions], [prior])[0])
            rows += metric_rows(f"{name}@{share}", GROUP, np.concatenate(counts)[None])
    return rows
