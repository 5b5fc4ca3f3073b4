"""The datasets of which two sensors were recorded together, as stores of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.bridge.original_stores import EEG, STRESS, isruc_pairs, wesad_pairs
from physioedge.bridge.pairs import UNKNOWN, PairStore, Strip
from physioedge.datasets import icu, mitbih, stress_predict, troika
from physioedge.datasets.original import isruc, wesad
from physioedge.datasets.splits import load_split
from physioedge.tasks import arrhythmia, stress
from physioedge.tasks.cutting import at_canonical_rates
from physioedge.tasks.windowed import CANONICAL_HZ
from physioedge_runtime.signal.beats import detect_beats
from physioedge_runtime.signal.resample import resample

BEATS, RATE, CHANGE = "beats", "rate", "change"
OTHER_LEAD = "ecg_other"
RATE_WINDOW_S = 16.0
"""Long enough for a change of rate: the last 8 s against the 8 s before."""
RATE_EDGES_BPM = (115.0, 145.0)
CHANGE_BPM = 3.0
_PAST_S = 3.0
"""Real past that every window has before it, more than any frontend asks for."""
_BEAT_WINDOW_S = 7.0
_LABELLED = len(arrhythmia.LABELS)


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a store is made, and the steps its signals are kept in."""

    make: Callable[[Path | None], PairStore]
    steps: Mapping[str, float]


def _inside(ends: Mapping[str, NDArray[np.int64]], signals: Mapping[str, NDArray[np.float32]], window_s: float
            ) -> NDArray[np.bool_]:  # fmt: skip
    """Windows that lie wholly in every sensor, with their past."""
    parts = [
        (end >= round((window_s + _PAST_S) * rate_of(sensor))) & (end <= signals[sensor].shape[1])
        for sensor, end in ends.items()
    ]
    return np.asarray(np.logical_and.reduce(parts), np.bool_)


def rate_of(sensor: str) -> float:
    """Canonical rate of a sensor of a store, in Hz."""
    return CANONICAL_HZ["ecg" if sensor in (OTHER_LEAD, EEG) else sensor]


def mitbih_pairs(root: Path | None = None) -> PairStore:
    """Lead MLII and the other lead of every record that is fitted on or judged; one window a beat."""
    strips = []
    for record in arrhythmia.load_records((*mitbih.FIT, *mitbih.DS2), CANONICAL_HZ["ecg"], root):
        signals = {"ecg": record.signal[:1], OTHER_LEAD: record.signal[1:2]}
        end = record.anchor + arrhythmia.LOOKAHEAD_SAMPLES + 1
        ends = dict.fromkeys(signals, end)
        kept = _inside(ends, signals, _BEAT_WINDOW_S)
        label = record.label[kept]
        strips.append(
            Strip(
                record=record.name,
                subject=record.subject,
                signals=signals,
                ends={sensor: e[kept] for sensor, e in ends.items()},
                targets={BEATS: np.where(label < _LABELLED, label, UNKNOWN)},
                judged=(label < _LABELLED) & (record.name in mitbih.DS2),
            )
        )
    return PairStore(name=mitbih.NAME, strips=tuple(strips))


def stress_pairs(root: Path | None = None) -> PairStore:
    """Pulse, movement and skin conductance of one wristband; windows as in the task ``stress``."""
    split, kinds, strips = load_split(stress_predict.NAME), ("ppg", "acc", "eda"), []
    judged_people = split.people(split.evaluate)
    for record in stress_predict.records(root):
        if record in stress_predict.UNLABELLED:
            continue
        found = stress_predict.load(record, root).recordings
        sensors = at_canonical_rates(found, kinds)
        start_s, target = stress.grid(stress_predict.labels(record, root))
        first_s = max(start_s[0] - _PAST_S - 1.0, *(t0_s for _, t0_s in sensors.values()))
        signals, ends = {}, {}
        for kind, (samples, t0_s) in sensors.items():
            skipped = round((first_s - t0_s) * CANONICAL_HZ[kind])
            signals[kind] = samples[:, skipped:]
            end_s = start_s + stress.TASK.window_s - t0_s
            ends[kind] = np.rint(end_s * CANONICAL_HZ[kind]).astype(np.int64) - skipped
        kept = _inside(ends, signals, stress.TASK.window_s)
        person = stress_predict.subject_of(record)
        t0_s = min(recording.t0_s for recording in found.values())
        judged = np.full(int(kept.sum()), person in judged_people)
        if person in judged_people:
            judged &= ~split.calibrates(person, record, [record], start_s[kept], t0_s)
        strips.append(
            Strip(
                record=record,
                subject=person,
                signals=signals,
                ends={kind: end[kept] for kind, end in ends.items()},
                targets={STRESS: target[kept]},
                judged=judged,
            )
        )
    return PairStore(name=stress_predict.NAME, strips=tuple(strips))


def troika_pairs(root: Path | None = None) -> PairStore:
    """Chest ECG and the first wrist PPG of people on a treadmill; how fast the heart beats, and where that goes."""
    strips = []
    for record in troika.records(root):
        found = troika.load(record, root).recordings
        sensors = at_canonical_rates(found, ("ecg", "ppg"))
        signals = {"ecg": sensors["ecg"][0], "ppg": sensors["ppg"][0][:1]}
        rate = troika.labels(record, root).value.astype(np.float64).reshape(-1)
        before = round(troika.WINDOW_S / troika.STEP_S)
        index = np.arange(before, len(rate))
        end_s = troika.STEP_S * index + troika.WINDOW_S
        ends = {kind: np.rint(end_s * CANONICAL_HZ[kind]).astype(np.int64) for kind in signals}
        kept = _inside(ends, signals, RATE_WINDOW_S)
        change = rate[index] - rate[index - before]
        slower_faster = (-CHANGE_BPM, CHANGE_BPM)
        targets = {RATE: np.digitize(rate[index], RATE_EDGES_BPM), CHANGE: np.digitize(change, slower_faster)}
        strips.append(
            Strip(
                record=record,
                subject=troika.subject_of(record),
                signals=signals,
                ends={kind: end[kept] for kind, end in ends.items()},
                targets={name: np.asarray(target[kept], np.int64) for name, target in targets.items()},
                judged=np.ones(int(kept.sum()), np.bool_),
            )
        )
    return PairStore(name=troika.NAME, strips=tuple(strips))


def icu_pairs(root: Path | None = None) -> PairStore:
    """ECG and fingertip pulse at the bedside, one window a beat that the detector finds; nobody has labelled them."""
    strips = []
    for record in icu.records(root):
        found = icu.load(record, root).recordings
        if not {"ecg", "ppg"} <= set(found):
            continue
        lead = found["ecg"]
        row = lead.channels.index("II") if "II" in lead.channels else 0
        raw = {"ecg": lead.samples[row : row + 1], "ppg": found["ppg"].samples[:1]}
        signals, bad = {}, {}
        for kind, samples in raw.items():
            missing = ~np.isfinite(samples[0])
            filled = np.where(missing, np.float32(0), samples).astype(np.float32)
            signals[kind] = resample(filled, lead.fs_hz, CANONICAL_HZ[kind])
            bad[kind] = np.flatnonzero(missing) / lead.fs_hz
        anchor = np.array([beat.sample for beat in detect_beats(signals["ecg"][0], CANONICAL_HZ["ecg"])], np.int64)
        end_s = (anchor + arrhythmia.LOOKAHEAD_SAMPLES + 1) / CANONICAL_HZ["ecg"]
        ends = {kind: np.rint(end_s * CANONICAL_HZ[kind]).astype(np.int64) for kind in signals}
        kept = _inside(ends, signals, _BEAT_WINDOW_S)
        for gone_s in bad.values():
            inside = np.searchsorted(gone_s, end_s) - np.searchsorted(gone_s, end_s - _BEAT_WINDOW_S - _PAST_S)
            kept &= inside == 0
        if not kept.any():
            continue
        strips.append(
            Strip(
                record=record,
                subject=icu.subject_of(record),
                signals=signals,
                ends={kind: end[kept] for kind, end in ends.items()},
                targets={BEATS: np.full(int(kept.sum()), UNKNOWN)},
                judged=np.ones(int(kept.sum()), np.bool_),
            )
        )
    return PairStore(name=icu.NAME, strips=tuple(strips))


SOURCES: Mapping[str, Source] = {
    mitbih.NAME: Source(make=mitbih_pairs, steps={"ecg": 0.005, OTHER_LEAD: 0.005}),
    stress_predict.NAME: Source(make=stress_pairs, steps={"ppg": 0.2, "acc": 1 / 64, "eda": 0.002}),
    troika.NAME: Source(make=troika_pairs, steps={"ecg": 0.5, "ppg": 0.1}),
    wesad.NAME: Source(make=wesad_pairs, steps={"ecg": 0.001, "ppg": 0.1}),
    isruc.NAME: Source(make=isruc_pairs, steps={EEG: 0.005, "ecg": 0.005}),
    icu.NAME: Source(make=icu_pairs, steps={"ecg": 0.005, "ppg": 0.002}),
}
"""By dataset. Steps are those of the converters, or well below what a frontend tells apart."""
