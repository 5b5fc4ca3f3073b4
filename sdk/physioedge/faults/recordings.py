"""Real recordings for the rows about signals: those that ship, and public ones where they are on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from physioedge.datasets import mitbih, stress_predict, troika
from physioedge.datasets.registry import folder
from physioedge.faults.worn import ECG, WRIST, Samples, Worn, shipped
from physioedge.signals.recording import Recording

OF_BUNDLE: Mapping[str, tuple[str, ...]] = {ECG: ("mitbih",), WRIST: ("troika", "stress_predict")}
"""Public sets with the sensors of each shipped bundle."""
_SETS = {"mitbih": mitbih, "troika": troika, "stress_predict": stress_predict}


def sets_here(name: str) -> list[str]:
    """Which of them are on this machine."""
    return [one for one in OF_BUNDLE[name] if folder(one) is not None]


def records_of(dataset: str) -> tuple[str, ...]:
    """Records that fit the bundle: of MIT-BIH those with the lead it was trained on."""
    found = _SETS[dataset].records()
    return tuple(r for r in found if r not in ("102", "104")) if dataset == "mitbih" else found


@lru_cache(maxsize=4)
def worn_of(name: str, dataset: str, record: str) -> Worn:
    """A shipped bundle with one public record, the first channel of each of its sensors where there are more."""
    worn = shipped(name)
    loaded = _SETS[dataset].load(record)
    held = {worn.contract.sensor.name: loaded} if isinstance(loaded, Recording) else loaded.recordings
    samples: dict[str, Samples] = {}
    for sensor in worn.contract.sensors:
        one = held[sensor.name]
        rows = [one.channels.index(c) if c in one.channels else i for i, c in enumerate(sensor.channels)]
        samples[sensor.name] = one.samples[rows]
    return replace(worn, samples=samples, fs_hz={sensor: held[sensor].fs_hz for sensor in samples})


def parts(name: str, long_s: float, rng: np.random.Generator) -> Iterator[Worn]:
    """Endlessly: the shipped recording, and in turn parts of public ones where there are any."""
    own, sets = shipped(name), sets_here(name)
    while True:
        yield part(own, long_s, rng)
        if sets:
            dataset = str(rng.choice(sets))
            yield part(worn_of(name, dataset, str(rng.choice(records_of(dataset)))), long_s, rng)


def part(worn: Worn, long_s: float, rng: np.random.Generator) -> Worn:
    """So many seconds of it, from anywhere."""
    whole_s = min(x.shape[1] / worn.fs_hz[sensor] for sensor, x in worn.samples.items())
    start_s = float(rng.uniform(0.0, max(0.0, whole_s - long_s)))
    cut = {}
    for sensor, x in worn.samples.items():
        first = round(start_s * worn.fs_hz[sensor])
        cut[sensor] = x[:, first : first + round(long_s * worn.fs_hz[sensor])]
    return replace(worn, samples=cut)
