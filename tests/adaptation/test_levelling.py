"""Levelling on the device: an unlabelled median becomes a bias that brings a person's usual window to everybody's."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_adapters import NOW_S, TRUST, made_adapter

from made_up_host import DEVICE, SHAPES
from made_up_person import Person, bundle_here, stream_of
from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.centring import Centre, Centring
from physioedge_runtime.adaptation.levelling import (
    FILE,
    MIN_WINDOWS,
    MOST_WINDOWS,
    Levelling,
    Levels,
    LevelSpec,
    level_bias,
    relative,
)
from physioedge_runtime.adaptation.session import install, serve
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import AdapterError, FormatError, PhysioEdgeError
from physioedge_runtime.result import Result
from tiny_bundle import DIM, tiny_contract, tiny_pair, tiny_weights

RNG = np.random.default_rng(0)
F32 = np.float32
LEVELS = Levels(
    weight=RNG.normal(size=(3, 8)).astype(F32), constant=np.array([0.5, -1.0, -2.0], F32),
    level=np.array([0.0, -3.0, -5.0], F32), margin=np.array([0.0, 0.0, 4.0], F32),
    both_sides=np.array([0.0, 1.0, 0.0], F32),
)  # fmt: skip


def result(embedding: Any, adapter: str = "global") -> Result:
    return Result(
        t_start_s=0.0, t_end_s=1.0, t_anchor_s=1.0, t_emitted_s=1.0, label=None, probability=0.0, probabilities=(),
        quality=1.0, flags=(), adapter=adapter, embedding=embedding,
    )  # fmt: skip


def person(n: int = MIN_WINDOWS, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(1.5, 1.0, (n, 8)).astype(F32)


def logits_of(embeddings: Any, levels: Levels = LEVELS) -> Any:
    return np.asarray(embeddings, np.float64) @ levels.weight.T + levels.constant


def levelling_of(embeddings: Any, levels: Levels = LEVELS) -> Levelling:
    one = Levelling(levels)
    one.add(result(e) for e in embeddings)
    return one


@pytest.mark.parametrize(
    ("median", "expected"),
    [
        ([0.0, -3.0, -5.0], [0.0, 0.0, 0.0]),  # as everybody
        ([0.0, -1.0, -1.5], [0.0, -2.0, 0.0]),  # S too high; V high, but inside its margin
        ([0.0, -7.5, -40.0], [0.0, 4.5, 0.0]),  # S too low is raised, V is not
        ([0.0, -3.0, 2.0], [0.0, 0.0, -3.0]),  # V is brought to the margin, no further
        ([9.0, -3.0, 2.0], [0.0, 0.0, -3.0]),  # the first label's is nobody's business
    ],
)
def test_the_bias_is_what_lies_beyond_level_and_margin(median: list[float], expected: list[float]) -> None:
    found = level_bias(np.array(median), LEVELS)
    np.testing.assert_array_equal(found, np.array(expected, F32))
    assert found.dtype == F32 and not np.signbit(found[found == 0]).any()


def test_several_people_at_once_and_sides_as_truth_values() -> None:
    medians = np.random.default_rng(2).normal(-4, 4, (5, 3))
    spec = LevelSpec(level=LEVELS.level, margin=LEVELS.margin, both_sides=LEVELS.both_sides.astype(bool))
    np.testing.assert_array_equal(level_bias(medians, spec), [level_bias(one, LEVELS) for one in medians])


def test_the_level_is_the_median_of_logits_relative_to_the_first_label() -> None:
    embeddings = person(101)
    logits = logits_of(embeddings)
    expected = level_bias(np.median(logits - logits[:, :1], axis=0), LEVELS)
    bias = levelling_of(embeddings).bias()
    assert set(bias) == {BIAS} and bias[BIAS].dtype == F32
    np.testing.assert_allclose(bias[BIAS], expected, atol=1e-5)
    np.testing.assert_allclose(relative(logits), LEVELS.relative(embeddings), atol=1e-12)
    moved = relative(logits + bias[BIAS])
    assert np.median(moved, axis=0)[1] == pytest.approx(LEVELS.level[1], abs=1e-5)


def test_a_third_of_other_windows_moves_the_median_little_and_the_mean_much() -> None:
    usual = np.random.default_rng(3).normal(0.0, 0.1, (200, 8)).astype(F32)
    others = usual[:100] + 30 * (LEVELS.weight[2] - LEVELS.weight[0])  # windows that look ventricular, rightly
    both = np.concatenate([usual, others])
    alike = replace(LEVELS, level=np.median(relative(logits_of(usual)), axis=0).astype(F32), both_sides=np.ones(3, F32),
                    margin=np.zeros(3, F32))  # fmt: skip
    levelled = levelling_of(both, alike).bias()[BIAS]
    centring = Centring(Centre(weight=LEVELS.weight, reference=usual.mean(0), share=1.0))
    centring.add(result(e) for e in both)
    centred = centring.bias()[BIAS]
    assert np.abs(levelled).max() < 0.5 < 10 < -(centred[2] - centred[0])


def test_one_side_never_raises_a_label() -> None:
    one_sided = replace(LEVELS, both_sides=np.zeros(3, F32))
    for seed in range(20):
        embeddings = person(seed=seed) * np.float32(seed)
        bias = levelling_of(embeddings, one_sided).bias()[BIAS]
        assert bias[0] == 0 and (bias <= 0).all()
    assert (level_bias(np.random.default_rng(4).normal(0, 50, (1000, 3)), one_sided) <= 0).all()


def test_windows_that_the_model_did_not_see_and_other_adapters_do_not_count() -> None:
    one = levelling_of([None] * 100)
    with pytest.raises(AdapterError, match="median over 0 windows"):
        one.bias()
    one.add(result(e) for e in person(seed=1))
    after = person(seed=2)
    one.add(result(e, "mine") for e in after[:-1])  # a swap: begun anew
    with pytest.raises(AdapterError, match=f"over {MIN_WINDOWS - 1} windows"):
        one.bias()
    one.add([result(after[-1], "mine")])
    assert one.windows == MIN_WINDOWS
    np.testing.assert_array_equal(one.bias()[BIAS], levelling_of(after).bias()[BIAS])
    one.reset()
    with pytest.raises(AdapterError):
        one.bias()


def test_only_the_newest_windows_are_kept() -> None:
    embeddings = person(3 * MOST_WINDOWS + 100)
    embeddings[: 2 * MOST_WINDOWS] += 50.0
    one = levelling_of(embeddings[:MOST_WINDOWS])
    size = one._ring.nbytes
    one.add(result(e) for e in embeddings[MOST_WINDOWS:])
    assert one.windows == MOST_WINDOWS and one._ring.nbytes == size
    np.testing.assert_array_equal(one.bias()[BIAS], levelling_of(embeddings[-MOST_WINDOWS:]).bias()[BIAS])


def content(**changes: Any) -> dict[str, Any]:
    return {**{name: getattr(LEVELS, name) for name in ("weight", "constant", "level", "margin", "both_sides")},
            **changes}  # fmt: skip


def bundle(data: bytes | None, contract: Any = None) -> Any:
    files = {} if data is None else {FILE: None}
    return SimpleNamespace(
        manifest=SimpleNamespace(files=files, name="b"), contract=contract or tiny_contract(), read=lambda name: data
    )


def test_a_bundle_says_what_levelling_needs() -> None:
    found = Levels.of(bundle(write_tensors(content())))
    for name, array in content().items():
        np.testing.assert_array_equal(getattr(found, name), array)
    with pytest.raises(AdapterError, match="without levelling"):
        Levels.of(bundle(None))


@pytest.mark.parametrize("held", [True, False])
def test_values_are_not_levelled(held: bool) -> None:
    with pytest.raises(AdapterError, match="gives 2 values"):
        Levels.of(bundle(write_tensors(content()) if held else None, tiny_pair()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": np.zeros((2, 8), F32)},
        {"weight": np.zeros((8, 3), F32)},
        {"constant": np.zeros((3, 1), F32)},
        {"level": np.zeros(4, F32)},
        {"level": np.zeros((), F32)},
        {"level": np.array([0.0, np.nan, 0.0], F32)},
        {"margin": np.array([0.0, 0.0, np.inf], F32)},
        {"margin": np.zeros(3, np.int64)},
        {"both_sides": np.array([0.0, 0.5, 1.0], F32)},
        {"both_sides": np.array([0.0, -1.0, 1.0], F32)},
        {"both_sides": np.zeros(3, np.int8)},
        {"more": np.zeros(1, F32)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        Levels.of(bundle(write_tensors(content(**wrong))))


def test_files_cut_short_or_short_of_an_array_are_refused() -> None:
    whole = write_tensors(content())
    for data in (b"", whole[:-1], whole + b"\0", whole[:40]):
        with pytest.raises(FormatError):
            Levels.of(bundle(data))
    for name in content():
        rest = {other: array for other, array in content().items() if other != name}
        with pytest.raises(FormatError):
            Levels.of(bundle(write_tensors(rest)))


@pytest.fixture(scope="module")
def levelled_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny bundle in which everybody's usual window has a second label far likelier than this person's."""
    arrays = {
        "weight": np.ascontiguousarray(tiny_weights(tiny_contract())["h"].T), "constant": np.zeros(3, F32),
        "level": np.array([0.0, 3.0, -3.0], F32), "margin": np.zeros(3, F32),
        "both_sides": np.array([0.0, 1.0, 0.0], F32),
    }  # fmt: skip
    assert arrays["weight"].shape == (3, DIM)
    return bundle_here(tmp_path_factory.mktemp("bundle") / "tiny.physio", {FILE: write_tensors(arrays)})


def logits_said(results: list[Result]) -> Any:
    return relative(np.log([r.probabilities for r in results if r.probabilities]))


def test_a_bias_changes_what_a_stream_says_as_it_says(levelled_bundle: Bundle) -> None:
    before, after = (Person(stream_of(levelled_bundle)) for _ in range(2))
    levels = Levels.of(levelled_bundle)
    one, plain = Levelling(levels), before.lives(20.0)
    one.add(plain)
    said = logits_said(plain)
    bias = one.bias()
    np.testing.assert_allclose(bias[BIAS], level_bias(np.median(said, axis=0), levels), atol=1e-4)
    after.stream.set_adapter(bias)
    levelled = after.lives(20.0)
    moved = logits_said(levelled)
    np.testing.assert_allclose(moved, said + bias[BIAS], atol=1e-4)
    assert np.median(moved, axis=0)[1] == pytest.approx(3.0, abs=1e-4)
    assert np.median(moved, axis=0)[2] <= -3.0 + 1e-4
    labels = [r.label for r in levelled if r.probabilities]
    assert labels == [levelled_bundle.contract.labels[i] for i in moved.argmax(1)]
    assert labels != [r.label for r in plain if r.probabilities]
    assert labels.count("S") > len(labels) / 2


def test_a_bias_in_use_begins_nothing_anew_and_is_not_levelled_again(levelled_bundle: Bundle) -> None:
    target = Target.of(levelled_bundle, device=DEVICE)
    store = AdapterStore.open(Disk(), target=target, trust=TRUST, clock=lambda: NOW_S)
    someone, twin = (Person(stream_of(levelled_bundle)) for _ in range(2))
    one, without = (Levelling(Levels.of(levelled_bundle)) for _ in range(2))
    arrays = {name: np.random.default_rng(6).normal(size=shape).astype(F32) for name, shape in SHAPES.items()}
    with store:
        for adapter in (None, made_adapter(arrays, id="slots")):
            if adapter is not None:
                assert install(someone.stream, store, adapter).error is None
                twin.stream.set_adapter(dict(store.serving.arrays), "slots")  # type: ignore[union-attr]
            seen = 0
            for _ in range(4):
                one.add(someone.lives(8.0))
                without.add(twin.lives(8.0))
                assert one.windows == without.windows > seen  # also the swap of slots: from 0 on, in both
                seen = one.windows
                np.testing.assert_array_equal(one.bias()[BIAS], without.bias()[BIAS])
                store.keep_centring(one.bias()[BIAS])
                serve(someone.stream, store)
                assert someone.stream.snapshot()["adapter"][BIAS][1] != 0
            assert seen <= 4 * 8.0 * 5  # of this adapter only: five windows a second


def test_refusals_say_what_came_what_was_expected_and_what_to_do() -> None:
    for data, contract in ((None, tiny_contract()), (b"", tiny_contract()), (b"", tiny_pair())):
        with pytest.raises(PhysioEdgeError) as caught:
            Levels.of(bundle(data, contract))
        assert caught.value.came and caught.value.expected and caught.value.do
