"""Unlabelled recordings for pre-training, by people who may be learned from: one pool a kind of recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import cinc2017, icu, mitbih, slpdb_rr, stress_predict
from physioedge.datasets.splits import load_split
from physioedge.models.modality import RR
from physioedge.signals.recording import Events, Recording
from physioedge.signals.tachogram import tachogram
from physioedge_runtime.signal.resample import resample


@dataclass(frozen=True)
class Track:
    """Sensors of one recording: kind to (samples (channel, sample) at the modality's rate, time of the first)."""

    sensors: Mapping[str, tuple[NDArray[np.float32], float]]


@dataclass(frozen=True)
class Pool:
    """Recordings that segments are drawn from.

    Attributes
    ----------
    tracks : list of Track
    weight : float64 (track,)
        Share of the draws.
    subjects : tuple of str
        Everybody in it.
    datasets : tuple of str
    """

    tracks: list[Track]
    weight: NDArray[np.float64]
    subjects: tuple[str, ...]
    datasets: tuple[str, ...]


Loader = Callable[[Mapping[str, float], Path | None], Pool]
"""Rates by kind of sensor and the folder of datasets to a pool."""


def joined(pools: list[Pool], share: list[float]) -> Pool:
    """Pools as one, each with its share of the draws."""
    total = sum(share)
    weight = [p.weight / p.weight.sum() * s / total for p, s in zip(pools, share, strict=True)]
    return Pool(
        [track for pool in pools for track in pool.tracks],
        np.concatenate(weight),
        tuple(dict.fromkeys(subject for pool in pools for subject in pool.subjects)),
        tuple(dict.fromkeys(name for pool in pools for name in pool.datasets)),
    )


def leads_mitbih(rates: Mapping[str, float], root: Path | None = None) -> Pool:
    """``ecg``: both leads of the fitting records of MIT-BIH, without their annotations."""
    recordings = [mitbih.load(record, root) for record in mitbih.FIT]
    return _pool(mitbih.NAME, [({"ecg": _converted(r, rates["ecg"])}, r.subject) for r in recordings])


def leads_cinc(rates: Mapping[str, float], root: Path | None = None) -> Pool:
    """``ecg``: the short single-lead records of CinC 2017 that may be learned from."""
    known = set(load_split(cinc2017.NAME).pretrain)
    names = [name for name in cinc2017.records(root) if cinc2017.subject_of(name) in known]
    return _pool(
        cinc2017.NAME,
        [({"ecg": _converted(r, rates["ecg"])}, r.subject) for r in cinc2017.load_all(names, root)],
    )


def bedside(rates: Mapping[str, float], root: Path | None = None) -> Pool:
    """``ecg`` in mV, or ``ppg``, of the bedside records: each sensor a recording of its own."""
    found = []
    for record in icu.records(root):
        session = icu.load(record, root)
        for kind in ("ecg", "ppg"):
            recording = session.recordings.get(kind)
            if kind in rates and recording is not None and recording.units != {"ecg": "a.u."}.get(kind):
                found.append(({kind: _converted(recording, rates[kind])}, session.subject))
    return _pool(icu.NAME, found)


def wrists(rates: Mapping[str, float], root: Path | None = None) -> Pool:
    """``ppg``, ``acc``, ``eda``, ``temp`` of the people of Stress-Predict who may be learned from."""
    known = set(load_split(stress_predict.NAME).pretrain)
    found = []
    for record in stress_predict.records(root):
        if stress_predict.subject_of(record) in known:
            recordings = stress_predict.load(record, root).recordings
            sensors = {kind: _converted(recordings[kind], rates[kind]) for kind in rates if kind in recordings}
            found.append((sensors, stress_predict.subject_of(record)))
    return _pool(stress_predict.NAME, found)


def nights(rates: Mapping[str, float], root: Path | None = None) -> Pool:
    """``rr``: interval series of the nights that may be learned from."""
    known = set(load_split(slpdb_rr.NAME).pretrain)
    found = []
    for record in slpdb_rr.records(root):
        if slpdb_rr.subject_of(record) in known:
            found.append(({"rr": _series(slpdb_rr.intervals(record, root), rates["rr"])}, slpdb_rr.subject_of(record)))
    return _pool(slpdb_rr.NAME, found)


def days(rates: Mapping[str, float], root: Path | None = None) -> Pool:
    """``rr``: interval series of the fitting records of MIT-BIH, from their annotated beats."""
    found = []
    for record in mitbih.FIT:
        recording = mitbih.load(record, root)
        beat_s = mitbih.beats(recording)[0] / recording.fs_hz
        intervals = Events(
            time_s=beat_s[1:], value=np.diff(beat_s).astype(np.float32), units="s", name="rr", subject=recording.subject
        )
        found.append(({"rr": _series(intervals, rates["rr"])}, recording.subject))
    return _pool(mitbih.NAME, found)


LOADERS: Mapping[str, Loader] = {
    "leads_mitbih": leads_mitbih,
    "leads_cinc": leads_cinc,
    "bedside": bedside,
    "wrists": wrists,
    "nights": nights,
    "days": days,
}


def _series(intervals: Events, rate_hz: float) -> tuple[NDArray[np.float32], float]:
    return tachogram(intervals, float(intervals.time_s[-1]), rate_hz, lead_s=RR.context_samples / RR.fs_hz), 0.0


def _converted(recording: Recording, fs_hz: float) -> tuple[NDArray[np.float32], float]:
    return resample(recording.samples, recording.fs_hz, fs_hz), recording.t0_s


def _pool(dataset: str, found: list[tuple[dict[str, tuple[NDArray[np.float32], float]], str]]) -> Pool:
    """Recordings of one set; each counts by the root of its length, so that long ones do not drown the others."""
    tracks = [Track(sensors) for sensors, _ in found]
    length_s = [min(samples.shape[1] for samples, _ in sensors.values()) for sensors, _ in found]
    return Pool(tracks, np.sqrt(np.array(length_s, np.float64)), tuple(dict.fromkeys(s for _, s in found)), (dataset,))
