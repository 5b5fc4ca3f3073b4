"""The people of the arrhythmia task, as adapter sets want them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physioedge.adapters.beats import BeatFit, fit_beats
from physioedge.adapters.global_run import beats_note
from physioedge.adapters.lora.files import save_adapter
from physioedge.adapters.sets.people import CHECKPOINT, Worn
from physioedge.adapters.sets.wearers import Wearer, first_lead, random_wearer, second_lead, worn
from physioedge.datasets import mitbih
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.tasks import arrhythmia
from physioedge.tasks.arrhythmia import LABELS, BeatRecord


class BeatPeople:
    """DS1 of MIT-BIH without record 201, one record a person.

    Parameters
    ----------
    backbone : Path
        Weights file.
    data : Path, optional
        Folder that holds the datasets.
    taught : sequence of BeatRecord
        People labelled by a teacher, whom global adapters are fitted on beside those of DS1.
    device : str
        Of torch, where global adapters are fitted.
    fit : BeatFit, optional
        How global adapters are fitted; by default as what ships.
    """

    task: str = arrhythmia.NAME
    names: tuple[str, ...] = mitbih.FIT

    def __init__(
        self, backbone: Path, data: Path | None, *, taught: Sequence[BeatRecord] = (), device: str = "cpu",
        fit: BeatFit | None = None,
    ) -> None:  # fmt: skip
        self.backbone: Path = backbone
        self.data, self.taught, self.device = data, tuple(taught), device
        self.fit: BeatFit = fit or BeatFit()
        config = read_config(backbone)
        self.fs_hz, self.cut = config.modality("ecg").fs_hz, arrhythmia.window_spec(config)

    def record(self, name: str) -> BeatRecord:
        """One of the records."""
        return _record(name, self.fs_hz, self.data)

    @property
    def made_of(self) -> Mapping[str, Any]:
        """How global adapters are fitted, and on whom whom a teacher has labelled."""
        labels = hashlib.sha256()
        for record in self.taught:
            labels.update(record.name.encode() + record.anchor.tobytes() + record.label.tobytes())
        return {"fit": asdict(self.fit), "taught": [len(self.taught), labels.hexdigest() if self.taught else ""]}

    def fit_global(self, names: tuple[str, ...], folder: Path, *, seed: int) -> None:
        """Fit a global adapter on some records and write it; a fit cut off goes on."""
        backbone, _, digest = load_backbone(self.backbone, arrhythmia.LAYOUT)
        records, config = [self.record(name) for name in names], self.fit
        wrapped = fit_beats(
            backbone.to(self.device), records, config, seed=seed, taught=self.taught, checkpoint=folder / CHECKPOINT
        )  # fmt: skip
        save_adapter(folder, wrapped, beats_note(wrapped, digest, records, config, seed, taught=self.taught))

    def worn(self, name: str, wearer: int, *, seed: int) -> Worn:
        """The beats of a record: as it is, on its other lead, and then as random wearers show them."""
        rng = np.random.default_rng((seed, int(name), wearer))
        fixed = (first_lead, second_lead)
        how = fixed[wearer]() if wearer < len(fixed) else random_wearer(rng, self.fs_hz)
        return self.seen(self.record(name), how)

    def seen(self, record: BeatRecord, wearer: Wearer) -> Worn:
        """All beats of a record that have a full window."""
        changed = worn(record, wearer)
        windows, kept = changed.windows(self.cut)
        label = changed.label[kept]
        target = np.where(label < len(LABELS), label, -1)
        return Worn(
            signals=(torch.from_numpy(windows),), target=target, time_s=changed.anchor[kept] / self.fs_hz
        )  # fmt: skip


@lru_cache(maxsize=len(mitbih.FIT))
def _record(name: str, fs_hz: float, data: Path | None) -> BeatRecord:
    """Read once a process, whichever job asks for it."""
    return arrhythmia.load_records((name,), fs_hz, data)[0]
