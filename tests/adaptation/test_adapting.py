"""The loop of a device with its guard: trials that end well, badly, by a restart, on a broken disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from made_adapters import NOW_S, TRUST, made_adapter

from made_up_host import DEVICE, SHAPES, TOKEN
from made_up_person import Person, bundle_here, stream_of
from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.adapting import Adaptation, TrialEnd
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.adaptation.session import serve
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import ConditionError, StoreError, StoreRefused
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream
from scripted_host import http, scripted_host

PLAN = ChangePlan(min_windows=40, max_windows=200, max_seconds=60.0)


def adapter(name: str, counter: int, bias: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> bytes:
    """One that leaves the embedding alone and adds this to the logits."""
    arrays = {slot: np.zeros(shape, np.float32) for slot, shape in SHAPES.items()}
    return made_adapter({**arrays, BIAS: np.array(bias, np.float32)}, id=name, counter=counter)


ALIKE = adapter("alike", 1)
COLLAPSED = adapter("collapsed", 1, (-30.0, -30.0, 30.0))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_here(tmp_path_factory.mktemp("bundle") / "tiny.physio")


def opened(disk: Disk, bundle: Bundle) -> AdapterStore:
    return AdapterStore.open(disk, target=Target.of(bundle, device=DEVICE), trust=TRUST, clock=lambda: NOW_S)


@dataclass
class Scene:
    """A person who has been streaming long enough, and their device."""

    bundle: Bundle
    disk: Disk
    store: AdapterStore
    person: Person
    adaptation: Adaptation

    @property
    def stream(self) -> Stream:
        return self.person.stream

    def lives(self, seconds: float) -> tuple[list[Result], TrialEnd | None]:
        """Pushes of a second each, with a step after each, until a trial ends."""
        out: list[Result] = []
        for _ in range(round(seconds)):
            results = self.person.lives(1.0)
            out += results
            ended = self.adaptation.step(results)
            if ended is not None:
                return out, ended
        return out, None


@pytest.fixture
def scene(bundle: Bundle) -> Iterator[Scene]:
    disk, person = Disk(), Person(stream_of(bundle))
    store = opened(disk, bundle)
    one = Scene(bundle, disk, store, person, Adaptation(person.stream, store, PLAN))
    one.lives(12.0)
    yield one
    one.store.close()


def link_to(port: int) -> Link:
    return Link(f"http://127.0.0.1:{port}", DEVICE, TOKEN, retry=Retry(tries=1, first_s=0.01))


def test_an_adapter_that_nothing_speaks_against_is_confirmed(scene: Scene) -> None:
    with scripted_host([http(200, ALIKE)]) as host:
        outcome = scene.adaptation.adapt(link_to(host.port))
    assert outcome.step == "trying" and scene.stream.adapter_id == "alike"
    results, ended = scene.lives(20.0)
    assert ended is not None and ended.error is None
    assert (ended.what, ended.candidate_id, ended.adapter_id) == ("confirmed", "alike", "alike")
    assert 40 <= len(results) <= 45 and {r.adapter for r in results} == {"alike"}
    assert scene.store.phase == "" and scene.store.current is not None and scene.store.current.manifest.id == "alike"
    assert scene.adaptation.guard.ready and scene.adaptation.guard.confirmed == "alike"
    assert scene.lives(12.0)[1] is None  # and nothing more happens


def test_one_that_collapses_is_reverted_and_the_old_one_serves_without_a_missing_window(scene: Scene) -> None:
    twin = Person(stream_of(scene.bundle))
    twin.lives(12.0)
    assert scene.adaptation.install(COLLAPSED).step == "trying"
    results, ended = scene.lives(20.0)
    assert ended is not None and ended.what == "reverted" and "label shares moved" in ended.verdict.reason
    assert {r.label for r in results} == {"V"} and scene.stream.adapter_id == ended.adapter_id == "global"
    assert scene.store.current is None and scene.store.history[-1].what == "reverted"
    assert scene.store.history[-1].reason == ended.verdict.reason[:200]
    after, _ = scene.lives(3.0)
    theirs = twin.lives(len(results) / 5 + 3.0)
    assert [r.t_anchor_s for r in results + after] == [r.t_anchor_s for r in theirs]
    assert after == theirs[len(results) :] and len(after) == 15


def test_a_second_one_is_compared_with_the_one_confirmed(scene: Scene) -> None:
    scene.adaptation.install(adapter("sure", 1, (0.0, 0.0, 0.0)))
    assert scene.lives(20.0)[1] is not None
    scene.adaptation.install(adapter("collapsed", 2, (30.0, -30.0, -30.0)))
    ended = scene.lives(20.0)[1]
    assert ended is not None and (ended.what, ended.adapter_id) == ("reverted", "sure")
    scene.adaptation.install(adapter("alike", 3))
    ended = scene.lives(20.0)[1]
    assert ended is not None and ended.what == "confirmed"


def test_nobody_is_asked_before_a_trial_could_be_judged(bundle: Bundle) -> None:
    person = Person(stream_of(bundle))
    with opened(Disk(), bundle) as store, scripted_host([http(200, ALIKE)]) as host:
        adaptation = Adaptation(person.stream, store, PLAN)
        adaptation.step(person.lives(5.0))
        for outcome in (adaptation.adapt(link_to(host.port)), adaptation.install(ALIKE)):
            assert outcome.step == "not asked" and isinstance(outcome.error, ConditionError)
            assert "at least 40" in outcome.error.expected
        assert host.headers == [] and store.phase == "" and store.freshness.counters == {}


def test_a_trial_is_not_begun_twice(scene: Scene) -> None:
    scene.adaptation.install(ALIKE)
    scene.lives(3.0)
    seconds = scene.adaptation.guard.seconds
    outcome = scene.adaptation.install(adapter("other", 2))
    assert outcome.step == "refused" and isinstance(outcome.error, StoreRefused)
    assert scene.adaptation.guard.seconds == seconds > 0 and scene.stream.adapter_id == "alike"


def test_a_restart_in_a_trial_goes_back_and_begins_anew(scene: Scene) -> None:
    scene.adaptation.install(COLLAPSED)
    scene.lives(2.0)
    scene.store.close()
    scene.store = opened(scene.disk, scene.bundle)
    stream = stream_of(scene.bundle)
    adaptation = Adaptation(stream, scene.store, PLAN)
    assert stream.adapter_id == "global" and scene.store.reverted_at_start == 1 and not adaptation.guard.ready
    scene.person, scene.adaptation = Person(stream), adaptation
    assert scene.lives(12.0)[1] is None and adaptation.guard.ready


def test_a_stream_that_brings_a_reverted_candidate_back_is_put_right(scene: Scene) -> None:
    """A device restores its stream from what it wrote in the trial, in whichever order."""
    scene.adaptation.install(COLLAPSED)
    scene.lives(2.0)
    in_trial = scene.stream.snapshot()
    scene.store.close()
    scene.store = opened(scene.disk, scene.bundle)
    stream = stream_of(scene.bundle)
    scene.person, scene.adaptation = Person(stream), Adaptation(stream, scene.store, PLAN)
    stream.restore(in_trial)
    assert stream.adapter_id == "collapsed" and scene.store.phase == ""
    scene.lives(1.0)
    assert stream.adapter_id == "global"
    scene.lives(12.0)
    assert scene.adaptation.guard.ready and scene.adaptation.guard.confirmed == "global"


def test_after_a_restart_a_confirmed_adapter_serves_at_once(scene: Scene) -> None:
    scene.adaptation.install(ALIKE)
    scene.lives(20.0)
    scene.store.close()
    scene.store = opened(scene.disk, scene.bundle)
    stream = stream_of(scene.bundle)
    assert Adaptation(stream, scene.store, PLAN).guard.confirmed == stream.adapter_id == "alike"


def test_where_a_confirmation_cannot_be_written_the_old_one_serves(scene: Scene) -> None:
    scene.adaptation.install(ALIKE)
    scene.lives(3.0)
    scene.disk.broken = True
    ended = scene.lives(20.0)[1]
    assert ended is not None and ended.what == "reverted" and ended.verdict.decision == "confirm"
    assert isinstance(ended.error, StoreError) and scene.stream.adapter_id == ended.adapter_id == "global"
    scene.disk.broken = False
    assert scene.lives(3.0)[1] is None and scene.store.phase == ""


def test_a_trial_without_results_ends_by_time(scene: Scene) -> None:
    scene.adaptation.install(ALIKE)
    flat = np.zeros((1, 125), np.float32)
    ended, seconds = None, 0
    while ended is None and seconds < 100:
        ended, seconds = scene.adaptation.step([r for r in scene.stream.push(flat) if not r]), seconds + 1
    assert ended is not None and ended.what == "reverted" and 61 <= seconds <= 63
    assert "0 in the trial" in ended.verdict.reason and scene.stream.adapter_id == "global"


def test_bad_signal_in_a_trial_reverts_and_never_raises(scene: Scene) -> None:
    scene.adaptation.install(ALIKE)
    ended: Any = None
    for _ in range(30):
        ended = ended or scene.adaptation.step(scene.stream.push(np.full((1, 125), np.nan, np.float32)))
    assert ended.what == "reverted" and "withheld" in ended.verdict.reason


def test_a_trial_can_be_abandoned(scene: Scene) -> None:
    assert scene.adaptation.abandon("no more signal") is None
    scene.adaptation.install(ALIKE)
    scene.lives(2.0)
    ended = scene.adaptation.abandon("no more signal")
    assert ended is not None and ended.what == "reverted" and scene.stream.adapter_id == "global"
    assert scene.store.history[-1].reason.startswith("no more signal; ") and "10 in the trial" in ended.verdict.reason


def test_after_a_rollback_the_guard_begins_anew(scene: Scene) -> None:
    scene.adaptation.install(ALIKE)
    scene.lives(20.0)
    scene.store.rollback("a person asked for it")
    serve(scene.stream, scene.store)
    scene.lives(1.0)
    assert scene.adaptation.guard.confirmed == "global" and scene.adaptation.guard.windows_before == 5


def test_an_adapter_of_the_same_name_is_told_apart(scene: Scene) -> None:
    scene.adaptation.install(adapter("global", 1, (-30.0, -30.0, 30.0)))
    ended = scene.lives(20.0)[1]
    assert ended is not None and ended.what == "reverted" and scene.adaptation.guard.windows_before >= 40


def test_a_second_stream_goes_on_as_if_there_were_no_trial_and_the_guard_compares(scene: Scene) -> None:
    with pytest.raises(StoreRefused):
        scene.adaptation.accompany(stream_of(scene.bundle))
    twin, plain = Person(stream_of(scene.bundle)), Person(stream_of(scene.bundle))
    twin.lives(12.0)
    plain.lives(12.0)
    assert scene.adaptation.install(COLLAPSED).step == "trying"
    scene.adaptation.accompany(plain.stream)
    assert plain.stream.adapter_id == "global" and scene.stream.adapter_id == "collapsed"
    for _ in range(20):
        beside = plain.lives(1.0)
        assert beside == twin.lives(1.0)
        ended = scene.adaptation.step(scene.person.lives(1.0), beside)
        if ended is not None:
            break
    assert ended is not None and ended.what == "reverted" and "of windows called otherwise" in ended.verdict.reason
    with pytest.raises(StoreRefused):
        scene.adaptation.accompany(plain.stream)


def test_the_stream_beside_a_trial_has_what_served_before(scene: Scene) -> None:
    assert scene.adaptation.install(adapter("first", 1, (0.0, 0.01, 0.0))).step == "trying"
    assert scene.lives(20.0)[1] is not None and scene.stream.adapter_id == "first"
    assert scene.lives(12.0)[1] is None
    assert scene.adaptation.install(adapter("second", 2)).step == "trying"
    plain = stream_of(scene.bundle)
    scene.adaptation.accompany(plain)
    state = plain.snapshot()
    assert state["adapter_id"] == "first" and np.allclose(state["adapter"][BIAS], [0.0, 0.01, 0.0])
