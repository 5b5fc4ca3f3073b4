"""The arrhythmia task: one judgement a heart beat, normal, supraventricular or ventricular.

Labels are the AAMI EC57 classes N, S and V. Beats of F (fusion) and Q (unknown) are never fitted on and not scored in
the three-class figures; where they land is a row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.signals.recording import Recording
from physioedge_runtime.bundle.contract import (
    SCHEMA_VERSION,
    Contract,
    SensorSpec,
    Thresholds,
    TriggerSpec,
    WindowSpec,
)
from physioedge_runtime.signal.resample import resample
from physioedge_runtime.signal.windows import cut_windows

NAME = "arrhythmia"
LABELS = ("N", "S", "V")
ALL_CLASSES = (*LABELS, "F", "Q")
LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=32, pool_tokens=5),))
"""6.4 s of one lead, of which the last second, with the judged beat in it, makes the embedding."""
LOOKAHEAD_SAMPLES = 75
"""0.6 s at 125 Hz: the QRS complex, the ST segment and most of the T wave of the judged beat."""
MIN_QUALITY = 0.7
MIN_PROBABILITY = 0.5


def window_spec(config: BackboneConfig, layout: Layout = LAYOUT) -> WindowSpec:
    """The beat-triggered window of a backbone."""
    lead = layout.sensors[0]
    modality = config.modality(lead.kind)
    return WindowSpec(
        context_samples=modality.context_samples,
        window_samples=lead.window_samples(modality),
        lookahead_samples=LOOKAHEAD_SAMPLES,
        trigger="beat",
    )


def contract_for(backbone_digest: str, config: BackboneConfig, layout: Layout = LAYOUT) -> Contract:
    """The contract of an arrhythmia bundle on a given backbone; slots are filled in by the exporter."""
    cut = window_spec(config, layout)
    return Contract(
        schema_version=SCHEMA_VERSION,
        task=NAME,
        labels=LABELS,
        sensors=(
            SensorSpec(
                name="ecg",
                modality="ecg",
                fs_hz=config.modality("ecg").fs_hz,
                units="mV",
                channels=(mitbih.LEAD,),
                low=-10.0,
                high=10.0,
                context_samples=cut.context_samples,
                window_samples=cut.window_samples,
            ),
        ),
        trigger=TriggerSpec(kind="beat", lookahead_samples=LOOKAHEAD_SAMPLES),
        thresholds=Thresholds(min_quality=MIN_QUALITY, min_probability=MIN_PROBABILITY),
        embedding_dim=layout.embedding_dim(config),
        backbone_digest=backbone_digest,
    )


@dataclass(frozen=True, kw_only=True)
class BeatRecord:
    """One record ready for windows: signal at the canonical rate and its beats.

    Attributes
    ----------
    name, subject : str
    signal : float32 (2, sample), mV
        The judged lead first, the other lead second.
    anchor : int64 (beat,)
        R peaks in samples at the canonical rate.
    label : int64 (beat,)
        Index into `ALL_CLASSES`.
    """

    name: str
    subject: str
    signal: NDArray[np.float32]
    anchor: NDArray[np.int64]
    label: NDArray[np.int64]

    def windows(self, cut: WindowSpec) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Windows (beat, 1, input_samples) of the judged lead and the indices of the beats that have one."""
        return cut_windows(self.signal[:1], self.anchor, cut)


def anchors_at(sample: NDArray[np.int64], fs_in_hz: float, fs_out_hz: float) -> NDArray[np.int64]:
    """Sample indices at another rate, rounded to the nearest sample."""
    return np.asarray(np.rint(sample * (fs_out_hz / fs_in_hz)), np.int64)


def beat_record(recording: Recording, fs_hz: float) -> BeatRecord:
    """Resample a two-lead recording and bring its beats along."""
    sample, label = mitbih.beats(recording)
    lead = recording.channels.index(mitbih.LEAD)
    order = [lead, *(i for i in range(len(recording.channels)) if i != lead)]
    return BeatRecord(
        name=recording.name,
        subject=recording.subject,
        signal=resample(recording.samples[order], recording.fs_hz, fs_hz),
        anchor=anchors_at(sample, recording.fs_hz, fs_hz),
        label=np.array([ALL_CLASSES.index(name) for name in label], np.int64),
    )


def load_records(records: tuple[str, ...], fs_hz: float, root: Path | None = None) -> list[BeatRecord]:
    """Records of MIT-BIH at the canonical rate."""
    return [beat_record(mitbih.load(record, root), fs_hz) for record in records]
