"""Plots of how well estimates agree with what was measured, after Bland and Altman, Lancet 327:307-310, 1986."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.vitals.estimate import Plan, finished, judged
from physioedge.evaluation.vitals.estimate_data import load
from physioedge.tasks.windowed import task_module

SHOWN = ("lora", "qlora_4bit", "probe", "classical")
"""Arms that are drawn, one column each, where they are there."""
_LIMIT, _MANY = 1.96, 200


def limits(error: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean of the errors and the two limits of agreement, 1.96 standard deviations around it."""
    bias, spread = float(error.mean()), _LIMIT * float(error.std())
    return bias, bias - spread, bias + spread


def draw(plan: Plan, path: Path) -> None:
    """Difference over mean of estimate and truth, one panel an arm and value, of the first whole seed.

    Parameters
    ----------
    plan : Plan
    path : Path
        A PNG. Nothing is written where no arm of `SHOWN` is there.
    """
    from matplotlib.figure import Figure

    done = finished(plan)
    arms = [arm for arm in SHOWN if arm in done]
    if not arms:
        return
    columns = getattr(task_module(plan.task), "COLUMNS", ("",))
    units = load(plan.inputs, plan.task).windows.task.units
    figure = Figure(figsize=(3.6 * len(arms), 3.3 * len(columns)), layout="constrained")
    axes = figure.subplots(len(columns), len(arms), squeeze=False, sharex="row", sharey="row")
    for place, arm in enumerate(arms):
        found = judged(plan, done[arm][0])
        truth, answer = (np.concatenate([part[k] for part in found]).astype(np.float64) for k in (0, 1))
        for row, column in enumerate(columns):
            _panel(axes[row, place], truth[:, row], answer[:, row])
            axes[row, place].set_title(f"{arm}{f', {column}' if column else ''}")
        axes[-1, place].set_xlabel(f"mean of both, {units}")
    for row in range(len(columns)):
        axes[row, 0].set_ylabel(f"estimate - truth, {units}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _panel(axes: Any, truth: NDArray[np.float64], answer: NDArray[np.float64]) -> None:
    error, middle = answer - truth, (answer + truth) / 2
    bias, low, high = limits(error)
    axes.scatter(
        middle, error, s=9, alpha=0.35 if len(error) > _MANY else 0.8, color="#2b6cb0", linewidths=0, rasterized=True
    )
    for value, style in ((bias, "-"), (low, "--"), (high, "--")):
        axes.axhline(value, color="#9b2c2c", linestyle=style, linewidth=1.0)
        axes.annotate(f"{value:.1f}", (1.0, value), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                      fontsize=8, color="#9b2c2c")  # fmt: skip
    axes.margins(y=0.1)
    axes.axhline(0.0, color="0.6", linewidth=0.6)
