"""`Adaptation.level`: a person's own signal makes a bias that serves at once, is kept, and is taken away again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_adapters import NOW_S, TRUST, made_adapter

from made_up_host import DEVICE, SHAPES, TOKEN, contract
from made_up_person import Person, bundle_here, levelling_here, stream_of
from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime.adaptation import centring
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.adapting import Adaptation
from physioedge_runtime.adaptation.change_plan import FILE as PLAN_FILE
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.link import Link
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.tensors import read_tensors, write_tensors
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import AdapterError, BundleMismatch, NonFiniteAdapter, StoreError, StoreRefused
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream
from tiny_bundle import DIM, tiny_files, tiny_graphs, tiny_pair, tiny_weights, write_tiny_bundle

F32 = np.float32
PLAN = {PLAN_FILE: ChangePlan(min_windows=40, max_windows=200, max_seconds=60.0).to_bytes()}
CENTRING = {
    centring.FILE: write_tensors(
        {
            "weight": np.ascontiguousarray(tiny_weights(contract())["h"].T), "share": np.ones(1, F32),
            "reference": np.full(DIM, 3.0, F32),
        }
    )
}  # fmt: skip


def adapter(name: str, counter: int, bias: tuple[float, float, float] = (0.0, 0.0, 0.0), size: float = 0.0) -> bytes:
    """One that moves embeddings by something of this size, and adds this to the logits."""
    rng = np.random.default_rng(counter)
    arrays = {slot: (rng.normal(size=shape) * size).astype(F32) for slot, shape in SHAPES.items()}
    return made_adapter({**arrays, BIAS: np.array(bias, F32)}, id=name, counter=counter)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_here(tmp_path_factory.mktemp("bundle") / "tiny.physio", {**levelling_here(), **PLAN})


def opened(disk: Disk, bundle: Bundle) -> AdapterStore:
    return AdapterStore.open(disk, target=Target.of(bundle, device=DEVICE), trust=TRUST, clock=lambda: NOW_S)


@dataclass
class Scene:
    """A person, their device, and a twin whose stream nobody adapts."""

    bundle: Bundle
    disk: Disk
    store: AdapterStore
    person: Person
    twin: Person
    adaptation: Adaptation

    @property
    def stream(self) -> Stream:
        return self.person.stream

    @property
    def bias(self) -> Any:
        """In use by the stream, or None."""
        adapter = self.stream.snapshot()["adapter"]
        return None if adapter is None else adapter.get(BIAS)

    def lives(self, seconds: float) -> tuple[list[Result], list[Result]]:
        """Of the person and of the twin, in pushes of a second, with a step after each."""
        ours: list[Result] = []
        for _ in range(round(seconds)):
            results = self.person.lives(1.0)
            self.adaptation.step(results)
            ours += results
        return ours, self.twin.lives(seconds)

    def restarts(self) -> None:
        """The device, with a new stream that goes on where the old one was."""
        self.store.close()
        self.store = opened(self.disk, self.bundle)
        stream = stream_of(self.bundle)
        state = self.stream.snapshot()
        stream.restore({**state, "adapter": None, "adapter_id": "global"})
        self.person.stream = stream
        self.adaptation = Adaptation.of(self.bundle, stream, self.store)


def scene_of(bundle: Bundle, stream: Stream | None = None, twin: Stream | None = None) -> Scene:
    disk, person = Disk(), Person(stream or stream_of(bundle))
    store = opened(disk, bundle)
    adaptation = Adaptation.of(bundle, person.stream, store)
    return Scene(bundle, disk, store, person, Person(twin or stream_of(bundle)), adaptation)


@pytest.fixture
def scene(bundle: Bundle) -> Iterator[Scene]:
    one = scene_of(bundle)
    one.lives(12.0)
    yield one
    one.store.close()


def said(results: list[Result]) -> list[str | None]:
    return [result.label for result in results]


def test_one_call_levels_from_the_next_window_on(scene: Scene) -> None:
    before = scene.adaptation.own.windows  # type: ignore[union-attr]
    outcome = scene.adaptation.level()
    assert (outcome.step, outcome.how, outcome.adapter_id, outcome.error) == ("levelled", "levelling", "global", None)
    assert outcome.windows == before >= 50 and list(outcome.bias) == ["N", "S", "V"] and outcome.bias["N"] == 0.0
    assert outcome.bias["S"] < -1.0 and str(outcome).startswith(f"levelled, {before} windows: N +0.000, S -")
    ours, theirs = scene.lives(10.0)
    assert len(ours) == len(theirs) == 50 and said(ours) != said(theirs)
    assert said(ours).count("N") > 25 > said(theirs).count("N")
    logits = np.log([r.probabilities for r in theirs]) + np.array(list(outcome.bias.values()))
    assert said(ours) == [scene.bundle.contract.labels[i] for i in logits.argmax(1)]


def test_the_bias_serves_again_after_a_restart(scene: Scene) -> None:
    outcome = scene.adaptation.level()
    alone = Person(stream_of(scene.bundle))
    alone.stream.set_adapter({BIAS: np.array(list(outcome.bias.values()), F32)})
    alone.lives(12.0)
    scene.restarts()
    ours, _ = scene.lives(10.0)
    assert ours == alone.lives(10.0) and len(ours) == 50


def test_it_is_taken_away_again_for_good(scene: Scene) -> None:
    scene.adaptation.level()
    windows = scene.adaptation.own.windows  # type: ignore[union-attr]
    outcome = scene.adaptation.unlevel()
    assert (outcome.step, outcome.bias, outcome.windows, outcome.error) == ("unlevelled", {}, windows, None)
    assert scene.bias is None
    ours, theirs = scene.lives(3.0)
    assert ours == theirs
    assert scene.adaptation.unlevel().step == "unlevelled"
    scene.restarts()
    assert scene.store.centring is None and scene.bias is None


def test_a_second_level_is_of_the_model_and_not_of_the_first(scene: Scene) -> None:
    first = scene.adaptation.level()
    assert scene.adaptation.level().bias == first.bias
    scene.lives(10.0)
    second = scene.adaptation.level()
    assert second.windows == first.windows + 50
    said = [r.probabilities for r in Person(stream_of(scene.bundle)).lives(22.0) if r.probabilities]
    logits = np.log(said)
    assert len(said) == second.windows
    assert second.bias["S"] == pytest.approx(-3.0 - np.median(logits[:, 1] - logits[:, 0]), abs=1e-4)


def test_too_few_windows_wait(bundle: Bundle) -> None:
    one = scene_of(bundle)
    with one.store:
        one.lives(5.0)
        outcome = one.adaptation.level()
        assert (outcome.step, outcome.windows, outcome.bias) == ("waiting", 22, {})
        assert isinstance(outcome.error, AdapterError) and "over 22 windows" in str(outcome.error)
        assert outcome.error.expected == "at least 30" and one.store.centring is None and one.bias is None
        one.lives(2.0)
        assert one.adaptation.level().step == "levelled"


def test_in_a_trial_it_is_refused_and_afterwards_the_adapter_has_a_bias_of_its_own(scene: Scene) -> None:
    mine = scene.adaptation.level().bias
    scene.lives(12.0)
    assert scene.adaptation.install(adapter("moved", 1, bias=(0.0, mine["S"], mine["V"]))).step == "trying"
    scene.lives(7.0)
    for call in (scene.adaptation.level, scene.adaptation.unlevel):
        outcome = call()
        assert outcome.step == "refused" and isinstance(outcome.error, StoreRefused) and outcome.bias == {}
        assert (outcome.windows, outcome.adapter_id) == (35, "moved") and "trial" in outcome.error.came
    assert scene.store.phase == "trying" and scene.store.centring is None
    np.testing.assert_array_equal(scene.bias, np.array([0.0, mine["S"], mine["V"]], F32))
    scene.lives(2.0)
    assert scene.store.current is not None and scene.store.current.manifest.id == "moved"  # confirmed
    outcome = scene.adaptation.level()  # the windows of the trial were its own
    assert (outcome.step, outcome.windows, outcome.adapter_id) == ("levelled", 45, "moved")
    assert scene.bias[1] == pytest.approx(mine["S"] + outcome.bias["S"]) and outcome.bias["S"] < -1.0
    scene.store.rollback("felt wrong")
    scene.lives(1.0)  # the stream follows
    assert scene.stream.adapter_id == "global" and scene.bias[1] == F32(mine["S"])
    assert scene.adaptation.level().step == "waiting"  # and begins anew, under the global model


def test_after_a_trial_that_is_reverted_the_bias_of_before_serves_and_windows_begin_anew(scene: Scene) -> None:
    mine = scene.adaptation.level().bias
    scene.lives(12.0)
    scene.adaptation.install(adapter("global", 1, bias=(-30.0, -30.0, 30.0), size=0.5))  # a name tells nothing
    assert scene.adaptation.own.windows == 0  # type: ignore[union-attr]
    scene.lives(2.0)
    assert scene.adaptation.abandon("no more") is not None
    assert scene.bias[1] == F32(mine["S"]) and scene.adaptation.own.windows == 0  # type: ignore[union-attr]
    ours, _ = scene.lives(5.0)
    assert said(ours).count("N") > 12 and scene.adaptation.level().windows == 25


def test_the_guard_compares_with_what_was_said_since(scene: Scene) -> None:
    assert scene.adaptation.guard.ready
    scene.adaptation.level()
    assert scene.adaptation.guard.windows_before == 0
    scene.lives(8.0)
    scene.adaptation.level()  # the same windows and some more: another bias
    scene.lives(2.0)
    assert 8 <= scene.adaptation.guard.windows_before <= 10
    scene.adaptation.unlevel(), scene.lives(4.0), scene.adaptation.unlevel()  # the last changes nothing
    assert 18 <= scene.adaptation.guard.windows_before <= 20


def test_what_a_condition_is_made_of_stays(scene: Scene) -> None:
    windows = scene.stream.condition().windows
    scene.adaptation.level()
    assert scene.stream.condition().windows == windows
    scene.lives(12.0)
    assert scene.stream.condition().windows == windows + 60
    assert scene.adaptation.install(adapter("global", 1, size=0.5)).step == "trying"  # other slots under the same name
    scene.lives(7.0)
    assert scene.stream.condition().windows == 35


def test_a_stream_is_restored_as_it_was(scene: Scene) -> None:
    scene.adaptation.level()
    other = stream_of(scene.bundle)
    other.restore(scene.stream.snapshot())
    samples = np.random.default_rng(0).normal(size=(1, 500)).astype(F32)
    assert scene.stream.push(samples) == other.push(samples)
    other.restore({**scene.stream.snapshot(), "adapter": None})
    scene.stream.restore({**scene.stream.snapshot(), "adapter": None})  # from before it was levelled
    assert scene.bias is None and scene.adaptation.level().bias["S"] == scene.bias[1]


def test_a_disk_that_fails_leaves_all_as_it_was(scene: Scene) -> None:
    scene.disk.broken = True
    outcome = scene.adaptation.level()
    assert outcome.step == "refused" and isinstance(outcome.error, StoreError) and outcome.bias == {}
    ours, theirs = scene.lives(2.0)
    assert ours == theirs
    scene.disk.broken = False
    mine = scene.adaptation.level().bias
    scene.disk.broken = True
    outcome = scene.adaptation.unlevel()
    assert (outcome.step, outcome.bias) == ("refused", mine) and scene.bias[1] == F32(mine["S"])


def test_what_does_not_go_with_the_adapters_own_bias_is_not_kept(tmp_path: Path) -> None:
    one = scene_of(bundle_here(tmp_path / "b.physio", {**levelling_here(s_level=60.0), **PLAN}))
    with one.store:
        one.store.stage(adapter("far", 1, bias=(0.0, 60.0, 0.0)))
        one.store.start_trial()
        one.store.confirm()
        one.lives(12.0)  # the stream follows the store
        outcome = one.adaptation.level()
        assert outcome.step == "refused" and isinstance(outcome.error, NonFiniteAdapter) and outcome.bias == {}
        assert one.store.centring is None and one.bias[1] == 60.0 and one.stream.adapter_id == "far"


def test_what_somebody_else_has_the_stream_use_is_replaced_and_not_collected(scene: Scene) -> None:
    windows = scene.adaptation.own.windows  # type: ignore[union-attr]
    scene.stream.set_adapter({BIAS: np.array([9.0, 0.0, 0.0], F32)}, "by hand")
    said = scene.person.lives(3.0)
    assert {one.adapter for one in said} == {"by hand"}
    scene.adaptation.step(said)
    assert scene.adaptation.own.windows == windows and scene.stream.adapter_id == "global"  # type: ignore[union-attr]
    scene.lives(1.0)
    assert scene.adaptation.own.windows == windows + 5  # type: ignore[union-attr]


def test_another_bias_in_the_store_begins_the_guard_anew(scene: Scene) -> None:
    assert scene.adaptation.guard.ready
    scene.store.keep_centring(np.array([1.0, 0.0, 0.0], F32))
    scene.lives(1.0)
    assert scene.bias is not None and scene.adaptation.guard.windows_before <= 5


def test_what_is_erased_is_used_no_more(scene: Scene) -> None:
    scene.adaptation.level()
    scene.store.forget()
    scene.lives(1.0)
    assert scene.bias is None


def test_bad_signal_is_no_window(scene: Scene) -> None:
    windows = scene.adaptation.own.windows  # type: ignore[union-attr]
    for _ in range(10):
        scene.adaptation.step(scene.stream.push(np.full((1, 125), np.nan, F32)))
    assert scene.adaptation.level().windows == windows


@pytest.mark.parametrize(
    ("files", "how"), [(CENTRING, "centring"), ({**CENTRING, **levelling_here()}, "levelling"), ({}, "")]
)
def test_a_bundle_says_how(tmp_path: Path, files: dict[str, bytes], how: str) -> None:
    one = scene_of(bundle_here(tmp_path / "b.physio", {**files, **PLAN}))
    with one.store:
        one.lives(8.0)
        outcome = one.adaptation.level()
        assert outcome.how == how
        if how:
            assert outcome.step == "levelled" and outcome.windows == 37
            ours, theirs = one.lives(4.0)
            assert [r.probabilities for r in ours] != [r.probabilities for r in theirs]
        else:
            assert outcome.step == "refused" and "offers none" in str(outcome.error) and one.bias is None
            assert one.adaptation.unlevel().step == "unlevelled"


@pytest.mark.parametrize("held", [True, False])
def test_values_have_centring_or_nothing(tmp_path: Path, held: bool) -> None:
    pair = tiny_pair()
    arrays = {
        "weight": np.ascontiguousarray(tiny_weights(pair)["h"].T), "share": np.ones(1, F32),
        "reference": np.full(DIM, 3.0, F32),
    }  # fmt: skip
    files = {**tiny_files(pair), **levelling_here(), **({centring.FILE: write_tensors(arrays)} if held else {})}
    bundle = write_tiny_bundle(tmp_path / "b.physio", contract=pair, files=files)
    stream = Stream(bundle, fs_hz={"ppg": 64, "acc": 32}, units={"ppg": "a.u.", "acc": "g"})
    rng = np.random.default_rng(0)
    with opened(Disk(), bundle) as store:
        adaptation = Adaptation.of(bundle, stream, store)
        before: list[Result] = []
        for second in range(60):
            t = np.arange(64 * second, 64 * (second + 1)) / 64
            pulse = (20 * np.sin(2 * np.pi * 1.2 * t) + rng.normal(size=64)).astype(F32)[None]
            still = np.repeat([[0.0], [0.0], [1.0]], 32, axis=1) + rng.normal(scale=0.01, size=(3, 32))
            stream.push(still.astype(F32), float(second), "acc")
            before += (results := stream.push(pulse, float(second), "ppg"))
            adaptation.step(results)
        assert sum(r.embedding is not None for r in before) >= 30
        outcome = adaptation.level()
        if held:
            assert (outcome.step, outcome.how) == ("levelled", "centring")
            assert list(outcome.bias) == ["heart_rate", "steps"] and any(outcome.bias.values())
        else:
            assert outcome.step == "refused" and "2 values" in str(outcome.error) and store.centring is None


@pytest.mark.parametrize("slots", [True, False])
def test_a_merged_graph_is_levelled_too(bundle: Bundle, tmp_path: Path, slots: bool) -> None:
    if not slots:  # a bundle that has none at all
        spec = replace(contract(), slots=())
        graphs = [entry for entry in tiny_graphs() if entry.adapters == "merged"]
        files = {name: data for name, data in tiny_files(spec).items() if "slots" not in name}
        held = read_tensors(files["golden.safetensors"])
        golden = {name: array for name, array in held.items() if "adapter" not in name and "slots" not in name}
        files |= {"golden.safetensors": write_tensors(golden), **levelling_here(), **PLAN}
        bundle = write_tiny_bundle(tmp_path / "b.physio", contract=spec, files=files, graphs=tuple(graphs))
    streams = [Stream(bundle, fs_hz=125.0, units="mV") for _ in range(2)]
    one = scene_of(bundle, *streams)
    with one.store:
        one.lives(12.0)
        outcome = one.adaptation.level()
        assert outcome.step == "levelled" and outcome.windows == 57
        ours, theirs = one.lives(10.0)
        assert said(ours).count("N") > 25 > said(theirs).count("N")
        one.lives(8.0)
        assert one.adaptation.adapt(Link("http://127.0.0.1:1", DEVICE, TOKEN)).step == "not asked"
        assert one.adaptation.unlevel().step == "unlevelled"
        ours, theirs = one.lives(2.0)
        assert ours == theirs


def test_stream_and_store_are_of_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    other = bundle_here(tmp_path / "b.physio")
    with opened(Disk(), bundle) as store, pytest.raises(BundleMismatch, match="stream of bundle"):
        Adaptation.of(bundle, stream_of(other), store)
    with opened(Disk(), other) as store, pytest.raises(BundleMismatch, match="store of bundle"):
        Adaptation.of(bundle, stream_of(bundle), store)
