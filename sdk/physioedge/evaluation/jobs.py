"""One job fits one arm with one seed and predicts the test records; its file is its mark of completion."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physioedge.adapters.beats import BeatFit, log_prior
from physioedge.adapters.global_run import beats_note
from physioedge.adapters.lora.files import save_adapter
from physioedge.adapters.sets.taught import load_taught
from physioedge.evaluation.arms import OPPONENTS, fit_arm, predict, refuse_overlap, save_predictions
from physioedge.evaluation.beat_opponents import opponent_predictions
from physioedge.models.checkpoint import load_backbone
from physioedge.tasks import arrhythmia

CLASSIC = "global_classic_split"
"""The global adapter fitted on all of DS1, the person of 202 included."""
TAUGHT = "global_taught"
"""The global adapter fitted on people of a teacher, too."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One arm, one seed.

    Attributes
    ----------
    arm : str
        Of ``physioedge.evaluation.arms.ARMS``, `CLASSIC` or `TAUGHT`.
    seed : int
    backbone : Path
        Weights file; for ``bidirectional`` the twin's.
    config : BeatFit
    train, test : tuple of str
        Records fitted on and predicted.
    development : bool
        A fold of DS1: the backbone may have seen the test records unlabelled, the adapter may not.
    taught : Path or None
        What ``train teacher`` wrote, for `TAUGHT`.
    work : Path
        Folder for predictions, checkpoints and adapters.
    data : Path or None
        Folder that holds the datasets.
    """

    arm: str
    seed: int
    backbone: Path
    config: BeatFit
    train: tuple[str, ...]
    test: tuple[str, ...]
    work: Path
    data: Path | None
    development: bool = False
    taught: Path | None = None

    @property
    def name(self) -> str:
        """File stem: arm, seed and a digest of all that shapes the scores; the prior is applied later."""
        config = {key: value for key, value in asdict(self.config).items() if key != "prior_share"}
        shape = json.dumps([config, self.train, self.test], sort_keys=True).encode()
        shape += self.backbone.read_bytes() + (self.taught.read_bytes() if self.taught else b"")
        return f"{self.arm}-{self.seed}-{hashlib.sha256(shape).hexdigest()[:10]}"

    @property
    def predictions(self) -> Path:
        """Where the predictions go."""
        return self.work / "predictions" / f"{self.name}.npz"

    @property
    def adapter(self) -> Path:
        """Where the global adapter goes."""
        return self.work / "adapters" / self.name


def run_job(job: Job) -> Path:
    """Fit, predict, save; a job already done is not done again."""
    if job.predictions.exists():
        return job.predictions
    torch.set_num_threads(1)
    backbone, provenance, digest = load_backbone(job.backbone, arrhythmia.LAYOUT)
    fs_hz, cut = backbone.config.modality("ecg").fs_hz, arrhythmia.window_spec(backbone.config)
    train = arrhythmia.load_records(job.train, fs_hz, job.data)
    test = arrhythmia.load_records(job.test, fs_hz, job.data)
    if job.arm != CLASSIC:  # the classic split shares a person by definition, and its row says so
        seen = () if job.development else provenance.training_subjects
        refuse_overlap((*seen, *(r.subject for r in train)), tuple(r.subject for r in test))
    extra: dict[str, Any] = {"log_prior": log_prior(train, 1.0).numpy()}
    if job.arm in OPPONENTS:  # of the backbone they know the cut of the window alone
        found = opponent_predictions(job.arm, train, test, job.config.draw, cut, fs_hz, seed=job.seed)
        save_predictions(job.predictions, found, None, extra)
        return job.predictions
    arm = "global" if job.arm in (CLASSIC, TAUGHT) else job.arm
    checkpoint = job.work / "checkpoints" / f"{job.name}.pt"
    taught = load_taught(job.taught, fs_hz) if job.taught else []
    fitted = fit_arm(arm, backbone, train, job.config, seed=job.seed, checkpoint=checkpoint, taught=taught)
    keep = job.arm in ("global", TAUGHT) and not job.development
    if keep:
        note = beats_note(fitted.module, digest, train, job.config, job.seed, taught=taught)
        save_adapter(job.adapter, fitted.module, note)
    reference = [p.embedding.mean(0) for p in predict(fitted, thinned(train), cut, fs_hz)] if keep else []
    if reference:
        extra["reference"] = np.mean(reference, axis=0)
    save_predictions(job.predictions, predict(fitted, test, cut, fs_hz), fitted.head, extra)
    return job.predictions


def thinned(records: list[arrhythmia.BeatRecord], every: int = 8) -> list[arrhythmia.BeatRecord]:
    """The same records with every eighth beat: enough for the mean embedding of each."""
    return [replace(r, anchor=r.anchor[::every], label=r.label[::every]) for r in records]


def run_jobs(jobs: list[Job], workers: int) -> list[Path]:
    """All jobs, `workers` at a time, each on one thread; predictions in the order of `jobs`."""
    if workers == 1:
        return [run_job(job) for job in jobs]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(run_job, job): i for i, job in enumerate(jobs)}
        done: dict[int, Path] = {}
        for future in as_completed(waiting):
            done[waiting[future]] = future.result()
    return [done[i] for i in range(len(jobs))]
