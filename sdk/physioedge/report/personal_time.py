"""A label's probability over a whole recording, beside what was annotated and which adapter served."""

from __future__ import annotations

from typing import Any

from physioedge.report import drawing
from physioedge.report.colours import stand_in
from physioedge.report.personalised import CONFIRMED, TRIAL, Personal, Stretch

_DOTS = {"good": "as annotated", "class2": "otherwise", "withheld": "no annotation that holds for the whole window"}
_COLOURS = {TRIAL: "class1", CONFIRMED: "class3"}


def colour_of(stretch: Stretch) -> str:
    """Name of the colour of what served, here and in the page's chart."""
    return _COLOURS.get(stretch.what, "good" if stretch.bias else "class0")


def plot(personal: Personal, label: str) -> str:
    """SVG of every window's probability of `label`, over minutes of signal. Needs matplotlib."""
    place = personal.labels.index(label)
    start_s = personal.recording.t0_s
    dots: dict[str, list[tuple[float, float]]] = {colour: [] for colour in _DOTS}
    for result, truth in zip(personal.results, personal.truth, strict=True):
        if result.probabilities:
            colour = "withheld" if truth is None else "good" if result.label == truth else "class2"
            dots[colour].append(((result.t_end_s - start_s) / 60, result.probabilities[place]))
    with drawing.figure("time", 11.0, 3.3) as (figure, out):
        axes = figure.add_axes((0.05, 0.24, 0.935, 0.56))
        _annotated(axes, personal, label)
        _served(figure.add_axes((0.05, 0.85, 0.935, 0.06), sharex=axes), personal)
        for colour, name in _DOTS.items():
            axes.plot([at for at, _ in dots[colour]], [said for _, said in dots[colour]], "o", markersize=4.5,
                      color=stand_in(colour), label=name)  # fmt: skip
        axes.axhline(0.5, color=stand_in("soft"), linewidth=0.7, linestyle="--")
        axes.set_xlim(0, personal.signal_s / 60)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("time (min)")
        axes.set_ylabel(f"probability of {label}")
        figure.legend(loc="lower left", bbox_to_anchor=(0.04, 0.0), ncols=3, frameon=False, fontsize=8)
    return drawing.svg(out, f"probability of {label} over time, and which adapter served")


def _annotated(axes: Any, personal: Personal, label: str) -> None:
    """A shade where somebody wrote `label`."""
    notes = personal.recording.annotations
    if notes is None:
        return
    ends = [*notes.sample[1:], personal.recording.samples.shape[1]]
    for symbol, first, last in zip(notes.symbol, notes.sample, ends, strict=True):
        if symbol == label:
            at, until = (float(n) / personal.recording.fs_hz / 60 for n in (first, last))
            axes.axvspan(at, until, color=stand_in("class1"), alpha=0.15, linewidth=0)


def _served(axis: Any, personal: Personal) -> None:
    """A block for every stretch, with its name."""
    for stretch in personal.stretches():
        start, end = stretch.start_s / 60, stretch.end_s / 60
        axis.axvspan(start, end, color=stand_in(colour_of(stretch)), alpha=0.3, linewidth=0)
        axis.text((start + end) / 2, 0.5, stretch.what, ha="center", va="center", fontsize=8)
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.tick_params(labelbottom=False, length=0)
    axis.spines[["left", "bottom"]].set_visible(False)
