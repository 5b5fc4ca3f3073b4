"""The session: what is judged and told is what a stream judges; actions, trials and their ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from made_up_view import session_of
from physioedge.cli.console import SHIPPED_BUNDLE, SHIPPED_RECORD
from physioedge.signals.read import read_recording
from physioedge.view.pace import Pace
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.adaptation.condition import MIN_WINDOWS


class Told:
    """All that a session posts, in order; time goes on only when it is said."""

    def __init__(self, session: Any) -> None:
        self.session, self.now_s, self.posted = session, 0.0, []
        session._pace = Pace(session._pace.speed, lambda: self.now_s)
        session.board.post = lambda message, at_s: self.posted.append(message)

    def passes(self, seconds: float, *, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.now_s += seconds / ticks
            self.session._serve()
            for _ in range(200):  # a tick does one step of signal when this machine is busy
                self.session._tick(time.monotonic())
                if self.session._pace.due_s - self.session._at_s < 1e-9 or self.session._over:
                    break

    def all(self, kind: str) -> list[Any]:
        return [one for message in self.posted for one in message.get(kind, [])]

    @property
    def state(self) -> dict[str, Any]:
        return self.posted[-1]["state"]

    @property
    def words(self) -> str:
        return " | ".join(line["text"] for line in self.all("log"))

    def do(self, action: str, value: float = 0.0) -> Any:
        return self.session._do(action, value)


@pytest.fixture
def told():
    with session_of() as session:
        yield Told(session)
        session.stop()


def test_the_page_is_told_what_a_stream_says(told):
    told.passes(40.0, ticks=50)
    recording = read_recording(SHIPPED_RECORD)
    bundle = Bundle.open(SHIPPED_BUNDLE)
    with Stream(bundle, fs_hz=recording.fs_hz, units="mV", resample="polyphase", channels=recording.channels,
                adapters="slots", engine=told.session._person.stream.engine) as stream:  # fmt: skip
        results = stream.push(recording.samples[:, : round(40.0 * recording.fs_hz)])
    got = told.all("results")
    assert [r["t_s"] for r in got] == [round(r.t_anchor_s, 4) for r in results] and len(got) > 50
    assert [r["label"] for r in got] == [r.label for r in results]
    assert told.state["judged"] + told.state["withheld"] == len(got)
    assert told.state["latency"]["p50_ms"] > 0 and told.state["at_s"] == 40.0


def test_held_is_held_and_speed_is_speed(told):
    told.passes(2.0)
    assert told.do("pause").done
    told.passes(5.0)
    assert told.state["at_s"] == 2.0 and not told.state["playing"]
    told.do("play")
    assert told.do("speed", 60.0).done and not told.do("speed", 3.0).done
    told.passes(0.5)
    assert told.state["at_s"] == 32.0 and told.state["speed"] == 60.0


def test_a_page_that_is_held_is_told_once(told):
    told.passes(2.0)
    told.do("pause")
    told.passes(0.1)
    before = len(told.posted)
    told.passes(1.0, ticks=10)
    assert len(told.posted) == before


def test_adapt_waits_for_the_windows_of_a_condition_too(told):
    """A plan may want fewer windows for a trial than a host is told statistics of."""
    guard = told.session._person.adaptation.guard
    guard.plan = replace(guard.plan, min_windows=5)
    told.passes(15.0, ticks=30)
    ready = told.state["ready"]
    assert guard.ready and ready["of"] == MIN_WINDOWS and 5 <= ready["windows"] < MIN_WINDOWS
    said = told.do("adapt")
    assert not said.done and f"of the {MIN_WINDOWS} judged windows" in said.text
    told.passes(30.0, ticks=60)
    assert told.state["ready"]["windows"] >= told.state["ready"]["of"]


def test_level_adapt_trial_and_rollback(told):
    """The way a person's adapter takes, on the page as in the demo."""
    told.passes(20.0)
    said = told.do("adapt")
    assert not said.done and "Too early" in said.text
    assert not told.do("rollback").done
    told.do("speed", 60.0)
    told.passes(1.5, ticks=40)
    level = told.do("level")
    assert level.done and "nobody asked" in level.text
    told.passes(0.5, ticks=10)
    assert told.state["adapter"]["bias"]["N"] == 0.0
    told.passes(1.5, ticks=40)  # the guard begins anew after a level
    assert told.state["ready"]["windows"] >= told.state["ready"]["of"]
    asked = told.do("adapt")
    assert asked.done and "no signal" in asked.text and told.session._person.asking
    for _ in range(400):
        told.passes(0.001)
        if told.session._person.store.phase == "trying":
            break
        time.sleep(0.02)
    assert "is verified and on trial" in told.words
    assert not told.do("level").done and not told.do("pin").done
    assert told.state["trial"] == {"windows": 0, "of": 100}
    told.passes(2.0, ticks=60)
    assert "The trial is over" in told.words and told.state["trial"] is None
    if told.state["adapter"]["id"] != "global":
        assert told.do("pin").done and not told.do("rollback").done and not told.do("adapt").done
        assert told.do("unpin").done and told.do("rollback").done
    told.passes(0.1)
    assert told.state["adapter"]["id"] == "global"
    served = [message["served"]["id"] for message in told.posted if "served" in message]
    assert served[0] == served[-1] == "global" and len(set(served)) == 2


def test_a_trial_can_be_taken_back_at_once(told):
    told.do("speed", 60.0)
    told.passes(1.6, ticks=40)
    told.do("adapt")
    for _ in range(400):
        told.passes(0.001)
        if told.session._person.store.phase == "trying":
            break
        time.sleep(0.02)
    assert told.do("rollback").done
    told.passes(0.2, ticks=5)
    assert told.state["adapter"] == {"id": "global", "bias": {}, "phase": "", "pinned": False}


def test_the_end_gives_the_last_results(tmp_path):
    recording = read_recording(SHIPPED_RECORD)
    part = recording.samples[:, : round(20.0 * recording.fs_hz)]
    np.savez(tmp_path / "r.npz", samples=part, fs_hz=recording.fs_hz, units="mV", channels=["MLII"])
    with session_of(str(tmp_path / "r.npz"), "--resample", "polyphase") as session:
        told = Told(session)
        told.passes(30.0, ticks=30)
        assert told.state["over"] and not told.state["playing"] and "The recording has ended" in told.words
        whole = Stream(Bundle.open(SHIPPED_BUNDLE), fs_hz=recording.fs_hz, units="mV", resample="polyphase",
                       channels=("MLII",), engine=session._person.stream.engine)  # fmt: skip
        assert len(told.all("results")) == len(whole.push(part) + whole.flush())
        session.stop()
        assert not session.do("pause").done


def test_an_hour_at_the_wrist_gets_an_adapter_and_is_rolled_back():
    """Of a bundle that comes with the weights, by its own key and its own generator."""
    pytest.importorskip("physioedge_weights", reason="needs the extra host")
    with session_of("stress", "--speed", "60") as session:
        told = Told(session)
        told.passes(17.0, ticks=68)  # 1020 s of signal
        assert not told.all("results")[0]["judged"] and told.state["adapter"]["id"] == "global"
        assert told.do("adapt").done
        for _ in range(400):
            told.passes(0.001)
            if told.session._person.store.phase == "trying":
                break
            time.sleep(0.02)
        assert told.state["adapter"]["phase"] == "trying" and told.state["trial"] == {"windows": 0, "of": 10}
        assert told.do("rollback").done
        told.passes(0.5, ticks=4)
        assert told.state["adapter"] == {"id": "global", "bias": {}, "phase": "", "pinned": False}
        session.stop()


def test_a_bundle_of_values_says_what_it_cannot():
    with session_of("wrist") as session:
        told = Told(session)
        told.passes(30.0, ticks=30)
        values = [r["values"] for r in told.all("results") if r["judged"]]
        assert len(values) > 5 and all(40 < v[0] < 140 for v in values)
        assert not told.do("level").done and not told.do("adapt").done
        hello, _ = asyncio.run(first_of(session.board))
        assert set(hello["cannot"]) == {"level", "adapt"} and [s["name"] for s in hello["sensors"]] == ["ppg", "acc"]
        session.stop()


async def first_of(board):
    async with board.looking() as given:
        return given
