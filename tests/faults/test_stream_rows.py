"""R9, R10 and R11: the runtime holds, and a runtime that does not is found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physioedge.faults import chunking, host_away, long_run
from physioedge.faults.careless_host import TALKS, careless_host
from physioedge.faults.row import Setting
from physioedge_runtime.adaptation.link import Link
from physioedge_runtime.adaptation.outbox import Outbox
from physioedge_runtime.errors import HostError
from physioedge_runtime.signal.track import Track
from physioedge_runtime.stream import Stream

TINY = 0.001


def setting(folder: Path, seed: int = 0) -> Setting:
    return Setting(work=folder, share=TINY, seed=seed)


def test_any_pieces_any_order_and_restarts_give_the_same_bits(tmp_path: Path) -> None:
    outcome = chunking.trial(setting(tmp_path))
    assert outcome.holds and outcome.tried == 6 and outcome.figures["windows"] > 100


def test_a_snapshot_goes_through_text_unchanged() -> None:
    state = {"a": [1.5, -float("inf")], "b": {"c": np.arange(6, dtype=np.float32).reshape(2, 3)}, "d": None, "e": "x"}
    again = chunking.from_text(chunking.to_text(state))
    assert again["b"]["c"].dtype == np.float32 and np.array_equal(again["b"]["c"], state["b"]["c"])  # type: ignore[index]
    assert {k: v for k, v in again.items() if k != "b"} == {k: v for k, v in state.items() if k != "b"}
    with pytest.raises(TypeError, match="set in a snapshot"):
        chunking.to_text({"a": {1}})


def test_output_that_depends_on_chunks_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = Track.append
    monkeypatch.setattr(Track, "append", lambda self, x: append(self, x * np.float32(1 + 1e-6 * (x.shape[1] % 7))))
    outcome = chunking.trial(setting(tmp_path))
    assert not outcome.holds and outcome.lost == outcome.tried


def test_a_snapshot_that_forgets_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Stream.snapshot
    monkeypatch.setattr(Stream, "snapshot", lambda self: {**snapshot(self), "adapter_id": "nobody's"})
    losses = chunking.trial(setting(tmp_path)).notes[1:]
    assert losses and all(note.startswith("restored") for note in losses)


@pytest.fixture
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_away, "_PASS_S", 40.0)


@pytest.mark.usefixtures("shorter")
def test_a_host_that_misbehaves_disturbs_nothing(tmp_path: Path) -> None:
    """The ratio of the two p99 means nothing in so short a run."""
    outcome = host_away.trial(setting(tmp_path))
    assert outcome.lost == 0, outcome.notes
    assert outcome.tried > len(TALKS) + 1000 and outcome.figures["longest_try_s"] < 1.5


@pytest.mark.usefixtures("shorter")
def test_an_outbox_that_raises_anything_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poll(self: Any, link: Any) -> bytes | None:
        raise ValueError("a surprise")

    monkeypatch.setattr(Outbox, "poll", poll)
    monkeypatch.setattr(host_away, "TALKS", {})
    monkeypatch.setattr(host_away, "_days", lambda device, long_s: (1, []))
    monkeypatch.setattr(host_away, "_good", lambda device, host, adapter: [])
    outcome = host_away.trial(setting(tmp_path))
    assert not outcome.holds and any("ValueError: a surprise" in note for note in outcome.notes)


def test_an_answer_that_is_left_unread_holds_no_socket() -> None:
    with careless_host() as host:
        host.does("an endless answer", b"")
        link = Link(f"http://127.0.0.1:{host.port}", "watch-7", "t" * 40, timeout_s=2.0)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(HostError, match="more than") as refused:
            link.ask(b"", 0)
        assert refused.value.__traceback__ is not None, "which keeps whatever the try left open"
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_long_run_equals_the_batch(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the small bundle is written with onnx")
    outcome = long_run.trial(setting(tmp_path))
    assert outcome.lost == 0 and outcome.holds, outcome.notes
    assert outcome.figures["windows"] >= 4000 and outcome.figures["swaps"] >= 10
    assert outcome.figures["judged_share"] > 0.9


def test_a_swap_that_does_not_happen_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="the small bundle is written with onnx")
    monkeypatch.setattr(Stream, "set_adapter", lambda self, adapter, adapter_id="global": None)
    outcome = long_run.trial(setting(tmp_path))
    assert not outcome.holds and any("another embedding" in note for note in outcome.notes)


@pytest.mark.parametrize("what", ["memory", "file handles", "files of the store"])
def test_a_slope_is_found_out(what: str, tmp_path: Path) -> None:
    seen = long_run.Seen(200)
    for i in range(200):
        seen.look(1000 * (i + 1), tmp_path)
    seen.bytes[:] = seen.handles[:] = seen.files[:] = 7
    assert seen.grows() == [] and abs(seen.slope_bytes()) < 1e-9
    changed = {"memory": seen.bytes, "file handles": seen.handles, "files of the store": seen.files}[what]
    changed[:] = 7 + (8000 if what == "memory" else 1) * np.arange(200) // (1 if what == "memory" else 20)
    assert len(seen.grows()) == 1 and seen.grows()[0].startswith(what)
