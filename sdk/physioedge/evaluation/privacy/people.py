"""People of MIT-BIH in two parts of their recording that lie twenty minutes apart, as a device would tell of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.base import embedded, logits_of, slotted
from physioedge.adapters.sets.beats import BeatPeople
from physioedge.adapters.sets.people import Worn
from physioedge.adapters.sets.wearers import Wearer, first_lead, second_lead
from physioedge.datasets import mitbih
from physioedge.models import shipped
from physioedge.tasks import arrhythmia
from physioedge.tasks.levels import levels
from physioedge_runtime.adaptation.condition import KINDS, SHAPELETS, Accumulator, Condition, ConditionSpec
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine.extractor import Extractor

Floats = NDArray[np.float64]
PART_S = 300.0
PARTS = ("first", "last", "moved")
"""First five minutes; last five; the last five of the other lead, as if the electrode had been moved."""
RECORDS = tuple(record for record in mitbih.ALL if record not in ("102", "104", "202"))
"""One of each of 45 people: 202 is the person of 201, and 102 and 104 lack the lead that the bundle is for."""
BEAT_S = (-0.3, 0.45)
"""Stretch around the R peak that a mean beat is of."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is told, and what is to be kept, of one part of a recording.

    Attributes
    ----------
    conditions : mapping of str to Condition
        By kind, without noise.
    level : float64 (class,)
        What levelling takes a bias from.
    beat : float64 (sample,)
        Mean beat in mV, which nobody should be able to rebuild.
    sure : float
        Mean margin of the model's answers; what somebody takes who asks whether the model was fitted on the person.
    right : float
        Share of beats that the model calls as annotated, for somebody who has the labels as well.
    """

    conditions: dict[str, Condition]
    level: Floats
    beat: Floats
    sure: float
    right: float


Say = Callable[[str], None]
Read = Callable[[str, str], Part]


def reader(bundle: Bundle, data: Path | None) -> Read:
    """Makes parts of a record by the float network that the bundle was exported from, and the bundle's extractor."""
    people = BeatPeople(shipped.backbone(), data)
    network, prior = slotted(shipped.backbone(), shipped.adapter_of(arrhythmia.NAME))
    specs = ConditionSpec.all_of(bundle)
    found = specs[SHAPELETS]
    assert found.graph is not None and found.golden is not None  # of every spec of shapelets
    extractor = Extractor(bundle, found.graph, found.golden)

    def read(record: str, part: str) -> Part:
        lead = second_lead() if part == "moved" else first_lead()
        worn = _stretch(people.seen(people.record(record), lead), last=part != "first")
        features = {"embedding": embedded(network, worn.signals), SHAPELETS: _distances(extractor, worn)}
        logits = logits_of(network, prior, features["embedding"])
        known, best = worn.target >= 0, np.sort(_shares(logits), axis=1)
        return Part(
            conditions={kind: _condition(bundle, specs[kind], features[kind]) for kind in KINDS},
            level=levels(logits), beat=_mean_beat(people, record, lead, last=part != "first"),
            sure=float((best[:, -1] - best[:, -2]).mean()),
            right=float((logits.argmax(1) == worn.target)[known].mean()) if known.any() else np.nan,
        )  # fmt: skip

    return read


def _stretch(worn: Worn, *, last: bool) -> Worn:
    end_s = float(worn.time_s[-1])
    return worn.of(worn.time_s >= end_s - PART_S) if last else worn.of(worn.time_s < PART_S)


def _distances(extractor: Extractor, worn: Worn) -> NDArray[np.float32]:
    signals = [x.numpy() for x in worn.signals]
    return np.stack([extractor.run(tuple(x[i : i + 1] for x in signals)) for i in range(len(worn.target))])


def _condition(bundle: Bundle, spec: ConditionSpec, features: NDArray[np.float32]) -> Condition:
    counted = Accumulator(spec)
    for row in features:
        counted.add(row)
    return counted.condition(bundle.contract, "global")


def _shares(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _mean_beat(people: BeatPeople, record: str, lead: Wearer, *, last: bool) -> Floats:
    """Mean over the beats of a part, less its own median: (sample,) of `BEAT_S`."""
    from physioedge.adapters.sets.wearers import worn

    changed = worn(people.record(record), lead)
    at_s = changed.anchor / people.fs_hz
    kept = changed.anchor[at_s >= at_s[-1] - PART_S] if last else changed.anchor[at_s < PART_S]
    offset = np.arange(round(BEAT_S[0] * people.fs_hz), round(BEAT_S[1] * people.fs_hz))
    index = kept[:, None] + offset
    index = index[(index.min(1) >= 0) & (index.max(1) < changed.signal.shape[1])]
    beat = changed.signal[0].astype(np.float64)[index].mean(0)
    return np.asarray(beat - np.median(beat))
