"""BrainFlow's synthetic board, the real library."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.sources.brainflow_board import BrainFlowSource
from physioedge.sources.protocol import Told
from physioedge_runtime.errors import ChannelMismatch, SampleRateMismatch, SourceError, UnitMismatch, UnknownSensor
from tiny_bundle import tiny_sensor

pytest.importorskip("brainflow")
ECG = tiny_sensor()
ACC = tiny_sensor(name="arm", modality="acc", units="g", channels=("x", "y", "z"))


def test_samples_of_two_sensors():
    told = Told(sensors={"ecg": ("ecg2", "ecg1")})
    source = BrainFlowSource("Synthetic", {}, [ECG, ACC], told)
    assert source.sensors["ecg"].describe() == "brainflow:Synthetic: ecg2, ecg1 [uV] at 250 Hz, live"
    assert source.sensors["arm"].channels == ("x", "y", "z")
    chunks = []
    with source:
        for chunk in source.chunks():
            chunks.append(chunk)
            if chunk.sensor == "ecg" and chunk.until_s > 1.5:
                break
    ecg = [c for c in chunks if c.sensor == "ecg"]
    n = sum(c.samples.shape[1] for c in ecg)
    assert {c.samples.shape[0] for c in ecg} == {2} and {c.samples.dtype for c in ecg} == {np.dtype(np.float32)}
    assert n == pytest.approx(ecg[-1].until_s * 250, rel=0.2)
    assert ecg[-1].t_s - ecg[0].t_s == pytest.approx((n - ecg[-1].samples.shape[1]) / 250, abs=0.1)
    assert np.concatenate([c.samples for c in ecg], axis=1).std() > 1


@pytest.mark.parametrize(
    ("board", "params", "wanted", "told", "error", "words"),
    [
        ("toaster", {}, ECG, Told(), SourceError, "board 'toaster'; expected one of .*synthetic"),
        ("synthetic", {"speed": "9"}, ECG, Told(), SourceError, "parameter 'speed'"),
        ("synthetic", {"timeout": "x"}, ECG, Told(), SourceError, "timeout='x'"),
        ("synthetic", {}, tiny_sensor(name="b", modality="rr"), Told(), UnknownSensor, "without rr for sensor 'b'"),
        ("synthetic", {}, ECG, Told(fs_hz=125), SampleRateMismatch, "250 Hz by itself"),
        ("synthetic", {}, ECG, Told(channels=("V1",)), ChannelMismatch, "expected one of ecg1, ecg2"),
        ("synthetic", {}, tiny_sensor(name="eda", modality="eda"), Told(), UnitMismatch, "no unit"),
    ],
)
def test_what_a_board_does_not_give(board, params, wanted, told, error, words):
    with pytest.raises(error, match=words):
        BrainFlowSource(board, params, [wanted], told)


def test_a_unit_that_boards_differ_in_is_told():
    source = BrainFlowSource("synthetic", {}, [tiny_sensor(name="eda", modality="eda")], Told(units="uS"))
    assert (source.sensors["eda"].units, source.sensors["eda"].channels) == ("uS", ("eda",))


def test_a_board_that_is_not_there():
    source = BrainFlowSource("cyton", {"serial_port": "/dev/no-such-port"}, [ACC], Told())
    with pytest.raises(SourceError, match=r"brainflow:cyton: .*PORT.*expected a board that answers"), source:
        pass
