"""Conditions as a device makes them beside those that generators learn from.

A set's conditions come from the float network over annotated beats. A device's come from an int8 graph over the beats
that its own detector found and its own gate let pass, clipped, through the accumulator, in half precision. What lies
between the two is measured here, in units of what lies between people, and by what a generator makes of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Floats, embedded, logits_of, slotted
from physioedge.adapters.sets.beats import BeatPeople
from physioedge.adapters.sets.slotted import SlottedNetwork
from physioedge.adapters.sets.wearers import first_lead
from physioedge.datasets import mitbih
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.personal.judged import CALIBRATION_S
from physioedge.generator.files import Generator
from physioedge.results import Row
from physioedge.tasks.arrhythmia import NAME
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.adaptation.condition import EMBEDDING, Condition
from physioedge_runtime.engine.protocol import Engine

CHUNK_SAMPLES = 3600
JUDGED_WINDOWS = 200
"""Of a person, on which both adapters are compared."""
ARM = "by the device"


@dataclass(frozen=True, kw_only=True)
class Twice:
    """One person's five minutes as two conditions.

    Attributes
    ----------
    record : str
    device, trained : float64 (2 * feature,)
        Means, then deviations.
    apart : float
        Length of the difference of the adapters that a generator makes of both, over the length of the latter.
    same_label : float
        Share of windows that both adapters call alike.
    """

    record: str
    device: Floats
    trained: Floats
    apart: float
    same_label: float


def by_device(bundle: Bundle, record: str, engine: Engine, data: Path | None) -> Condition:
    """The condition of a recording's first five minutes, streamed; as its bytes would be read by a host."""
    lead = mitbih.load(record, data).channel(mitbih.LEAD)
    stream = Stream(
        bundle, fs_hz=lead.fs_hz, units=lead.units, resample="polyphase", channels=(mitbih.LEAD,), engine=engine,
        collect=EMBEDDING,
    )  # fmt: skip
    for first in range(0, round(CALIBRATION_S * lead.fs_hz), CHUNK_SAMPLES):
        stream.push(lead.samples[:, first : first + CHUNK_SAMPLES])
    return Condition.from_bytes(stream.condition().to_bytes())


def compared(
    people: BeatPeople, folder: Path, generator: Generator, bundle: Bundle, engine: Engine, records: Sequence[str]
) -> list[Twice]:
    """Both conditions of every recording, and what the generator makes of them.

    Parameters
    ----------
    people : BeatPeople
    folder : Path
        Of the global adapter that the bundle holds.
    generator : Generator
        One that takes conditions as devices send them.
    bundle : Bundle
    engine : Engine
    records : sequence of str
        Of MIT-BIH.
    """
    network, prior = slotted(people.backbone, folder)
    return [_twice(people, network, prior, generator, bundle, engine, record) for record in records]


def _twice(
    people: BeatPeople, network: SlottedNetwork, prior: Floats, generator: Generator, bundle: Bundle, engine: Engine,
    record: str,
) -> Twice:  # fmt: skip
    sent = by_device(bundle, record, engine, people.data)
    worn = people.seen(people.record(record), first_lead())
    found = embedded(network, worn.of(worn.time_s < CALIBRATION_S).signals).astype(np.float64)
    device = np.concatenate([sent.mean, sent.deviation]).astype(np.float64)
    trained = np.concatenate([found.mean(0), found.std(0)])
    made = generator.weights(np.stack([device, trained]))
    later = np.flatnonzero(worn.time_s >= CALIBRATION_S)
    kept = later[np.linspace(0, len(later) - 1, min(JUDGED_WINDOWS, len(later))).round().astype(np.int64)]
    signals = worn.of(kept).signals
    called = [logits_of(network, prior, embedded(network, signals, residual)).argmax(1) for residual in made]
    apart = float(np.linalg.norm(made[0] - made[1]) / max(float(np.linalg.norm(made[1])), np.finfo(float).tiny))
    return Twice(
        record=record, device=device, trained=trained, apart=apart, same_label=float((called[0] == called[1]).mean())
    )  # fmt: skip


def distances(people: Sequence[Twice]) -> NDArray[np.float64]:
    """Root mean square difference (device's, training's) of every pair of people, features in units of their spread.

    What is alike for everybody tells nobody from anybody, and is left out.
    """
    device, trained = (np.stack([getattr(one, name) for one in people]) for name in ("device", "trained"))
    scale = trained.std(0)
    apart = (device[:, None] - trained[None])[..., scale > 0] / scale[scale > 0]
    return np.asarray(np.sqrt((apart**2).mean(-1)))


def condition_rows(people: Sequence[Twice], group: str) -> list[Row]:
    """Figures with intervals over people.

    ``to_own`` is how far a device's condition lies from the same person's as generators learn from, ``to_others`` the
    mean over everybody else's; ``nearest_is_own`` how often it lies nearest to its own.
    """
    between, n = distances(people), len(people)
    own = between.diagonal()
    values = {
        "to_own": own,
        "to_others": (between.sum(1) - own) / (n - 1),
        "nearest_is_own": (between.argmin(1) == np.arange(n)).astype(np.float64),
        "adapters_apart": np.array([one.apart for one in people]),
        "same_label": np.array([one.same_label for one in people]),
    }
    rows = []
    for metric, found in values.items():
        value, low, high = subject_bootstrap(np.stack([found, np.ones(n)], -1)[None], _mean)
        rows.append(
            Row(task=NAME, arm=ARM, group=group, metric=metric, unit="1", value=value, low=low, high=high, n=n, seeds=1)
        )
    return rows


def _mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[..., 0] / sums[..., 1])
