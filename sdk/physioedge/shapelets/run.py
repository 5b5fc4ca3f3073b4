"""Find and learn the shapelets of every kind of sensor, on people who may be learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.datasets import mitbih
from physioedge.models.frontend import Frontend
from physioedge.models.modality import ALL, Modality
from physioedge.models.shapelets import ShapeletTransform, stream_rows
from physioedge.shapelets.bank import Bank, save_bank
from physioedge.shapelets.discovery import discover
from physioedge.shapelets.learning import ShapeletFit, learn
from physioedge.tasks import arrhythmia
from physioedge.tasks.windowed import chosen, task_module
from physioedge_runtime.errors import DatasetError

COUNT = 16
"""Shapelets of each length: 48 a kind."""
LENGTHS: Mapping[str, tuple[int, ...]] = {
    "ecg": (25, 50, 100),
    "ppg": (32, 64, 128),
    "acc": (32, 64, 128),
    "eda": (16, 32, 64),
    "temp": (16, 32, 64),
    "rr": (20, 60, 120),
}
"""In samples at the kind's rate: a fifth of a second to a beat, half a second to two of a pulse, and so on."""
TASK_OF: Mapping[str, str] = {
    "ecg": arrhythmia.NAME, "ppg": "stress", "acc": "stress", "eda": "stress", "temp": "stress", "rr": "sleep_rr",
}  # fmt: skip
"""Whose labels they are learned with."""
WINDOWS = 3000


@dataclass(frozen=True)
class Labelled:
    """Normalised streams (window, row, sample) of one kind, their classes, whose they are, and everybody's name."""

    rows: Tensor
    target: NDArray[np.int64]
    person: Tensor
    subjects: tuple[str, ...]


def train_bank(out: Path, config: ShapeletFit, *, seed: int, data: Path | None, kinds: tuple[str, ...] = ()) -> str:
    """Fit the bank, write ``shapelets.safetensors`` to a folder, and give its digest."""
    modalities = {m.kind: m for m in ALL if not kinds or m.kind in kinds}
    transforms: dict[str, ShapeletTransform] = {}
    details: dict[str, dict[str, Any]] = {}
    seen: list[str] = []
    sets: list[str] = []
    for kind, modality in modalities.items():
        found = labelled(TASK_OF[kind], modality, seed, data)
        start = discover(found.rows, found.person, LENGTHS[kind], COUNT, seed=seed)
        classes = int(found.target.max()) + 1
        transforms[kind], history = learn(start, found.rows, found.target, classes, config, seed=seed)
        details[kind] = {"task": TASK_OF[kind], "windows": len(found.rows), "loss": history.loss[-1], **asdict(config)}
        seen += found.subjects
        sets.append(mitbih.NAME if TASK_OF[kind] == arrhythmia.NAME else task_module(TASK_OF[kind]).TASK.dataset)
    bank = Bank(
        transforms=transforms, modalities=modalities, training_subjects=tuple(sorted(set(seen))),
        datasets=tuple(dict.fromkeys(sets)), details=details,
    )  # fmt: skip
    return save_bank(out / "shapelets.safetensors", bank)


def labelled(task: str, modality: Modality, seed: int, data: Path | None) -> Labelled:
    """Windows of one kind of sensor of the people nobody judges, at most `WINDOWS` of them.

    Raises
    ------
    DatasetError
        The recordings are not here, or nobody of the set may be learned from.
    """
    rng = np.random.default_rng(seed)
    samples, target, subject = _beats(modality, data) if task == arrhythmia.NAME else _windows(task, modality, data)
    kept = np.sort(rng.permutation(len(target))[:WINDOWS])
    samples, target, subject = samples[kept], target[kept], subject[kept]
    streams = samples.reshape(-1, modality.channels, samples.shape[2])  # several streams of one kind are windows each
    each = len(streams) // len(samples)
    front = Frontend(modality, (samples.shape[2] - modality.context_samples) // modality.patch_samples)
    with torch.no_grad():
        rows = torch.cat([stream_rows(front(torch.from_numpy(x)), modality) for x in np.array_split(streams, 20)])
    names, person = np.unique(np.repeat(subject, each), return_inverse=True)
    return Labelled(rows, np.repeat(target, each), torch.from_numpy(person), tuple(names.tolist()))


_Found = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.str_]]


def _beats(modality: Modality, data: Path | None) -> _Found:
    """Windows around beats of the records of DS1 that are fitted on, both leads of them."""
    from physioedge.models.config import TINY

    cut = arrhythmia.window_spec(TINY)
    samples, target, subject = [], [], []
    for record in arrhythmia.load_records(mitbih.FIT, modality.fs_hz, data):
        windows, kept = record.windows(cut)
        known = record.label[kept] < len(arrhythmia.LABELS)
        samples.append(windows[known])
        target.append(record.label[kept][known])
        subject += [record.subject] * int(known.sum())
    return np.concatenate(samples), np.concatenate(target), np.array(subject)


def _windows(task: str, modality: Modality, data: Path | None) -> _Found:
    """Windows of a task on windows, of people who are only fitted on."""
    module = task_module(task)
    past_s = modality.context_samples / modality.fs_hz
    windows = module.windows(data, context_s=max(2.0, past_s))
    windows = chosen(windows, windows.fold < 0)
    if not len(windows.target):
        raise DatasetError(f"nobody of {task} who may be learned from", "some people", "Choose another task.")
    length = modality.context_samples + round(windows.task.window_s / modality.patch_s) * modality.patch_samples
    return windows.samples[modality.kind][:, :, -length:], windows.target.astype(np.int64), windows.subject
