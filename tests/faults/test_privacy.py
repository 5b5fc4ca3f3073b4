"""R14: attacks find what is there to be found and no more; noise is priced rightly; sockets are seen."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge.evaluation import intervals
from physioedge.evaluation.privacy import measuring, page
from physioedge.evaluation.privacy.attacks import rebuilt, recognised, recognised_by_learning, separation
from physioedge.evaluation.privacy.budget import DELTA, epsilon
from physioedge.evaluation.privacy.measuring import Asked, measured
from physioedge.evaluation.privacy.people import PARTS, RECORDS, Part
from physioedge.faults import no_socket, privacy
from physioedge.faults.row import Setting
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.files import Generator
from physioedge.generator.perceptron import Perceptron
from physioedge.generator.regression import fit_krr
from physioedge.results import Row as Figure
from physioedge_runtime.adaptation.condition import EMBEDDING, SHAPELETS, Condition, ConditionSpec
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import EvaluationRefused

PEOPLE, FEATURES, SAMPLES = 24, 12, 30


def told(*, personal: float, seed: int = 0) -> dict[str, dict[str, Part]]:
    """People whose features hold so much of themselves, beside what changes from part to part; beats hang on them."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=(FEATURES, SAMPLES))

    def condition(kind: str, mean: np.ndarray) -> Condition:
        numbers = mean.astype(np.float32)
        return Condition(kind=kind, source="s", task={}, backbone="b", adapter="global", windows=300, mean=numbers,
                         deviation=np.abs(numbers))  # fmt: skip

    out: dict[str, dict[str, Part]] = {}
    for record in RECORDS[:PEOPLE]:
        self_ = rng.normal(size=FEATURES)
        out[record] = {}
        for part in PARTS:
            mean = personal * self_ + rng.normal(size=FEATURES)
            out[record][part] = Part(
                conditions={kind: condition(kind, mean) for kind in (EMBEDDING, SHAPELETS)},
                level=np.array([0.0, self_[0], self_[1]]), beat=self_ @ shape, sure=rng.random(), right=rng.random(),
            )  # fmt: skip
    return out


def asked(personal: float) -> Asked:
    rng = np.random.default_rng(1)
    spec = {kind: ConditionSpec(kind=kind, low=-np.full(FEATURES, 10.0), high=np.full(FEATURES, 10.0), source="s")
            for kind in (EMBEDDING, SHAPELETS)}  # fmt: skip
    origin = Origin(task="arrhythmia", backbone_digest="b", kind=EMBEDDING, source="s",
                    slots=(SlotSpec(name="a", shape=(2, 3)),))  # fmt: skip
    found = AdapterSet(origin=origin, conditions=rng.normal(size=(10, 2 * FEATURES)), adapters=rng.normal(size=(10, 6)),
                       person=np.array([str(i) for i in range(10)]), details={})  # fmt: skip
    return Asked(told=told(personal=personal), specs=spec, generator=Generator(origin=origin, weights=fit_krr(found)))


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 100)
    monkeypatch.setattr(measuring, "DRAWS", 100)
    monkeypatch.setattr(measuring, "MULTIPLIERS", (0.0, 10.0, 1000.0))
    monkeypatch.setattr(page, "MULTIPLIERS", (0.0, 10.0, 1000.0))


def test_who_resembles_themselves_is_recognised_and_nobody_else() -> None:
    rng = np.random.default_rng(0)
    person = rng.normal(size=(30, 20))
    for attack in (recognised, recognised_by_learning):
        assert attack(person, person + 0.05 * rng.normal(size=person.shape)).all()
        assert attack(person, rng.normal(size=person.shape)).mean() < 0.2


def test_learning_finds_the_person_below_a_change_that_all_have_in_common() -> None:
    rng = np.random.default_rng(1)
    person, loud = rng.normal(size=(40, 8)), np.zeros(8)
    loud[:3] = 6.0
    parts = [person + loud * rng.normal(size=person.shape) + 0.1 * rng.normal(size=person.shape) for _ in range(2)]
    assert recognised_by_learning(*parts).mean() > recognised(*parts).mean() + 0.2


def test_a_beat_is_rebuilt_from_what_tells_of_it_and_not_from_noise() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(40, 6))
    beats = features @ rng.normal(size=(6, 20))
    guessed, plain = rebuilt(features, beats)
    assert guessed.sum() < 0.1 * plain.sum()
    guessed, plain = rebuilt(rng.normal(size=(40, 6)), beats)
    assert guessed.sum() > 0.95 * plain.sum()


def test_the_area_is_that_of_pairs() -> None:
    assert separation(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert separation(np.array([1.0]), np.array([1.0, 0.0])) == 0.75


@pytest.mark.parametrize(("multiplier", "numbers"), [(1.0, 1), (5.0, 4), (30.0, 512)])
def test_epsilon_is_where_two_gaussians_differ_by_delta(multiplier: float, numbers: int) -> None:
    eps, moved = epsilon(multiplier, numbers), math.sqrt(numbers) / multiplier
    x = np.linspace(-40, 40, 800_001)
    old, new = (np.exp(-0.5 * (x - at) ** 2) / math.sqrt(2 * math.pi) for at in (0.0, moved))
    left = float(np.maximum(new - np.exp(eps) * old, 0).sum() * (x[1] - x[0]))
    assert math.isclose(left, DELTA, rel_tol=0.02)
    assert epsilon(0.0, 5) == math.inf and epsilon(2 * multiplier, numbers) < eps


def test_noise_hides_people_and_ruins_the_adapter(tmp_path: Path) -> None:
    rows = measured(asked(3.0), repeats=2)
    value = {(row.arm, row.metric): row.value for row in rows}
    assert value["embedding", "top1"] > 0.8 > 0.3 > value["embedding_noise_1000", "top1"]
    assert value["embedding", "rebuilt"] < 0.5 and value["embedding_noise_1000", "rebuilt"] > 0.9
    assert value["embedding", "adapter_moved"] == 0 and value["embedding_noise_1000", "adapter_moved"] > 0.5
    assert value["embedding_noise_10", "epsilon"] > value["embedding_noise_1000", "epsilon"]
    page.write(tmp_path, "a command", rows)
    text = (tmp_path / "privacy.md").read_text()
    assert "| embedding_noise_10 |" in text and (tmp_path / "privacy.png").stat().st_size > 1000


def test_a_network_without_conditions_is_asked_how_much_it_has_to_say() -> None:
    one = asked(1.0)
    first = {record: parts["first"] for record, parts in one.told.items()}
    features = np.stack([measuring.features_of(part.conditions[EMBEDDING]) for part in first.values()])
    known = features[:2]
    rng = np.random.default_rng(4)
    network = Perceptron(
        middle=np.zeros(2 * FEATURES), size=np.ones(2 * FEATURES),
        layers=((1e3 * known, -1e3 * (known**2).sum(1) + 1e3), (np.eye(2), np.zeros(2))),  # loud at these two alone
        axes=rng.normal(size=(2, 6)), level=rng.normal(size=6),
    )  # fmt: skip
    known_to = measuring._known_to(Generator(origin=one.generator.origin, weights=network))
    scores = np.array([known_to(part) for part in first.values()])
    assert scores[:2].min() > scores[2:].max()
    kept = Generator(origin=one.generator.origin, weights=fit_krr(AdapterSet(
        origin=one.generator.origin, conditions=known, adapters=rng.normal(size=(2, 6)), person=np.array(["a", "b"]),
        details={})))  # fmt: skip
    scores = np.array([measuring._known_to(kept)(part) for part in first.values()])
    assert scores[:2].min() > scores[2:].max()
    with pytest.raises(EvaluationRefused, match="asked without torch"):
        measuring._known_to(SimpleNamespace(weights=None, kind="dit"))


def test_the_row_loses_where_a_beat_is_told_and_where_a_socket_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(privacy, "folder", lambda name: tmp_path)
    monkeypatch.setattr(privacy, "_local", lambda work: ([], ["adapt --local: 0 sockets"]))
    for personal, holds in ((3.0, False), (0.0, True)):
        rows = measured(asked(personal), repeats=1)
        monkeypatch.setattr(privacy, "_attacked", lambda people, rows=rows: [r for r in rows if "emb" in r.arm])
        assert privacy.trial(Setting(work=tmp_path)).holds == holds
    monkeypatch.setattr(privacy, "_local", lambda work: (["adapt --local: exit code 0, socket.connect"], ["..."]))
    found = privacy.trial(Setting(work=tmp_path))
    assert not found.holds and found.lost == 1 and "socket.connect" in " ".join(found.notes)
    assert found.worse == ("adapt --local: exit code 0, socket.connect",)


def test_what_is_known_to_be_told_is_told_from_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(privacy, "folder", lambda name: tmp_path)
    monkeypatch.setattr(privacy, "_local", lambda work: ([], []))

    def told_by(arm: str, high: float) -> tuple[bool, tuple[str, ...]]:
        leak = Figure(task="t", arm=arm, group="g", metric="rebuilt", unit="1", value=high - 0.1, low=0.0, high=high,
                      n=9, seeds=1)  # fmt: skip
        monkeypatch.setattr(privacy, "_attacked", lambda people: [leak])
        found = privacy.trial(Setting(work=tmp_path))
        return found.holds, found.worse

    for known in ("embedding", "embedding_noise_30", "shapelets_noise_10", "adapter"):
        assert told_by(known, 0.8) == (False, ()) and told_by(known, 1.1) == (True, ())
        assert told_by(known, 0.3)[1] == (f"{known}, rebuilt: 0.20",)
    for other in ("embedding_noise_300", "shapelets_noise_100", "levelling", "adapter_noise_1"):
        assert told_by(other, 0.8)[1] == (f"{other}, rebuilt: 0.70",)


def test_a_socket_is_seen_and_adapting_locally_opens_none(tmp_path: Path) -> None:
    assert no_socket.asked_for(["probe"]) == (0, ["socket.__new__"])
    opened, said = privacy._local(tmp_path)
    assert not opened and said == ["adapt --local: 0 sockets", "adapt --level: 0 sockets"]
