"""The arrhythmia task: windows at annotated beats, and a contract that says what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physioedge.models.config import TINY
from physioedge.tasks import arrhythmia
from physioedge_runtime.bundle.contract import Contract, SlotSpec
from tiny_training import LAYOUT, SYMBOLS, beat_record, tiny_config, write_mitbih


def test_every_window_has_its_beat_at_the_anchor():
    record = beat_record()
    spec = arrhythmia.window_spec(tiny_config(), LAYOUT)
    windows, kept = record.windows(spec)
    assert windows.shape == (len(kept), 1, 274) and windows.dtype == np.float32
    assert spec.anchor_index == 274 - 1 - 75
    for window, beat in zip(windows[:, 0], kept, strict=True):
        anchor = record.anchor[beat]
        np.testing.assert_array_equal(window, record.signal[0, anchor - 198 : anchor + 76])
        around = np.abs(window[spec.anchor_index - 15 : spec.anchor_index + 16])
        assert abs(int(around.argmax()) - 15) <= 1
    room = (record.anchor >= 198) & (record.anchor + 76 <= record.signal.shape[1])
    assert kept.tolist() == np.flatnonzero(room).tolist()


def test_records_come_resampled_with_their_beats(tmp_path):
    peaks = write_mitbih(tmp_path, ("202",))
    (record,) = arrhythmia.load_records(("202",), 125.0, tmp_path)
    assert (record.name, record.subject) == ("202", "mitbih:201")
    assert record.signal.shape == (2, 3125) and record.signal.dtype == np.float32
    assert record.anchor.tolist() == np.rint(np.rint(peaks * 360) * 125 / 360).astype(int).tolist()
    classes = {"N": "N", "A": "S", "V": "V", "F": "F"}
    expected = [classes[SYMBOLS[i % len(SYMBOLS)]] for i in range(len(peaks))]
    assert [arrhythmia.ALL_CLASSES[i] for i in record.label] == expected
    for anchor in record.anchor[2:-2]:
        assert abs(int(record.signal[0, anchor - 10 : anchor + 11].argmax()) - 10) <= 1


def test_the_judged_lead_comes_first(tmp_path):
    write_mitbih(tmp_path, ("114",), duration_s=5.0)
    path = tmp_path / "mitbih" / "114.npz"
    with np.load(path) as file:
        values = dict(file)
    np.savez(path, **{**values, "ch_names": np.array(["V5", "MLII"])})
    (record,) = arrhythmia.load_records(("114",), 125.0, tmp_path)
    assert record.signal[0].min() < -0.5 and record.signal[1].max() > 1.0


def test_anchors_go_to_the_nearest_sample():
    assert arrhythmia.anchors_at(np.array([0, 1, 2, 360, 1000]), 360.0, 125.0).tolist() == [0, 0, 1, 125, 347]


@pytest.mark.parametrize("slots", [(), (SlotSpec(name="blocks.0.attention.q.B", shape=(8, 128)),)])
def test_the_contract_survives_json(slots):
    contract = replace(arrhythmia.contract_for("ab" * 32, TINY), slots=slots)
    assert Contract.from_json(contract.to_json()) == contract
    assert contract.labels == ("N", "S", "V") and contract.slots == slots
    assert contract.window.input_samples == 1049 and contract.window.anchor_index == 973
    sensor = contract.sensor
    assert (sensor.fs_hz, sensor.units, sensor.channels) == (125.0, "mV", ("MLII",))
    assert contract.embedding_dim == 128 and contract.backbone_digest == "ab" * 32
