"""End to end beside the bare engine, and swaps, with an engine whose time is known."""

from __future__ import annotations

import time

import numpy as np
import pytest

from physioedge.bench.streaming import TimedEngine, stream_pass, swap_times
from physioedge.cli.console import SHIPPED_RECORD
from physioedge.signals.read import read_recording
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import EngineError
from tiny_bundle import DIM, RANK, SLOT, tiny_contract, write_tiny_bundle

SLEEP_MS = 2.0


class Sleeper:
    """An engine that takes `SLEEP_MS`, and half more for each new adapter."""

    name = "sleeper"
    slots = (SlotSpec(name=SLOT, shape=(RANK, DIM)),)

    def __init__(self) -> None:
        self.adapter, self.windows = None, []

    def run(self, window, adapter=None):
        new = adapter is not self.adapter
        self.adapter = adapter
        self.windows.append(window.shape)
        time.sleep((1.5 if new else 1.0) * SLEEP_MS / 1e3)
        return np.zeros((1, 3), np.float32), np.zeros((1, DIM), np.float32)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A bundle, twenty seconds of the shipped recording, and two windows."""
    contract = tiny_contract(context=249, window=800, lookahead=75)
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("b") / "t.physio", contract=contract)
    recording = read_recording(SHIPPED_RECORD, channels=contract.sensor.channels)
    seconds = recording.samples[:, : int(20 * recording.fs_hz)]
    return bundle, seconds, recording.fs_hz, recording.units, np.zeros((2, 1, 1049), np.float32)


def test_the_engines_time_is_told_from_the_rest(parts):
    bundle, signal, fs_hz, units, windows = parts
    engine = Sleeper()
    found = stream_pass(bundle, engine, signal, fs_hz, units, 0.25, windows)
    assert found["judged"] == len(engine.windows) - len(windows) > 10
    assert found["results"] >= found["judged"]
    assert found["engine_ms"] >= SLEEP_MS and found["bare_ms"] >= SLEEP_MS
    assert found["total_ms"] == pytest.approx(found["engine_ms"] + found["overhead_ms"])
    assert 0 < found["emit_overhead_ms"] < found["emit_ms"]
    assert found["emit_ms"] >= SLEEP_MS and 0 < found["silent_ms"] < found["emit_ms"]


def test_larger_pushes_give_the_same_results(parts):
    bundle, signal, fs_hz, units, windows = parts
    counts = [stream_pass(bundle, Sleeper(), signal, fs_hz, units, s, windows)["judged"] for s in (0.1, 0.5)]
    assert counts[0] == counts[1]


def test_a_signal_without_beats_is_an_error_and_no_figure(parts):
    bundle, signal, fs_hz, units, windows = parts
    with pytest.raises(EngineError, match="0 judged"):
        stream_pass(bundle, Sleeper(), np.zeros_like(signal), fs_hz, units, 0.25, windows)


def test_a_swap_is_what_a_new_adapter_adds(parts):
    added = swap_times(Sleeper(), parts[-1], 11)
    assert len(added) == 11
    assert np.median(added) == pytest.approx(0.5 * SLEEP_MS, abs=0.3)


def test_the_timer_hands_on_what_it_does_not_time():
    engine = TimedEngine(Sleeper())
    assert engine.name == "sleeper" and engine.slots[0].name == SLOT
    engine.run(np.zeros((1, 1, 4), np.float32))
    assert engine.runs == 1 and engine.ms >= SLEEP_MS
