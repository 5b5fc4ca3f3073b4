"""Plots of a streamed recording as SVG for the page. Needs matplotlib (extra ``view``)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.report import drawing
from physioedge.report.colours import class_name, stand_in
from physioedge.report.streamed import Streamed

ROW_S = 15.0
MAX_ROWS = 12
"""Three minutes of strips; longer recordings are shown up to there, and the page says so."""
_INK, _SOFT, _LINE = stand_in("ink"), stand_in("soft"), stand_in("line")


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def strips(streamed: Streamed) -> str:
    """Return the signal in rows of `ROW_S`, each with its beats' labels, probabilities and quality."""
    n_rows = min(MAX_ROWS, max(1, int(np.ceil(streamed.recording.duration_s / ROW_S))))
    signal = streamed.recording.samples[0]
    low, high = (float(v) for v in np.quantile(signal, [0.001, 0.999]))
    room = 0.35 * max(high - low, 1e-3)
    with drawing.figure("strips", 11.0, 2.0 * n_rows) as (figure, out):
        heights = [5.0, 1.5, 0.42, 0.9] * n_rows
        grid = figure.add_gridspec(
            4 * n_rows, 1, height_ratios=heights, hspace=0.16, left=0.052, right=0.985, top=0.995, bottom=0.012
        )
        for row in range(n_rows):
            top = figure.add_subplot(grid[4 * row])
            axes = [top, *(figure.add_subplot(grid[4 * row + k], sharex=top) for k in (1, 2))]
            top.set_ylim(low - 0.15 * room, high + room)
            _strip(streamed, row * ROW_S, axes, first=row == 0)
    return drawing.svg(out, "Signal with the label, probability and quality of every beat")


def _strip(streamed: Streamed, start_s: float, axes: list[Any], *, first: bool) -> None:
    trace, chance, band = axes
    recording = streamed.recording
    fs_hz, end_s = recording.fs_hz, start_s + ROW_S
    part = recording.samples[0, round(start_s * fs_hz) : round(end_s * fs_hz)]
    trace.plot(start_s + np.arange(len(part)) / fs_hz, part, color=_INK, linewidth=0.7)
    trace.set_xlim(start_s, end_s)
    trace.set_ylabel(recording.units)
    trace.tick_params(labelbottom=False, length=0)
    trace.grid(axis="x", color=_LINE, linewidth=0.6)
    trace.set_axisbelow(True)
    bottom, top = trace.get_ylim()
    top -= 0.04 * (top - bottom)  # letters of the page stand a little higher than the plot thinks
    for i, result in enumerate(streamed.results):
        at = result.t_anchor_s
        if not start_s <= at < end_s:
            continue
        name = class_name(result.label, streamed.labels)
        colour = stand_in(name)
        rare = name not in ("class0", "withheld")
        if rare:
            trace.axvspan(max(start_s, at - 0.18), min(end_s, at + 0.18), color=colour, alpha=0.14, linewidth=0)
        trace.text(at, top, result.label or "?", color=colour, ha="center", va="top", fontsize=9 if rare else 8,
                   fontweight="bold" if rare else "normal")  # fmt: skip
        if _differs(streamed, i):
            trace.plot(at, trace.get_ylim()[0], marker="^", color=_INK, markersize=5, clip_on=False, zorder=5)
        chance.vlines(at, 0, result.probability, color=colour, linewidth=1.6)
        chance.plot(at, result.probability, marker="o", markersize=2.6, color=colour)
    _chance_axis(chance, streamed.bundle.contract.thresholds.min_probability, first)
    _quality_band(band, streamed, start_s, end_s)


def _differs(streamed: Streamed, i: int) -> bool:
    truth = None if streamed.truth is None else streamed.truth[i]
    return truth in streamed.labels and streamed.results[i].label not in (None, truth)


def _chance_axis(axis: Any, threshold: float, first: bool) -> None:
    axis.set_ylim(0, 1.08)
    axis.set_yticks([0, 1], ["", "1"])
    axis.set_ylabel("p")
    axis.tick_params(labelbottom=False, length=0)
    if threshold > 0:
        axis.axhline(threshold, color=_SOFT, linewidth=0.7, linestyle=(0, (3, 2)))
    if first:
        axis.spines["left"].set_visible(True)


def _quality_band(axis: Any, streamed: Streamed, start_s: float, end_s: float) -> None:
    """One block a beat, from halfway to the beat before to halfway to the next; full colour is a clean signal."""
    times = np.array([r.t_anchor_s for r in streamed.results])
    edges = np.concatenate([times[:1] - 0.4, (times[1:] + times[:-1]) / 2, times[-1:] + 0.4])
    for result, left, right in zip(streamed.results, edges[:-1], edges[1:], strict=True):
        left, right = max(start_s, left), min(end_s, right)
        if left < right:
            good = result.quality >= streamed.bundle.contract.thresholds.min_quality
            colour = stand_in("good" if good else "class2" if result.quality else "withheld")  # 0: no whole window
            axis.axvspan(left, right, color=colour, alpha=0.25 + 0.75 * result.quality, linewidth=0)
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.set_ylabel("q", rotation=0, va="center", ha="right", labelpad=12)  # clear of the first time below
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.set_xticks(np.arange(start_s, end_s + 0.1, 1.0))
    axis.set_xticklabels([f"{t:.0f} s" if round(t) % 5 == 0 else "" for t in axis.get_xticks()])
    axis.tick_params(length=0, pad=2)


def tachogram(streamed: Streamed) -> str:
    """Interval to the beat before, coloured by the beat's label."""
    times = np.array([r.t_anchor_s for r in streamed.results])
    with drawing.figure("tachogram", 4.6, 2.6) as (figure, out):
        axis = figure.add_axes((0.12, 0.17, 0.86, 0.72))
        if len(times) > 1:
            axis.plot(times[1:], 1e3 * np.diff(times), color=_LINE, linewidth=0.8, zorder=1)
            for name in dict.fromkeys(class_name(r.label, streamed.labels) for r in streamed.results[1:]):
                mine = [i for i, r in enumerate(streamed.results) if i and class_name(r.label, streamed.labels) == name]
                axis.plot(times[mine], 1e3 * (times[mine] - times[np.array(mine) - 1]), "o", markersize=3.4,
                          color=stand_in(name), label=streamed.results[mine[0]].label or "withheld")  # fmt: skip
            _legend(axis)
        axis.set_title("RR interval (ms)")
        axis.set_xlabel("time (s)")
    return drawing.svg(out, "Interval between beats over time")


def latency(streamed: Streamed) -> str:
    """Histograms of the work a beat costs and of the delay until its result is known."""
    with drawing.figure("latency", 4.6, 2.6) as (figure, out):
        left, right = (figure.add_axes((x, 0.13, 0.36, 0.69)) for x in (0.125, 0.62))
        _histogram(left, streamed.work_ms, "work for a beat (ms)", stand_in("class0"), 1e-3)
        _histogram(right, 1e3 * streamed.delays_s, "R peak to result (ms)", stand_in("good"), 100.0)
        left.set_ylabel("beats")
    return drawing.svg(out, "Work for each beat, and delay from R peak to result")


def _histogram(axis: Any, values: NDArray[np.float64], title: str, colour: str, least: float) -> None:
    if values.size == 0:
        axis.set_title(title)
        return
    top = float(np.quantile(values, 0.99))
    low = float(values.min())
    width = max(top - low, least)
    axis.hist(np.clip(values, low, low + width), bins=24, range=(low, low + width), color=colour, alpha=0.85)
    middle = float(np.median(values))
    axis.axvline(middle, color=_INK, linewidth=1)
    axis.set_title(f"{title}\nmedian {middle:.3g}")


def _legend(axis: Any) -> None:
    axis.legend(loc="lower center", bbox_to_anchor=(0.75, 1.0), ncols=4, frameon=False, handletextpad=0.1, fontsize=9,
                columnspacing=0.8, borderaxespad=0.1)  # fmt: skip
