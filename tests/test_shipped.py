"""The shipped bundle on real recordings: streamed equals judged one by one, and nobody of the test was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physioedge.adapters.lora.files import load_note
from physioedge.datasets import mitbih
from physioedge.datasets.splits import FOLDER, load_split
from physioedge.generator.files import load_generator
from physioedge.models import shipped
from physioedge.models.checkpoint import load_backbone
from physioedge.signals.npz import read_npz_session
from physioedge.signals.read import read_recording
from physioedge.signals.recording import Recording
from physioedge.tasks.arrhythmia import LAYOUT
from physioedge_runtime import Bundle, Result, Stream
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.condition import ConditionSpec
from physioedge_runtime.adaptation.own_signal import own_signal
from physioedge_runtime.engine import load_engine
from physioedge_runtime.result import softmax
from physioedge_runtime.signal.resample import resample
from physioedge_runtime.signal.windows import cut_windows

ASSETS = Path(__file__).parents[1] / "device_runtime" / "physioedge_runtime" / "assets"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(ASSETS / "arrhythmia.physio")


def streamed(bundle: Bundle, recording: Recording, chunk: int) -> list[Result]:
    stream = Stream(bundle, fs_hz=recording.fs_hz, units=recording.units, resample="polyphase", channels=(mitbih.LEAD,))
    out: list[Result] = []
    for start in range(0, recording.samples.shape[1], chunk):
        out += stream.push(recording.samples[:, start : start + chunk])
    return out + stream.flush()


def check_against_batch(bundle: Bundle, recording: Recording) -> int:
    """Judged results against the engine run on windows cut from the whole resampled record; returns how many."""
    results = [r for r in streamed(bundle, recording, 1000) if r.probabilities]
    canonical = resample(recording.samples, recording.fs_hz, bundle.contract.sensor.fs_hz)
    anchors = np.array([round(r.t_anchor_s * bundle.contract.sensor.fs_hz) for r in results], np.int64)
    windows, kept = cut_windows(canonical, anchors, bundle.contract.window)
    assert len(kept) == len(results)
    engine = load_engine(bundle)
    for result, window in zip(results, windows, strict=True):
        expected = softmax(engine.run(window[None])[0][0])
        assert np.allclose(result.probabilities, expected, rtol=0, atol=1e-4)
        if result.label is not None:
            assert result.label == bundle.contract.labels[int(np.argmax(expected))]
    return len(results)


def test_streaming_a_sample_record_equals_the_batch(bundle: Bundle, sample_records: Path) -> None:
    recording = read_recording(sample_records / "213").channel(mitbih.LEAD)
    assert check_against_batch(bundle, recording) > 1000


@pytest.mark.data
@pytest.mark.slow
def test_streaming_a_whole_test_record_equals_the_batch(bundle: Bundle, mitbih_root: Path) -> None:
    for record in ("213", "232"):
        recording = mitbih.load(record, mitbih_root).channel(mitbih.LEAD)
        assert check_against_batch(bundle, recording) > 1500


def test_any_chunking_of_a_real_record_gives_identical_results(bundle: Bundle, sample_records: Path) -> None:
    recording = read_recording(sample_records / "232").channel(mitbih.LEAD)
    short = Recording(**{**recording.__dict__, "samples": recording.samples[:, : 360 * 60], "annotations": None})
    whole, pieces = streamed(bundle, short, 10**6), streamed(bundle, short, 37)
    assert whole == pieces
    assert len(whole) > 20


def test_the_shipped_weights_have_seen_nobody_of_the_test_set(bundle: Bundle) -> None:
    """The adapter has seen DS1 without 201; the backbone, unlabelled, people of other sets too, and nobody judged.

    A teacher's people, whom the adapter has seen too, are of a set that no table judges this adapter on; fits of `af`
    that are judged there have not seen them (weights/README.md).
    """
    seen = set(bundle.manifest.provenance["training_subjects"])
    assert {s for s in seen if s.startswith("mitbih:")} == {mitbih.subject_of(record) for record in mitbih.FIT}
    assert not seen & {mitbih.subject_of(record) for record in mitbih.DS2}
    judged = {s for path in FOLDER.glob("*.json") for s in load_split(path.stem).people(load_split(path.stem).evaluate)}
    unlabelled = set(load_backbone(shipped.backbone(), LAYOUT)[1].training_subjects)
    assert unlabelled and not unlabelled & judged
    note = load_note(shipped.adapter_of("arrhythmia"))
    assert seen == unlabelled | set(note.training_subjects)
    assert {s.partition(":")[0] for s in seen & judged} <= {"cinc2017"}
    told = (ASSETS.parents[2] / "weights" / "README.md").read_text(encoding="utf-8")
    assert f"{len(seen & judged)} of its recordings of `cinc2017`" in told


def test_nothing_shipped_was_fitted_on_whom_the_demo_shows() -> None:
    hour = shipped.stress_hour()
    bundle = Bundle.open(hour.bundle, trust=hour.trust)
    seen = set(bundle.manifest.provenance["training_subjects"])
    shown = {
        read_npz_session(path).subject for path in (hour.record, ASSETS / "wrist.npz")
    } | {read_recording(ASSETS / "excerpt.npz").subject}  # fmt: skip
    assert len(shown) == 3 and {s.partition(":")[0] for s in shown} == {"stress_predict", "mitbih"}
    for task in ("arrhythmia", "heart_rate", "stress"):
        seen |= set(load_note(shipped.adapter_of(task)).training_subjects)
    seen |= set(load_backbone(shipped.backbone(), LAYOUT)[1].training_subjects)
    assert len([s for s in seen if s.startswith("stress_predict:")]) == 33  # S01, without labels, by the backbone
    assert not seen & shown


def test_the_bundle_of_stress_is_of_its_adapter() -> None:
    """It says the people of the folder beside it, and has what the demo wants of it."""
    hour = shipped.stress_hour()
    bundle = Bundle.open(hour.bundle, trust=hour.trust)
    note = load_note(shipped.adapter_of("stress"))
    assert set(note.training_subjects) <= set(bundle.manifest.provenance["training_subjects"])
    assert bundle.contract.backbone_digest == note.backbone_digest and bundle.contract.slots
    assert own_signal(bundle) is not None and ConditionSpec.all_of(bundle) and ChangePlan.of(bundle).min_windows == 10
    generator = load_generator(shipped.generator_of("stress"))
    assert generator.task == "stress"
