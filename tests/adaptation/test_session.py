"""One adaptation after the other against hosts of every kind: what is not good changes nothing of what is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_adapters import DAY_S, NOW_S, TRUST, made_adapter, resigned, unpacked

from made_up_host import DEVICE, SHAPES, TOKEN
from made_up_person import Person, bundle_here, stream_of
from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.adaptation.manifest import ARRAYS, Binding
from physioedge_runtime.adaptation.outbox import Outbox
from physioedge_runtime.adaptation.session import adapt_once, give_up, install, request_for, serve
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.archive import MANIFEST, build_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import file_entry
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import (
    AdapterExpired,
    AdapterReplayed,
    BackboneMismatch,
    ConditionError,
    FastForwarded,
    FormatError,
    NonFiniteAdapter,
    SignatureInvalid,
    SlotMismatch,
    StoreError,
    StoreRefused,
    TaskMismatch,
    TokenRefused,
    UntrustedKey,
    WrongBinding,
)
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream
from scripted_host import http, scripted_host
from tiny_bundle import SLOT


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_here(tmp_path_factory.mktemp("bundle") / "tiny.physio")


@dataclass
class Scene:
    """A person whose stream serves a confirmed adapter, and a twin of whom nobody asks anything."""

    bundle: Bundle
    store: AdapterStore
    stream: Stream
    person: Person
    twin: Person
    disk: Disk

    def same_as_the_twin(self) -> None:
        """The stream goes on as if nothing had happened."""
        ours, theirs = self.person.lives(2.0), self.twin.lives(2.0)
        assert len(ours) == 10 and [seen(r) for r in ours] == [seen(r) for r in theirs]
        assert {r.adapter for r in ours} == {"old"} == {self.stream.adapter_id}

    def reopened(self) -> AdapterStore:
        self.store.close()
        self.store = opened(self.disk, self.bundle)
        return self.store


def seen(result: Result) -> tuple[Any, ...]:
    return result.t_anchor_s, result.label, result.probabilities, result.flags, result.adapter


def opened(disk: Disk, bundle: Bundle) -> AdapterStore:
    target = Target.of(bundle, device=DEVICE, fleet="ward-3")
    return AdapterStore.open(disk, target=target, trust=TRUST, clock=lambda: NOW_S)


@pytest.fixture
def scene(bundle: Bundle) -> Iterator[Scene]:
    disk = Disk()
    people = [Person(stream_of(bundle)) for _ in range(2)]
    one = Scene(bundle, opened(disk, bundle), people[0].stream, *people, disk)
    outcome = install(one.stream, one.store, adapter(4, id="old"))
    assert outcome.step == "trying" and outcome.error is None and one.store.current is None
    one.store.confirm()
    people[1].stream.set_adapter(dict(one.store.current.arrays), "old")
    for person in people:
        person.lives(12.0)
    yield one
    one.store.close()


def arrays(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float16).astype(np.float32) for name, shape in SHAPES.items()}


def adapter(counter: int, given: dict[str, Any] | None = None, **changes: Any) -> bytes:
    return made_adapter(arrays(counter) if given is None else given, counter=counter, **changes)


GOOD = adapter(5, id="new")


def link_to(port: int, **changes: Any) -> Link:
    return Link(f"http://127.0.0.1:{port}", DEVICE, TOKEN, retry=Retry(tries=2, first_s=0.01), **changes)


def with_nan() -> bytes:
    files = unpacked(GOOD)
    content = files[ARRAYS][:-2] + np.float16("nan").tobytes()
    entry = file_entry(content)
    said = {**json.loads(files[MANIFEST]), "files": {ARRAYS: {"sha256": entry.sha256, "bytes": entry.bytes}}}
    return resigned({ARRAYS: content}, said)


def tampered() -> bytes:
    files = unpacked(GOOD)
    return build_archive({**files, MANIFEST: files[MANIFEST].replace(b'"counter":5', b'"counter":6')})


HOSTILE: list[tuple[bytes, type[Exception]]] = [
    (adapter(5, {SLOT: arrays(5)[SLOT]}), SlotMismatch),  # half an adapter
    (with_nan(), NonFiniteAdapter),
    (adapter(5, backbone_digest="1" * 64), BackboneMismatch),
    (adapter(4, id="old"), AdapterReplayed),
    (adapter(5, issued_s=NOW_S - 2 * DAY_S, expires_s=NOW_S - DAY_S // 2), AdapterExpired),
    (adapter(5, key=bytes(range(1, 33))), UntrustedKey),
    (tampered(), SignatureInvalid),
    (GOOD[: len(GOOD) // 2], FormatError),
    (adapter(5, task="af"), TaskMismatch),
    (adapter(5, binding=Binding(kind="device", id="watch-8")), WrongBinding),
    (adapter(4 + 1_000_001), FastForwarded),
]


def test_every_answer_that_is_not_good_is_refused_in_its_own_words_and_the_old_adapter_goes_on(scene: Scene) -> None:
    codes = []
    for answer, kind in HOSTILE:
        with scripted_host([http(200, answer)]) as host:
            outcome = adapt_once(scene.stream, scene.store, link_to(host.port))
        assert outcome.step == "refused" and type(outcome.error) is kind, (kind, outcome)
        assert (outcome.candidate, outcome.adapter_id) == ("", "old") and outcome.error.code in str(outcome)
        assert scene.store.phase == "" and scene.store.serving is scene.store.current
        assert host.headers[0]["physioedge-counter"] == "4"
        scene.same_as_the_twin()
        codes.append(outcome.error.code)
    assert len(set(codes)) == len(HOSTILE)
    with scripted_host([http(200, GOOD)]) as host:
        assert adapt_once(scene.stream, scene.store, link_to(host.port)).step == "trying"


def test_a_trial_is_confirmed_or_given_up_and_no_window_is_lost(scene: Scene) -> None:
    with scripted_host([http(200, GOOD)]) as host:
        outcome = adapt_once(scene.stream, scene.store, link_to(host.port))
    assert outcome.step == "trying" and outcome.candidate == scene.store.candidate.digest and outcome.error is None
    assert str(outcome) == f"trying {outcome.candidate[:16]}"
    ours, theirs = scene.person.lives(2.0), scene.twin.lives(2.0)
    assert {r.adapter for r in ours} == {"new"} == {outcome.adapter_id}
    assert [r.t_anchor_s for r in ours] == [r.t_anchor_s for r in theirs]
    assert [r.probabilities for r in ours] != [r.probabilities for r in theirs]
    refused = adapt_once(scene.stream, scene.store, link_to(1))
    assert (refused.step, refused.adapter_id) == ("not asked", "new") and isinstance(refused.error, StoreRefused)
    give_up(scene.stream, scene.store, "margins fell")
    scene.same_as_the_twin()
    assert scene.store.history[-1].reason == "margins fell"
    with pytest.raises(StoreRefused):
        give_up(scene.stream, scene.store, "again")
    scene.same_as_the_twin()


def test_giving_up_holds_where_the_disk_fails(scene: Scene) -> None:
    install(scene.stream, scene.store, GOOD)
    scene.disk.broken = True
    with pytest.raises(StoreError):
        give_up(scene.stream, scene.store, "margins fell")
    scene.disk.broken = False
    scene.same_as_the_twin()


def test_nobody_is_asked_where_the_answer_could_not_be_used(scene: Scene) -> None:
    def outcome(stream: Stream = scene.stream) -> tuple[str, type[Exception]]:
        with scripted_host([http(200, GOOD)]) as host:
            found = adapt_once(stream, scene.store, link_to(host.port))
        assert host.headers == []
        return found.step, type(found.error)

    scene.store.pin()
    assert outcome() == ("not asked", StoreRefused)
    scene.store.unpin()
    merged = Stream(scene.bundle, fs_hz=125.0, units="mV", collect="embedding")
    assert outcome(merged) == ("not asked", SlotMismatch)
    scene.stream.set_adapter(None)  # embeddings begin anew
    assert outcome() == ("not asked", ConditionError)


def test_hosts_that_refuse_and_hosts_that_are_gone_are_told_apart(scene: Scene) -> None:
    no = json.dumps({"code": "token", "came": "this", "expected": "that", "do": "Ask."}).encode()
    with scripted_host([http(401, no)]) as host:
        outcome = adapt_once(scene.stream, scene.store, link_to(host.port))
    assert outcome.step == "refused" and isinstance(outcome.error, TokenRefused)
    outcome = adapt_once(scene.stream, scene.store, link_to(host.port))
    assert outcome.step == "waiting" and outcome.error is not None and outcome.error.code == "link"
    scene.same_as_the_twin()


def test_an_outbox_takes_one_try_a_call_and_goes_on_with_the_same_request(scene: Scene) -> None:
    disk, now_s = Disk(), [0.0]
    with scripted_host([http(503), http(200, GOOD)]) as host:
        link = link_to(host.port, clock=lambda: now_s[0])
        with Outbox(disk) as outbox:
            first = adapt_once(scene.stream, scene.store, link, outbox=outbox)
            assert first.step == "waiting" and first.error is not None
            again = adapt_once(scene.stream, scene.store, link, outbox=outbox)
            assert (again.step, again.error) == ("waiting", None) and len(host.headers) == 1  # not due
            scene.same_as_the_twin()
        with Outbox(disk) as outbox:  # a restart
            assert adapt_once(scene.stream, scene.store, link, outbox=outbox).step == "trying"
            assert outbox.pending is None
    assert len({headers["physioedge-nonce"] for headers in host.headers}) == 1 and len(set(host.bodies)) == 1


def test_a_full_disk_does_not_cost_the_answer(scene: Scene) -> None:
    with scripted_host([http(200, GOOD)]) as host, Outbox() as outbox:
        scene.disk.full = True
        outcome = adapt_once(scene.stream, scene.store, link_to(host.port), outbox=outbox)
        assert outcome.step == "refused" and isinstance(outcome.error, StoreError) and outbox.pending is not None
        scene.same_as_the_twin()
        scene.disk.full = False
        assert adapt_once(scene.stream, scene.store, link_to(host.port), outbox=outbox).step == "trying"
    assert len({headers["physioedge-nonce"] for headers in host.headers}) == 1


def test_a_request_that_cannot_be_dropped_does_not_hide_that_the_candidate_serves(scene: Scene) -> None:
    disk = Disk()
    with scripted_host([http(200, GOOD)]) as host, Outbox(disk) as outbox:
        outbox.put(request_for(scene.stream, scene.store, DEVICE))
        disk.broken = True
        outcome = adapt_once(scene.stream, scene.store, link_to(host.port), outbox=outbox)
    assert (outcome.step, outcome.error, outcome.adapter_id) == ("trying", None, "new")
    assert scene.store.phase == "trying" and outcome.candidate == scene.store.serving.digest


def test_a_request_is_made_anew_when_an_adapter_came_another_way(scene: Scene) -> None:
    with scripted_host([http(503), http(200, adapter(6))]) as host, Outbox() as outbox:
        adapt_once(scene.stream, scene.store, link_to(host.port), outbox=outbox)
        install(scene.stream, scene.store, GOOD)
        scene.store.confirm()
        scene.person.lives(12.0)
        assert adapt_once(scene.stream, scene.store, link_to(host.port), outbox=outbox).step == "trying"
    assert [headers["physioedge-counter"] for headers in host.headers] == ["4", "5"]


def test_an_answer_that_was_staged_before_a_restart_is_tried_without_asking_again(scene: Scene) -> None:
    scene.store.stage(GOOD)
    store = scene.reopened()
    with scripted_host([http(500)]) as host:
        outcome = adapt_once(scene.stream, store, link_to(host.port))
    assert outcome.step == "trying" and outcome.adapter_id == "new" and host.headers == []


def test_a_swap_that_fails_is_reverted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    swap = Stream.set_adapter

    def failing(stream: Stream, given: Any, name: str = "global") -> None:
        if name == "new":
            raise SlotMismatch("an adapter", "another", "Ask.")
        swap(stream, given, name)

    monkeypatch.setattr(Stream, "set_adapter", failing)
    outcome = install(scene.stream, scene.store, GOOD)
    assert outcome.step == "refused" and isinstance(outcome.error, SlotMismatch) and scene.store.phase == ""
    assert scene.store.history[-1].reason.startswith("slots: ")
    scene.same_as_the_twin()


def test_centring_comes_and_goes_with_its_adapter(scene: Scene) -> None:
    bias = np.array([1.0, -2.0, 0.5], np.float32)
    scene.store.keep_centring(bias)
    serve(scene.stream, scene.store)
    scene.twin.stream.set_adapter({**scene.store.current.arrays, BIAS: bias}, "old")
    scene.same_as_the_twin()
    scene.person.lives(12.0), scene.twin.lives(12.0)
    own = np.array([0.25, 0.0, 0.0], np.float32)
    install(scene.stream, scene.store, adapter(5, {**arrays(5), BIAS: own}, id="new"))
    assert np.array_equal(scene.stream.snapshot()["adapter"][BIAS], own)
    scene.store.keep_centring(bias)
    serve(scene.stream, scene.store)
    assert np.array_equal(scene.stream.snapshot()["adapter"][BIAS], own + bias)
    give_up(scene.stream, scene.store, "margins fell")
    scene.same_as_the_twin()
    scene.store.rollback("to the global model")
    serve(scene.stream, scene.store)
    assert scene.stream.snapshot()["adapter"] is None and scene.stream.adapter_id == "global"
    scene.store.keep_centring(bias)
    serve(scene.stream, scene.store)
    assert set(scene.stream.snapshot()["adapter"]) == {BIAS}


def test_an_exchange_by_hand_ends_in_a_trial(scene: Scene, tmp_path: Path) -> None:
    with Outbox() as outbox:
        outbox.put(request_for(scene.stream, scene.store, DEVICE))
        (tmp_path / "answer").write_bytes(GOOD)
        assert install(scene.stream, scene.store, outbox.import_response(tmp_path / "answer")).step == "trying"
