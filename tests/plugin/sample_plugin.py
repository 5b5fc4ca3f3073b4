"""What another package may bring: a source, a dataset, a task and an engine, each in a few lines."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from physioedge.datasets.info import DatasetInfo
from physioedge.sources.protocol import Chunk, SensorInfo
from physioedge.tasks.windowed import Task


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
    metric="macro_f1", protocol="Nobody is judged.",
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
