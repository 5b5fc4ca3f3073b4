"""Vital signs as series, one value every 5 s: what forecasts are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih, slpdb_rr, stress_predict
from physioedge.datasets.splits import load_split
from physioedge.signals.tachogram import LONGEST_RR_S, SHORTEST_RR_S
from physioedge_runtime.errors import DatasetError

STEP_S = 5.0
HELD_STEPS = 3
"""So many values that are missing are held; a longer gap ends a stretch."""
VARIABILITY_S = 30.0
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Vital:
    """One kind of series.

    Attributes
    ----------
    dataset, units : str
    low, high : float
        Plausible range in that unit.
    words : str
        What it is.
    """

    dataset: str
    units: str
    low: float
    high: float
    words: str


VITALS: Mapping[str, Vital] = {
    "heart_rate_sleep": Vital(dataset="slpdb_rr", units="bpm", low=20, high=250, words="heart rate asleep, from RR"),
    "rmssd_sleep": Vital(dataset="slpdb_rr", units="ms", low=0, high=1000, words="variability of 30 s asleep, from RR"),
    "heart_rate_ecg": Vital(dataset="mitbih", units="bpm", low=20, high=250, words="heart rate awake, from the ECG"),
    "heart_rate_wrist": Vital(dataset="stress_predict", units="bpm", low=20, high=250, words="heart rate, wrist PPG"),
    "respiration_wrist": Vital(dataset="stress_predict", units="1/min", low=2, high=60, words="breathing, wrist PPG"),
    "pulse_amplitude": Vital(dataset="stress_predict", units="a.u.", low=0, high=1e4, words="height of wrist pulses"),
}


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """An unbroken piece of a series.

    Attributes
    ----------
    subject, record : str
    judged : bool
        Whether the person is judged; others are fitted on.
    values : float32 (step,)
    """

    subject: str
    record: str
    judged: bool
    values: NDArray[np.float32]


def stretches(name: str, least_steps: int, root: Path | None = None) -> list[Stretch]:
    """All unbroken pieces of a series of at least so many steps.

    Raises
    ------
    DatasetError
        No such series, or the recordings are not here.
    """
    if name not in VITALS:
        raise DatasetError(f"series {name!r}", f"one of {', '.join(VITALS)}", "Name one of them.")
    vital, source = VITALS[name], _SOURCES[name]
    split, found = load_split(vital.dataset), []
    fitted, judged = split.people(split.pretrain), split.people(split.evaluate)
    for subject, record, values in source(root):
        person = split.person(subject)
        if person not in fitted | judged:
            continue
        kept = np.where((values >= vital.low) & (values <= vital.high), values, np.nan)
        found += [
            Stretch(subject=person, record=record, judged=person in judged, values=piece.astype(np.float32))
            for piece in pieces(kept)
            if len(piece) >= least_steps
        ]
    return found


def pieces(values: Floats) -> list[Floats]:
    """Unbroken pieces of a series with NaN in it: short gaps hold the value before them, long ones part it."""
    out: list[Floats] = []
    current: list[float] = []
    missing = 0
    for value in values.tolist():
        missing = missing + 1 if np.isnan(value) else 0
        if missing == 0:
            current.append(value)
        elif missing <= HELD_STEPS and current:
            current.append(current[-1])
        elif current:
            out.append(np.array(current[: len(current) - HELD_STEPS]))
            current = []
    return [*out, np.array(current)] if current else out


def binned(time_s: Floats, value: Floats, duration_s: float) -> Floats:
    """Median of the finite values in every 5 s; NaN where there is none."""
    index, n = (time_s / STEP_S).astype(np.int64), int(duration_s / STEP_S)
    good = np.isfinite(value) & (index >= 0) & (index < n)
    order = np.argsort(index[good], kind="stable")
    bins, sorted_values = index[good][order], value[good][order]
    at = np.searchsorted(bins, np.arange(n + 1))
    return np.array([np.median(sorted_values[a:b]) if b > a else np.nan for a, b in pairwise(at)])


def _rate(beat_s: Floats, rr_s: Floats) -> Floats:
    good = (rr_s >= SHORTEST_RR_S) & (rr_s <= LONGEST_RR_S)
    return binned(beat_s, np.where(good, 60.0 / np.maximum(rr_s, 1e-3), np.nan), float(beat_s[-1]))


def _rmssd_ms(beat_s: Floats, rr_s: Floats, normal: NDArray[np.bool_]) -> Floats:
    """Root of the mean squared difference of successive normal intervals over the last 30 s, in ms."""
    good = (rr_s >= SHORTEST_RR_S) & (rr_s <= LONGEST_RR_S) & normal
    squared = np.where(good[1:] & good[:-1], (1e3 * np.diff(rr_s)) ** 2, np.nan)
    sums = np.concatenate([[0.0], np.nancumsum(squared)])
    counts = np.concatenate([[0.0], np.cumsum(np.isfinite(squared))])
    ends_s = STEP_S * np.arange(1, int(beat_s[-1] / STEP_S) + 1)
    first, last = (np.searchsorted(beat_s[1:], edge) for edge in (ends_s - VARIABILITY_S, ends_s))
    count = counts[last] - counts[first]
    return np.where(count >= 10, np.sqrt((sums[last] - sums[first]) / np.maximum(count, 1)), np.nan)


Found = list[tuple[str, str, Floats]]


def _sleep_rate(root: Path | None) -> Found:
    out = []
    for record in slpdb_rr.records(root):
        events = slpdb_rr.intervals(record, root)
        out.append((slpdb_rr.subject_of(record), record, _rate(events.time_s, events.value.astype(np.float64))))
    return out


def _sleep_rmssd(root: Path | None) -> Found:
    out = []
    for record in slpdb_rr.records(root):
        events = slpdb_rr.intervals(record, root)
        value = _rmssd_ms(events.time_s, events.value.astype(np.float64), slpdb_rr.normal(record, root))
        out.append((slpdb_rr.subject_of(record), record, value))
    return out


def _ecg_rate(root: Path | None) -> Found:
    out = []
    for record in mitbih.records(root):
        recording = mitbih.load(record, root)
        beat_s = mitbih.beats(recording)[0] / recording.fs_hz
        out.append((recording.subject or record, record, _rate(beat_s[1:], np.diff(beat_s))))
    return out


def _wrist(column: int) -> Callable[[Path | None], Found]:
    def source(root: Path | None) -> Found:
        out = []
        for record in stress_predict.records(root):
            try:
                rates = stress_predict.rates(record, root)
            except DatasetError:  # one of the records has no labels
                continue
            time_s = rates.start_s - rates.start_s[0]
            value = binned(time_s, rates.value[:, column].astype(np.float64), float(time_s[-1]))
            out.append((stress_predict.subject_of(record), record, value))
        return out

    return source


def _amplitude(root: Path | None) -> Found:
    out = []
    for record in stress_predict.records(root):
        pulse = stress_predict.load(record, root).recordings["ppg"]
        per = round(STEP_S * pulse.fs_hz)
        rows = pulse.samples[0, : len(pulse.samples[0]) // per * per].reshape(-1, per).astype(np.float64)
        low, high = np.quantile(rows, [0.1, 0.9], axis=1)
        out.append((stress_predict.subject_of(record), record, high - low))
    return out


_SOURCES: Mapping[str, Callable[[Path | None], Found]] = {
    "heart_rate_sleep": _sleep_rate,
    "rmssd_sleep": _sleep_rmssd,
    "heart_rate_ecg": _ecg_rate,
    "heart_rate_wrist": _wrist(0),
    "respiration_wrist": _wrist(1),
    "pulse_amplitude": _amplitude,
}
