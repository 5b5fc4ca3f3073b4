"""The wristband part of the demo's report: a value every few seconds beside what the wristband itself said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.report import drawing, plots
from physioedge.report.colours import stand_in
from physioedge.report.shell import pushed
from physioedge.signals.recording import Recording
from physioedge_runtime.adaptation.condition import ConditionSpec
from physioedge_runtime.adaptation.own_signal import own_signal
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.result import Result

SHOWN_S = 8.0
"""So much of the pulse wave is drawn, from the middle of the recording: a window of the model."""

NOT_PERSONAL = (
    "Nothing of this part is made personal: the bundle has no slots for an adapter and makes no conditions, and "
    "levelling is for labels, where this gives a value. A bias would do little: of 11 people on a treadmill, none of "
    "them fitted on, its errors are 3.7 bpm in size and -0.6 bpm on average. Single windows are wrong, not a level."
)
"""Of the shipped bundle; figures of arm ``global_ppg1`` in ``results/heart_rate.json``."""


@dataclass(frozen=True, kw_only=True)
class Worn:
    """A wristband that went through a stream.

    Attributes
    ----------
    recordings : mapping of sensor to Recording
    bundle : Bundle
        Gives one value.
    results : tuple of Result
    wall_s : float
        Of all pushes.
    reference : Recording or None
        The same value from elsewhere, at its own rate.
    """

    recordings: Mapping[str, Recording]
    bundle: Bundle
    results: tuple[Result, ...]
    wall_s: float
    reference: Recording | None

    @property
    def personal(self) -> list[str]:
        """What the bundle offers to make it a person's; empty for nothing."""
        own = own_signal(self.bundle)
        return [
            *(["slots for an adapter"] if self.bundle.contract.slots else []),
            *(["conditions"] if ConditionSpec.all_of(self.bundle) else []),
            *(["a bias from the person's own signal"] if own is not None else []),
        ]

    @property
    def judged(self) -> list[Result]:
        """Results with a value."""
        return [result for result in self.results if result.values]

    def referred(self) -> NDArray[np.float64]:
        """The reference at the end of every judged window, (judged,); NaN where there is none."""
        at_s = np.array([result.t_end_s for result in self.judged])
        if self.reference is None or not len(at_s):
            return np.full(len(at_s), np.nan)
        times = self.reference.t0_s + np.arange(self.reference.samples.shape[1]) / self.reference.fs_hz
        return np.asarray(np.interp(at_s, times, self.reference.samples[0].astype(np.float64)))

    def difference(self) -> float | None:
        """Mean absolute difference from the reference; None without one."""
        own = np.array([result.values[0] for result in self.judged])
        apart = np.abs(own - self.referred())
        return float(apart.mean()) if len(apart) and np.isfinite(apart).all() else None


def section(worn: Worn) -> str:
    """The section of the page."""
    value = worn.bundle.contract.values[0]
    recording = next(iter(worn.recordings.values()))
    sensors = ", ".join(f"{name} at {one.fs_hz:g} Hz" for name, one in worn.recordings.items())
    work_ms = 1e3 * worn.wall_s / max(1, len(worn.results))
    words = (
        f"{recording.name}: {sensors}, streamed through the signed bundle {worn.bundle.manifest.name} "
        f"{worn.bundle.manifest.version}. {len(worn.judged)} of {len(worn.results)} windows judged; {work_ms:.1f} ms "
        "of work each. A window is what the model sees at once; nothing is smoothed over windows."
    )
    apart = worn.difference()
    if apart is not None:
        words += (
            f" Mean difference from the wristband's own figure: {apart:.1f} {value.units}. That figure is no "
            "reference: it is made of the same pulse wave, smoothed and with a delay."
        )
    if not worn.personal:
        words += f" {NOT_PERSONAL}"
    drawn = f"<div class='scroll wide' tabindex='0'>{plot(worn)}</div>" if plots.available() and worn.judged else ""
    said = f" {pushed('The plot is wider than this screen')}" if drawn else ""
    title = escape(value.name.replace("_", " ").capitalize())
    return f"<section><h2>{title} from the wrist</h2><p>{escape(words)}{said}</p>{drawn}</section>"


def plot(worn: Worn) -> str:
    """Values over time with the wristband's own, each window's quality, movement, and a piece of the pulse wave."""
    value = worn.bundle.contract.values[0]
    lead = next(iter(worn.recordings.values()))
    with drawing.figure("wrist", 11.0, 5.0) as (figure, out):
        axes = figure.add_axes((0.05, 0.62, 0.935, 0.31))
        if worn.reference is not None:
            times = worn.reference.t0_s + np.arange(worn.reference.samples.shape[1]) / worn.reference.fs_hz
            axes.plot(times, worn.reference.samples[0], color=stand_in("soft"), label="the wristband's own")
        axes.plot([r.t_end_s for r in worn.judged], [r.values[0] for r in worn.judged], "o", markersize=3.6,
                  color=stand_in("class0"), label="this model, each window alone")  # fmt: skip
        axes.set_title(f"{value.name.replace('_', ' ')} ({value.units})")
        axes.set_xlim(0, lead.duration_s)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9)
        _quality(figure.add_axes((0.05, 0.50, 0.935, 0.033), sharex=axes), worn)
        _movement(figure.add_axes((0.05, 0.345, 0.935, 0.08), sharex=axes), worn)
        _wave(figure.add_axes((0.05, 0.095, 0.935, 0.125)), lead)
    return drawing.svg(out, f"{value.name} over time, quality, movement, and the pulse wave")


def _quality(axis: Any, worn: Worn) -> None:
    """A block from each window's end back to the one before, as on the strips of beats."""
    limit = worn.bundle.contract.thresholds.min_quality
    ends = [result.t_end_s for result in worn.results]
    for result, start, end in zip(worn.results, [0.0, *ends], ends, strict=False):
        colour = stand_in("good" if result.quality >= limit else "class2" if result.quality else "withheld")
        axis.axvspan(start, end, color=colour, alpha=0.25 + 0.75 * result.quality, linewidth=0)
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.tick_params(labelbottom=False, length=0)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.set_title("signal quality of the window that ends there: green is good enough to judge", pad=2)


def _movement(axis: Any, worn: Worn) -> None:
    """How far the acceleration's size is from its median, second by second; nothing without an accelerometer."""
    recording = next((one for one in list(worn.recordings.values())[1:] if one.samples.shape[0] == 3), None)
    if recording is None:
        axis.set_visible(False)
        return
    size = np.linalg.norm(recording.samples.astype(np.float64), axis=0)
    times = recording.t0_s + np.arange(len(size)) / recording.fs_hz
    axis.plot(times, size - np.median(size), color=stand_in("class1"), linewidth=0.7)
    axis.set_title(f"movement: size of the acceleration beside its median ({recording.units})", pad=3)
    axis.set_yticks([])


def _wave(axis: Any, lead: Recording) -> None:
    start = round(max(0.0, lead.duration_s / 2 - SHOWN_S / 2) * lead.fs_hz)
    piece = lead.samples[0, start : start + round(SHOWN_S * lead.fs_hz)]
    axis.plot((start + np.arange(len(piece))) / lead.fs_hz, piece, color=stand_in("ink"), linewidth=0.8)
    axis.set_xlim(start / lead.fs_hz, (start + len(piece)) / lead.fs_hz)
    axis.set_yticks([])
    axis.set_xlabel("time (s)")
    axis.set_title(f"{SHOWN_S:g} s of the pulse wave", pad=3)
