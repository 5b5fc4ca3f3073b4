"""What the demo makes personal: a recording, its bundle, and when what happens to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from physioedge.cli.annotated import annotated, in_force
from physioedge.cli.console import SHIPPED_BUNDLE, SHIPPED_RECORD
from physioedge.report.personalised import Part
from physioedge.signals.recording import Recording
from physioedge_runtime import Bundle, Result

BEATS = Part(
    title="Made personal",
    opening="the same recording, made personal:",
    noun="beats",
    worth="What this generator is worth: over 22 people of MIT-BIH whom nothing was fitted on, about 0.01 of macro-F1 "
    "beyond levelling (docs/personalisation.md). It shows the way an adapter takes more than a gain; and one person's "
    "few beats prove nothing either way.",
)
STRESS = Part(
    title="Stress from the wrist, made personal",
    opening="person S15 of Stress-Predict with a wristband, pulse wave, movement, skin conductance and temperature: a "
    "window of stress or rest every half minute, made personal:",
    noun="windows",
    worth="What such a generator is worth: over 20 people whom neither backbone, model nor generator had seen, 0.04 of "
    "accuracy over the global model, and nobody's condition gives as much: what comes is everybody's "
    "(docs/personalisation.md). One person's half an hour proves nothing either way.",
    source="The hour on the wrist: person S15 of the Stress-Predict dataset "
    "(https://github.com/italha-d/Stress-Predict-Dataset), MIT licence, copyright 2022 Talha Iqbal.",
    over_time="stress",
)
PASSES = 3
"""One pass of the beats is too short for what their bundle's change plan wants to see."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is played, and when what happens.

    Attributes
    ----------
    part : Part
    bundle : Bundle
    recordings : mapping of sensor to Recording
        As often as they are played, one after the other; the leading one first.
    passes : int
        How often.
    level_after_s, ask_after_s, rollback_after_s : float
        Signal pushed before a level is taken, a host is asked, and the adapter is rolled back.
    truth : callable
        Annotated class of each of some results, None where there is none.
    """

    part: Part
    bundle: Bundle
    recordings: Mapping[str, Recording]
    passes: int
    level_after_s: float
    ask_after_s: float
    rollback_after_s: float
    truth: Callable[[Sequence[Result]], tuple[str | None, ...]]

    @property
    def whole_s(self) -> float:
        """Length of everything that is played."""
        first_s = min(one.t0_s for one in self.recordings.values())
        return max(one.t0_s + one.duration_s for one in self.recordings.values()) - first_s

    def heard_bytes(self, until_s: float) -> int:
        """Bytes of the signal up to then as 32-bit samples; of one pass at most."""
        heard_s = min(until_s, self.whole_s / self.passes)
        return sum(4 * one.samples.shape[0] * round(heard_s * one.fs_hz) for one in self.recordings.values())


def beats() -> Course:
    """The shipped ECG through the shipped bundle, three times over."""
    from physioedge.signals.read import read_recording

    bundle = Bundle.open(SHIPPED_BUNDLE)
    once = read_recording(SHIPPED_RECORD, channels=bundle.contract.sensor.channels)
    recording = repeated(once, PASSES)
    return Course(
        part=BEATS, bundle=bundle, recordings={bundle.contract.sensor.name: recording}, passes=PASSES,
        level_after_s=0.5 * once.duration_s, ask_after_s=once.duration_s, rollback_after_s=2.5 * once.duration_s,
        truth=partial(_of_beats, recording),
    )  # fmt: skip


def stress() -> Course:
    """A shipped hour with a wristband through the bundle that lies beside it.

    Raises
    ------
    MissingExtra
        They come with the weights, which are not installed.
    """
    from physioedge.models.shipped import stress_hour
    from physioedge.signals.npz import read_npz_session

    hour = stress_hour()
    bundle = Bundle.open(hour.bundle, trust=hour.trust)
    held = read_npz_session(hour.record).recordings
    recordings = {sensor.name: held[sensor.name] for sensor in bundle.contract.sensors}
    window_s = max(sensor.window_samples / sensor.fs_hz for sensor in bundle.contract.sensors)
    lead = next(iter(recordings.values()))
    return Course(
        part=STRESS, bundle=bundle, recordings=recordings, passes=1, level_after_s=1000.0, ask_after_s=1460.0,
        rollback_after_s=2900.0, truth=partial(in_force, lead, window_s=window_s, labels=bundle.contract.labels),
    )  # fmt: skip


def _of_beats(recording: Recording, results: Sequence[Result]) -> tuple[str | None, ...]:
    truth, _ = annotated(recording, results)
    return (None,) * len(results) if truth is None else truth


def repeated(recording: Recording, times: int) -> Recording:
    """A recording played several times over, with its annotations."""
    notes, length = recording.annotations, recording.samples.shape[1]
    if notes is not None:
        at = np.concatenate([notes.sample + i * length for i in range(times)])
        notes = replace(notes, sample=at, symbol=notes.symbol * times, note=notes.note * times)
    return replace(recording, samples=np.tile(recording.samples, (1, times)), annotations=notes)
