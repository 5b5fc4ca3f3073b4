"""Draws of beat windows for fitting: which beats, and how they are varied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.arrhythmia import LABELS, LOOKAHEAD_SAMPLES, BeatRecord
from physioedge_runtime.bundle.contract import WindowSpec

_BEFORE_R_S, _AFTER_R_S = 0.2, 0.3
_IRREGULAR = (0.65, 1.5)
"""Range of the factor of an RR interval: about what atrial fibrillation does."""


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """How beats are drawn and varied.

    Attributes
    ----------
    class_share : tuple of float
        Share of each label in a batch; a label no record has is left out and the rest keeps its proportions.
    record_power : float
        A record counts with its number of beats of the class to this power: 1 is plain pooling, 0 all records alike.
    mix_share : float
        Share of windows whose lead is mixed with the other one.
    mix_scale : float
        Standard deviation of the other lead's weight.
    smear_share, smear_scale, smear_s : float
        Share of windows that pass a random short filter, the same for the whole window: its largest energy beside the
        direct path, and its half-length. All beats of the window change shape alike, so that what counts is how a beat
        differs from its neighbours and not how a person's normal beat looks (a bundle branch block is wide and normal).
    irregular_share : float
        Share of windows of the first label whose every RR interval is stretched or shortened at random, as in atrial
        fibrillation: an early beat means something only where the rhythm is regular.
    warp : float
        Largest relative change of the time axis about the R peak.
    jitter_samples : int
        Largest shift of the R peak: the detector is not the annotator.
    noise_mv, wander_mv : float
        Largest standard deviation of white noise and amplitude of slow baseline wander.
    """

    class_share: tuple[float, ...] = (0.5, 0.2, 0.3)
    record_power: float = 0.5
    mix_share: float = 0.7
    mix_scale: float = 1.0
    smear_share: float = 0.5
    smear_scale: float = 0.8
    smear_s: float = 0.08
    irregular_share: float = 0.0
    warp: float = 0.1
    jitter_samples: int = 3
    noise_mv: float = 0.03
    wander_mv: float = 0.3


class BeatDraw:
    """Random batches of beat windows with their labels.

    Parameters
    ----------
    records : list of BeatRecord
        What to draw from; beats outside `LABELS`, or without room for the window, are not drawn.
    cut : WindowSpec
        Of the judged lead.
    fs_hz : float
        Rate of the records.
    draw : DrawConfig
    """

    def __init__(self, records: list[BeatRecord], cut: WindowSpec, fs_hz: float, draw: DrawConfig) -> None:
        self.records, self.draw = records, draw
        self.length, self.fs_hz = cut.input_samples, fs_hz
        self.before = self.length - 1 - LOOKAHEAD_SAMPLES
        self._choices: list[list[tuple[int, NDArray[np.int64]]]] = []
        for label in range(len(LABELS)):
            found = [(i, self._usable(record, label)) for i, record in enumerate(records)]
            self._choices.append([(i, beats) for i, beats in found if beats.size])
        share = np.array([s if c else 0.0 for s, c in zip(draw.class_share, self._choices, strict=True)])
        self.class_share: NDArray[np.float64] | None = share / share.sum()

    def _usable(self, record: BeatRecord, label: int) -> NDArray[np.int64]:
        d = self.draw
        margin = int(self.length * d.warp) + d.jitter_samples + round(d.smear_s * self.fs_hz) + 2
        end = record.signal.shape[1]
        room = (record.anchor > self.before + margin) & (record.anchor < end - LOOKAHEAD_SAMPLES - margin)
        return np.flatnonzero(room & (record.label == label))

    def batch(self, n: int, rng: np.random.Generator) -> tuple[tuple[NDArray[np.float32], ...], NDArray[np.int64]]:
        """Windows (n, 1, input_samples) in mV of the one sensor, and label indices (n,)."""
        labels = rng.choice(len(LABELS), size=n, p=self.class_share)
        windows = np.stack([self._window(int(label), rng) for label in labels])
        return (windows[:, None].astype(np.float32),), labels.astype(np.int64)

    def _window(self, label: int, rng: np.random.Generator) -> NDArray[np.float64]:
        d, choices = self.draw, self._choices[label]
        weights = np.array([beats.size for _, beats in choices], float) ** d.record_power
        which, beats = choices[rng.choice(len(choices), p=weights / weights.sum())]
        record = self.records[which]
        anchor = int(rng.choice(record.anchor[beats])) + int(rng.integers(-d.jitter_samples, d.jitter_samples + 1))
        rate = float(1.0 + d.warp * rng.uniform(-1, 1))
        position = np.arange(-self.before, LOOKAHEAD_SAMPLES + 1, dtype=np.float64) * rate + anchor
        if label == 0 and rng.random() < d.irregular_share:
            position = self._irregular(position, record, anchor, rng)
        half = round(d.smear_s * self.fs_hz)  # room for the smear's filter, so that it never sees an end
        first, last = int(position[0]) - 1 - half, int(position[-1]) + 2 + half
        piece = record.signal[:, first:last].astype(np.float64)
        lead = piece[0]
        if rng.random() < d.mix_share and piece.shape[0] > 1:
            lead = lead + d.mix_scale * rng.standard_normal() * piece[1]
        if rng.random() < d.smear_share:
            lead = np.convolve(lead, self._smear(rng), mode="same")
        out: NDArray[np.float64] = np.interp(position, np.arange(first, last), lead)
        time_s = np.arange(self.length) / self.fs_hz
        out += d.wander_mv * rng.random() * np.sin(2 * np.pi * (rng.uniform(0.05, 0.4) * time_s + rng.random()))
        out += d.noise_mv * rng.random() * rng.standard_normal(self.length)
        return out

    def _irregular(
        self, position: NDArray[np.float64], record: BeatRecord, anchor: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Source positions with every RR interval before the judged beat changed, and the beats themselves kept.

        From `_BEFORE_R_S` before to `_AFTER_R_S` after each R peak time is left alone; the rest of the interval takes
        up the change. Where the record has no room for it, `position` is returned as it came.
        """
        lead_in, tail = round(_BEFORE_R_S * self.fs_hz), round(_AFTER_R_S * self.fs_hz)
        earlier = record.anchor[record.anchor < anchor - lead_in - tail][::-1]
        source: list[int] = [anchor + LOOKAHEAD_SAMPLES, anchor - lead_in]
        target: list[int] = [LOOKAHEAD_SAMPLES, -lead_in]
        later = anchor
        for peak in earlier:
            interval = later - int(peak)
            free = max(4, round(interval * rng.uniform(*_IRREGULAR)) - lead_in - tail)
            target += [target[-1] - free, target[-1] - free - tail - lead_in]
            source += [min(int(peak) + tail, source[-1] - 1), int(peak) - lead_in]
            later = int(peak)
            if target[-1] < -self.before or source[-1] < 1:
                break
        if target[-1] > -self.before or source[-1] < 1 + round(self.draw.smear_s * self.fs_hz):
            return position
        grid = np.arange(-self.before, LOOKAHEAD_SAMPLES + 1)
        warped: NDArray[np.float64] = np.interp(grid, np.array(target[::-1], float), np.array(source[::-1], float))
        return warped

    def _smear(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A random short filter: the direct path and an echo of up to `smear_scale` of its size."""
        half = max(1, round(self.draw.smear_s * self.fs_hz))
        echo = rng.standard_normal(2 * half + 1) * np.hanning(2 * half + 3)[1:-1]
        echo *= self.draw.smear_scale * rng.random() / np.linalg.norm(echo)
        echo[half] += 1.0
        return np.asarray(echo)
