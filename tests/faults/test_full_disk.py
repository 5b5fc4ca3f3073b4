"""R13 would tell a disk error that gets out, and an adapter that stops serving."""

from __future__ import annotations

from pathlib import Path

import pytest

from physioedge.faults import full_disk, real_disk
from physioedge.faults.failing_device import ACTIONS, AFTER, OLD, Signal
from physioedge_runtime.adaptation.adapting import Adaptation
from physioedge_runtime.adaptation.disk import FolderDisk
from physioedge_runtime.adaptation.files import StoreFiles


@pytest.fixture(scope="module")
def signal() -> Signal:
    return Signal.recorded()


def test_every_action_has_side_effects_and_a_result(signal: Signal) -> None:
    assert set(AFTER) == set(ACTIONS)
    assert all(full_disk._n_effects(signal, action) >= 4 for action in ACTIONS)
    assert {result.adapter for result in signal.truth.values()} == {
        "global", "adapter-001", "adapter-002", "adapter-003",
    }  # fmt: skip


def test_an_error_that_gets_out_is_a_loss(signal: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(self: StoreFiles, name: str, data: bytes) -> None:
        self._disk.write(name, data)

    monkeypatch.setattr(StoreFiles, "_write", bare)
    fault = full_disk._guarded(signal, "install", "full for good", 1)
    assert fault.startswith("OSError")


def test_an_adapter_that_serves_though_the_disk_failed_is_a_loss(
    signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert full_disk._guarded(signal, "rollback", "full for good", 1) == ""
    monkeypatch.setattr(Adaptation, "step", lambda self, results: self.stream.set_adapter(None))
    assert "results under global" in full_disk._guarded(signal, "rollback", "full for good", 1)


def test_a_result_that_differs_in_its_last_bit_is_a_loss(signal: Signal) -> None:
    results = [result for result in signal.truth.values() if result.adapter == "adapter-002"]
    assert signal.fault_in(results, {OLD}) == ""
    assert "under adapter-002" in signal.fault_in(results, {0})
    assert "judged nothing" in signal.fault_in([], {OLD})
    other = [result for result in signal.truth.values() if result.adapter == "adapter-003" and result.judged]
    from dataclasses import replace

    assert "another than" in signal.fault_in([replace(other[-1], adapter="adapter-002")], {OLD})


def test_a_store_that_writes_without_its_lock_is_told(
    signal: Signal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "lock taken away, and taken"
    assert real_disk._harmed(signal, real_disk._folder(tmp_path / "a"), "pin", kind) == ""
    monkeypatch.setattr(FolderDisk, "_check_held", lambda self: None)
    assert "pin" in real_disk._harmed(signal, real_disk._folder(tmp_path / "b"), "pin", kind)
