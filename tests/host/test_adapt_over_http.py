"""From a person's signal through a real host to a trial, and what a host's death in the middle does to the stream."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")

from made_up_host import DEVICE, LinearGenerator, condition_bytes, free_port, link_to, process, served, until
from made_up_person import Person, bundle_here, stream_of
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.condition import MAX_BYTES, Condition
from physioedge_runtime.adaptation.link import Link, Retry
from physioedge_runtime.adaptation.outbox import Outbox, read_request
from physioedge_runtime.adaptation.session import adapt_once, give_up, install, request_for
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.errors import BackboneMismatch, LinkError, TaskMismatch, TokenRefused, UntrustedKey
from physioedge_runtime.result import Result
from tiny_bundle import PRIVATE_KEY


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_here(tmp_path_factory.mktemp("bundle") / "tiny.physio")


@pytest.fixture
def store(bundle: Bundle, tmp_path: Path) -> Iterator[AdapterStore]:
    with opened(bundle, tmp_path) as one:
        yield one


def opened(bundle: Bundle, folder: Path, trust: bytes | None = None) -> AdapterStore:
    trust = public_key(PRIVATE_KEY) if trust is None else trust
    return AdapterStore.open(folder / "store", target=Target.of(bundle, device=DEVICE), trust=trust)


@pytest.fixture
def person(bundle: Bundle) -> Person:
    one = Person(stream_of(bundle))
    one.lives(12.0)
    return one


def outputs(results: list[Result]) -> list[tuple[Any, ...]]:
    return [(r.t_anchor_s, r.label, r.probabilities, r.flags, r.adapter) for r in results]


def test_from_signal_to_a_confirmed_adapter_and_on_to_the_next(
    store: AdapterStore, person: Person, bundle: Bundle
) -> None:
    condition = person.stream.condition().to_bytes()
    with served() as app:
        link = link_to(app.state.port)
        outcome = adapt_once(person.stream, store, link)
        assert outcome.step == "trying" and outcome.error is None
        candidate = store.candidate
        assert candidate is not None and candidate.digest == outcome.candidate and candidate.manifest.counter == 1
        expected = LinearGenerator().generate([Condition.from_bytes(condition)])[0]
        for name, array in expected.items():
            np.testing.assert_array_equal(candidate.arrays[name], array.astype(np.float16).astype(np.float32))
        by_hand = Person(stream_of(bundle))
        by_hand.lives(12.0)
        by_hand.stream.set_adapter(dict(candidate.arrays), candidate.manifest.id)
        assert outputs(person.lives(12.0)) == outputs(by_hand.lives(12.0))
        store.confirm()
        second = adapt_once(person.stream, store, link)
        assert second.step == "trying" and store.candidate is not None and store.candidate.manifest.counter == 2
        give_up(person.stream, store, "margins fell")
        assert {r.adapter for r in person.lives(2.0)} == {outcome.adapter_id}
    assert len(condition) <= MAX_BYTES


def test_a_host_that_is_killed_in_the_middle_leaves_the_stream_alone_and_a_later_try_succeeds(
    store: AdapterStore, person: Person, bundle: Bundle, tmp_path: Path
) -> None:
    twin = Person(stream_of(bundle))  # of whom nobody asks anything
    twin.lives(12.0)
    port, hosts = free_port(), tmp_path / "hosts"
    hosts.mkdir()
    link = link_to(port, retry=Retry(tries=1, first_s=0.01, longest_s=0.01))
    request = request_for(person.stream, store, DEVICE)
    with process(port, hosts, slow_s=60.0) as child, Outbox(tmp_path / "outbox") as outbox:
        outbox.put(request)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(outbox.poll, link)
            until((hosts / "running").exists)
            assert outputs(person.lives(2.0)) == outputs(twin.lives(2.0))  # while the host computes
            child.kill()
            with pytest.raises(LinkError, match="without an answer"):
                asked.result(20)
        assert outputs(person.lives(2.0)) == outputs(twin.lives(2.0))
        until(lambda: outbox.wait_s(link) == 0.0)
        outcome = adapt_once(person.stream, store, link, outbox=outbox)  # nobody is there
        assert outcome.step == "waiting" and isinstance(outcome.error, LinkError) and store.phase == ""
        assert outputs(person.lives(2.0)) == outputs(twin.lives(2.0))
        assert {r.adapter for r in person.lives(1.0)} == {"global"}
        twin.lives(1.0)
    with process(port, hosts), Outbox(tmp_path / "outbox") as outbox:  # both came back
        assert outbox.pending == request
        outcome = adapt_once(person.stream, store, link, outbox=outbox)
        assert outcome.step == "trying" and outbox.pending is None
    candidate = store.candidate
    assert candidate is not None and candidate.manifest.provenance["request_sha256"] == request.digest
    ours, theirs = person.lives(2.0), twin.lives(2.0)
    assert {r.adapter for r in ours} == {outcome.adapter_id} and [r.t_anchor_s for r in ours] == [
        r.t_anchor_s for r in theirs
    ]


def test_a_connection_that_breaks_is_mended_by_sending_the_same_request_again(
    store: AdapterStore, person: Person
) -> None:
    generator = LinearGenerator(slow_s=0.4)
    with served(generator) as app:
        request = request_for(person.stream, store, DEVICE)
        with pytest.raises(LinkError):
            link_to(app.state.port, timeout_s=0.1).attempt(request)
        answer = link_to(app.state.port).send(request)
        assert link_to(app.state.port).send(request) == answer and generator.batches == [1]
        assert install(person.stream, store, answer).step == "trying"


class OtherTask(LinearGenerator):
    task = "af"


class OtherBackbone(LinearGenerator):
    backbone_digest = "1" * 64


@pytest.mark.parametrize(("generator", "kind"), [(OtherTask(), TaskMismatch), (OtherBackbone(), BackboneMismatch)])
def test_a_host_for_something_else_says_so(
    store: AdapterStore, person: Person, generator: LinearGenerator, kind: type[Exception]
) -> None:
    with served(generator) as app:
        outcome = adapt_once(person.stream, store, link_to(app.state.port))
    assert outcome.step == "refused" and type(outcome.error) is kind and generator.batches == []


def test_a_host_with_another_key_and_a_device_with_another_token(
    bundle: Bundle, person: Person, tmp_path: Path
) -> None:
    with served() as app, opened(bundle, tmp_path, trust=public_key(bytes(range(1, 33)))) as store:
        outcome = adapt_once(person.stream, store, link_to(app.state.port))
        assert outcome.step == "refused" and isinstance(outcome.error, UntrustedKey)
        stranger = Link(f"http://127.0.0.1:{app.state.port}", DEVICE, "another")
        outcome = adapt_once(person.stream, store, stranger)
        assert outcome.step == "refused" and isinstance(outcome.error, TokenRefused)
        assert {r.adapter for r in person.lives(1.0)} == {"global"}


def test_a_device_without_a_network_has_its_request_carried(
    store: AdapterStore, person: Person, tmp_path: Path
) -> None:
    with Outbox() as outbox:
        outbox.put(request_for(person.stream, store, DEVICE))
        outbox.export_request(tmp_path / "watch-7.request")
        with served() as app:
            answer = link_to(app.state.port).send(read_request(tmp_path / "watch-7.request"))
        (tmp_path / "watch-7.adapter").write_bytes(answer)
        outcome = install(person.stream, store, outbox.import_response(tmp_path / "watch-7.adapter"))
        outbox.done()
    assert outcome.step == "trying" and {r.adapter for r in person.lives(1.0)} == {outcome.adapter_id}


def test_a_patient_link_outlives_the_limit_of_its_device() -> None:
    with served(burst=1, rate_per_s=2.0) as app:
        link = link_to(app.state.port, retry=Retry(tries=4, first_s=0.01))
        assert link.ask(condition_bytes(), 0) and link.ask(condition_bytes(), 1)  # the second one waits
        assert app.state.service.metrics.requests[429] >= 1
