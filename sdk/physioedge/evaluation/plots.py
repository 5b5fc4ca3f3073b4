"""Plots beside the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.metrics import reliability
from physioedge.results import Row

_PANELS_IN_ROW = 4


def confusion_and_calibration(
    counts: NDArray[np.float64],
    labels: tuple[str, ...],
    probability: NDArray[np.float64],
    correct: NDArray[np.bool_],
    path: Path,
) -> None:
    """Confusion matrix in shares of the true class, and a reliability diagram, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    left.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(len(labels)):
        for j in range(len(labels)):
            text = f"{100 * share[i, j]:.1f} %\n{counts[i, j]:,.0f}"
            left.text(j, i, text, ha="center", va="center", color="white" if share[i, j] > 0.5 else "black")
    left.set(xticks=range(len(labels)), yticks=range(len(labels)), xlabel="called", ylabel="annotated")
    left.set_xticklabels(labels)
    left.set_yticklabels(labels)
    left.set_title("Beats of DS2, mean over seeds")
    confidence, accuracy, weight = reliability(probability, correct)
    used = weight > 0
    right.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="calibrated")
    right.plot(confidence[used], accuracy[used], marker="o", label="accuracy of the beats in the bin")
    right.bar((np.arange(10) + 0.5) / 10, weight, width=0.09, color="0.85", label="share of beats")
    right.set(xlabel="probability of the best label", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    right.legend(loc="upper left", fontsize=8)
    right.set_title("Calibration")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def loss_curves(step: list[int], loss: list[float], parts: dict[str, list[float]], title: str, path: Path) -> None:
    """Loss by step: all together, then a panel for every part, each on a scale of its own."""
    from matplotlib.figure import Figure

    panels = {"all": loss, **dict(sorted(parts.items()))}
    rows = -(-len(panels) // _PANELS_IN_ROW)
    columns = min(len(panels), _PANELS_IN_ROW)
    figure = Figure(figsize=(3.6 * columns, 2.4 * rows), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for axes, (name, values) in zip(grid, panels.items(), strict=False):
        axes.plot(step, values, color="black" if name == "all" else "C0", linewidth=1.2)
        axes.set_title(f"{name}, last {values[-1]:.3f}" if values else name, fontsize=9)
        axes.grid(alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel("step")
    figure.supylabel("loss")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(rows: list[Row], group: str, metrics: tuple[str, ...]) -> str:
    """Markdown table of arms by metrics for one group, with intervals where there are any."""
    arms = list(dict.fromkeys(row.arm for row in rows if row.group == group))
    found = {(row.arm, row.metric): row for row in rows if row.group == group}
    lines = ["| arm | " + " | ".join(metrics) + " | seeds |", "|---" * (len(metrics) + 2) + "|"]
    for arm in arms:
        cells, seeds = [], 0
        for metric in metrics:
            row = found.get((arm, metric))
            if row is None:
                cells.append("-")
                continue
            seeds = max(seeds, row.seeds)
            span = "" if row.low is None or row.high is None else f" [{row.low:.3f}, {row.high:.3f}]"
            cells.append(f"{row.value:.3f}{span}")
        lines.append(f"| {arm} | " + " | ".join(cells) + f" | {seeds} |")
    return "\n".join(lines)
