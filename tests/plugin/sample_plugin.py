"""What another package may bring: a source, a dataset, a task and an engine, each in a few lines.

The task is whole: ``physioedge evaluate ticks``, ``train global --task ticks`` and ``export --task ticks`` take it.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from physioedge.datasets.info import DatasetInfo
from physioedge.sources.protocol import Chunk, SensorInfo
from physioedge.tasks.cards import TaskCard
from physioedge.tasks.windowed import CANONICAL_HZ, CONTEXT_S, Task, TaskWindows


class Metronome:
    """A source: an ECG of one impulse a second."""

    live = True

    def __init__(self, address, params, wanted, told):
        self.seconds = int(address)
        fs_hz, units = wanted[0].fs_hz, wanted[0].units
        self.sensors = {"ecg": SensorInfo(name="ecg", fs_hz=fs_hz, units=units, channels=("I",), origin="metronome")}

    def chunks(self):
        samples = round(self.sensors["ecg"].fs_hz)
        for second in range(self.seconds):
            one = np.zeros((1, samples), np.float32)
            one[0, samples // 2] = 1.0
            yield Chunk("ecg", one, float(second), float(second + 1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


TASK = Task(
    name="ticks", dataset="ticks", labels=("tick", "tock"), units="class", sensors=("ecg",), window_s=2.0, hop_s=1.0,
    metric="macro_f1", protocol="Six people made of noise, three folds of two.",
)  # fmt: skip
CARD = TaskCard(
    judges="Tells a tick from a tock.", answers={"tick": "upwards", "tock": "downwards"}, limits=("Nobody ticks.",)
)
CHANNELS = {"ecg": ("I",)}
FIT = {"steps": 4, "batch": 8}


def windows(root=None, *, context_s=CONTEXT_S, progress=None):
    """Of six people, eight windows each: an impulse upwards or downwards in noise."""
    rng, n, fs_hz = np.random.default_rng(0), 48, CANONICAL_HZ["ecg"]
    target = np.arange(n) % 2
    past = round(context_s * fs_hz)
    samples = np.random.default_rng(1).standard_normal((n, 1, past + round(TASK.window_s * fs_hz))) * 0.02
    samples[np.arange(n), 0, past + rng.integers(50, 200, n)] += np.where(target == 0, 1.0, -1.0)
    person = np.arange(n) // 8
    return TaskWindows(
        task=TASK, samples={"ecg": samples.astype(np.float32)}, context_s=context_s, target=target,
        subject=np.array([f"ticks:{i}" for i in person]), record=np.array([f"r{i}" for i in person]),
        start_s=(np.arange(n) % 8).astype(np.float64), calibration=np.zeros(n, bool), fold=person // 2,
    )  # fmt: skip


ticks = SimpleNamespace(
    INFO=DatasetInfo(
        name="ticks", title="Two ticks of nobody", licence="CC0-1.0", citation="none", source="made up", get="nothing",
        modalities=("ecg",), tasks=("ticks",), records=2, subjects=1, hours=0.1,
    ),
    records=lambda root=None: ("a", "b"),
    subjects=lambda root=None: ("ticks:1",),
    subject_of=lambda record, root=None: "ticks:1",
)  # fmt: skip


class ReferenceEngine:
    """An engine: onnx's own evaluator, slow and right."""

    graphs = "onnxruntime"
    name = "onnx reference"
    refused: tuple[str, ...] = ()

    def __init__(self, bundle, entry, *, threads):
        self._model = ReferenceEvaluator(onnx.load_from_string(bytes(bundle.read(entry.file))))
        self._inputs = tuple(bundle.contract.input_shapes)
        self._outputs = [bundle.contract.output_name, "embedding"]
        self.slots = bundle.contract.slots if entry.adapters == "slots" else ()

    def run(self, signals, adapter=None):
        given = signals if isinstance(signals, tuple) else (signals,)
        zeros = {slot.name: np.zeros(slot.shape, np.float32) for slot in self.slots}
        first, embedding = self._model.run(
            self._outputs, {**dict(zip(self._inputs, given, strict=True)), **zeros, **(adapter or {})}
        )
        return first, embedding


class WrongEngine(ReferenceEngine):
    """One that is a little off."""

    def run(self, signals, adapter=None):
        first, embedding = super().run(signals, adapter)
        return first + 0.5, embedding
