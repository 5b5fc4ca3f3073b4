"""A host measured: batches, a real process under load, and the page."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")

from physioedge import results
from physioedge.bench import host_page
from physioedge.bench.host_batches import batch_rows, seconds_by_size
from physioedge.bench.host_figures import ALONE, TOGETHER, gain_row, load_rows
from physioedge.bench.host_load import ADAPTATIONS, Devices, Load, conditions_for, load
from physioedge.bench.host_server import Usage, hosted
from physioedge.cli import bench_host
from physioedge.cli.main import main
from physioedge.generator.adapter_set import AdapterSet, Origin, save_set
from physioedge.generator.dit.config import DitConfig
from physioedge.generator.dit.fitting import fit_dit
from physioedge.generator.files import Generator, load_generator, save_generator
from physioedge.generator.regression import fit_ridge
from physioedge.results import Row
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import HostError

FEATURES = 12
ORIGIN = Origin(
    task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source="0" * 64,
    slots=tuple(SlotSpec(name=name, shape=(2, 6)) for name in ("a.B", "b.B")),
)  # fmt: skip


def people() -> AdapterSet:
    rng = np.random.default_rng(0)
    return AdapterSet(
        origin=ORIGIN, conditions=np.abs(rng.normal(size=(12, FEATURES))),
        adapters=0.1 * rng.normal(size=(12, ORIGIN.width)), person=np.repeat(list("abcd"), 3), details={"seed": 0},
    )  # fmt: skip


@pytest.fixture(scope="module")
def ridge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ridge") / "ridge.generator"
    save_generator(path, Generator(origin=ORIGIN, weights=fit_ridge(people())))
    return path


def test_conditions_are_different_and_such_as_the_generator_takes(ridge: Path) -> None:
    generator = load_generator(ridge)
    found = conditions_for(generator, 5, seed=1)
    assert len(set(found)) == 5 and found == conditions_for(generator, 5, seed=1)
    assert len(generator.generate([Condition.from_bytes(one) for one in found])) == 5


def test_batches_take_turns_and_all_conditions_are_answered_in_each() -> None:
    sizes: list[int] = []
    conditions = np.arange(12.0).reshape(6, 2)
    seen: list[float] = []

    def answer(some: np.ndarray) -> None:
        sizes.append(len(some))
        seen.extend(some[:, 0])

    found = seconds_by_size(answer, conditions, rounds=2, sizes=(1, 4))
    assert sizes == ([1] * 6 + [4, 2]) * 3 and seen == list(conditions[:, 0]) * 6
    assert {size: len(took) for size, took in found.items()} == {1: 2, 4: 2}


def test_the_ratio_is_that_of_the_medians() -> None:
    seconds = {1: np.array([4.0, 8.0, 5.0]), 8: np.array([2.0, 2.0, 9.0])}
    rows = {(row.group, row.metric): row for row in batch_rows("t", "dit", seconds, 10)}
    one, many = "generator alone, one by one", "generator alone, batches of 8"
    assert rows[one, "answers_per_core_s"].value == 2.0 and rows[many, "answers_per_core_s"].value == 5.0
    assert rows[many, "cpu_ms_per_answer"].value == 200.0
    ratio = rows[many, "times_one_by_one"]
    assert (ratio.value, ratio.n) == (2.5, 3) and (one, "times_one_by_one") not in rows
    assert ratio.low is not None and ratio.high is not None and 5 / 9 <= ratio.low < 2.5 < ratio.high <= 4.0


def usage(cpu_s: float, rss_kb: float, peak_kb: float) -> Usage:
    return Usage(cpu_s=cpu_s, rss_kb=rss_kb, peak_kb=peak_kb)


def loads() -> list[Load]:
    first = Load(clients=4, latency_s=[0.01] * 6, refused=Counter({"429": 2}), took_s=2.0,
                 before=usage(1.0, 1000, 1000), after=usage(1.6, 1100, 2024))  # fmt: skip
    second = Load(clients=4, latency_s=[0.03] * 4, took_s=1.0, before=usage(1.6, 1100, 1100),
                  after=usage(2.0, 1200, 1300))  # fmt: skip
    return [first, second]


def test_figures_of_a_load() -> None:
    found = {row.metric: row.value for row in load_rows("t", "krr", ALONE, loads(), 1000.0)}
    assert found["requests_per_s"] == 3.5 and found["refused_share"] == pytest.approx(1 / 6)
    assert found["refused_429_share"] == pytest.approx(1 / 6) and found["latency_p50_ms"] == pytest.approx(10.0)
    assert found["latency_p99_ms"] == pytest.approx(30.0) and found["cpu_ms_per_answer"] == pytest.approx(100.0)
    assert found["rss_growth_kb_per_answer"] == pytest.approx(20.0) and found["peak_over_idle_mb"] == 1.0
    twice = gain_row("t", "krr", loads(), [loads()[0]] * 2)
    assert (twice.value, twice.low, twice.high) == (pytest.approx(7 / 6), 1.0, pytest.approx(4 / 3))


def test_nobody_answered_has_no_latency() -> None:
    nobody = Load(clients=1, refused=Counter({"LinkError": 3}), took_s=1.0, before=usage(0, 0, 0), after=usage(0, 0, 0))
    found = {row.metric: row.value for row in load_rows("t", "krr", ALONE, [nobody], 0.0)}
    assert found == {"requests_per_s": 0.0, "refused_share": 1.0, "refused_429_share": 0.0}


def test_a_real_host_under_load_serves_its_devices_and_refuses_one_that_asks_too_often(ridge: Path) -> None:
    conditions = conditions_for(load_generator(ridge), 8, seed=0)
    with hosted(ridge, max_batch=4, devices=200) as served:
        devices = Devices(served)
        found = load(devices, conditions, clients=3, seconds=0.3)
        assert len(found.latency_s) >= 3 and not found.refused and max(found.latency_s) < 5.0
        assert devices.next() >= len(found.latency_s) // ADAPTATIONS
        if found.before.rss_kb:
            assert found.after.cpu_s > found.before.cpu_s and found.after.peak_kb >= found.after.rss_kb > 1000
        few = load(Devices(type(served)(port=served.port, pid=served.pid, devices=1)), conditions, clients=2, seconds=1)
    assert few.refused["429"] > 0 and few.refused.keys() == {"429"} and few.asked <= 20 + few.refused["429"]


def test_a_host_that_does_not_begin_says_why(tmp_path: Path) -> None:
    (tmp_path / "no.generator").write_bytes(b"nothing")
    with (
        pytest.raises(HostError, match="generator of this version"),
        hosted(tmp_path / "no.generator", max_batch=1, devices=1),
    ):
        raise AssertionError("it serves")


def test_hosts_with_and_without_micro_batches_are_measured_in_turns(ridge: Path) -> None:
    args = Namespace(clients=(1, 2), rounds=1, seconds=0.2)
    rows = bench_host._loaded(args, "ridge", ridge)
    groups = {row.group for row in rows}
    assert groups == {f"{n}, {how}" for n in ("1 client", "2 clients") for how in (TOGETHER, ALONE)}
    gains = [row for row in rows if row.metric == "times_one_by_one"]
    assert len(gains) == 2 and all(row.value > 0 and row.group.endswith(TOGETHER) for row in gains)
    assert all(row.value == 0 for row in rows if row.metric == "refused_share")


def step_row(arm: str, metric: str, value: float, group: str = "DS1 folds, lead 1") -> Row:
    return Row(
        task="t", arm=arm, group=group, metric=metric, unit="1", value=value, low=value, high=value, n=3, seeds=1
    )


def steps() -> list[Row]:
    scores = ("accuracy", "macro_f1", "mean_accuracy")
    rows = [step_row(arm, metric, 0.5) for arm in ("levelling", "dit_steps1", "dit_steps50") for metric in scores]
    rows += [step_row(arm, "adapter_cpu_ms", 7.0) for arm in ("dit_steps1", "dit_steps50")]
    return [*rows, step_row("dit_steps1", "macro_f1", -0.25, "DS1 folds, lead 1:minus:dit_steps50")]


def test_parts_are_measured_one_after_the_other_and_written_on_one_page(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    batches = batch_rows("t", "dit_steps1", {1: np.full(3, 4.0), 8: np.full(3, 2.0)}, 10)
    load_ = [*load_rows("t", "krr", TOGETHER, loads(), 1000.0), gain_row("t", "krr", loads(), loads())]
    host_page.write(path, host_page.document({"load": ("c load", load_), "steps": ("c steps", steps())}, path))
    host_page.write(path, host_page.document({"batches": ("c batches", batches)}, path))
    found = results.read(path)
    assert [host_page.part_of(row) for row in found] == (
        ["batches"] * len(batches) + ["steps"] * len(steps()) + ["load"] * len(load_)
    )
    assert {part: head["command"] for part, head in json.loads(path.read_text())["parts"].items()} == {
        "batches": "c batches", "steps": "c steps", "load": "c load"
    }  # fmt: skip
    page = path.with_suffix(".md").read_text()
    assert "| dit_steps1 | 2.5 | 5 (2.0 [2.0, 2.0]) |" in page and "-0.250 [-0.250, -0.250]" in page
    assert "| krr | 4 clients, micro-batches | 3.5 |" in page and "`c steps`" in page
    pytest.importorskip("matplotlib")
    assert path.with_suffix(".png").stat().st_size > 1000


def test_the_command_measures_the_generators_of_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    save_set(tmp_path / "set" / "adapters.safetensors", people())
    dit = fit_dit(people(), DitConfig(width=16, blocks=1, heads=2, steps=0), seed=0, progress=False)
    save_generator(tmp_path / "dit", Generator(origin=ORIGIN, weights=dit))
    words = ["--set", str(tmp_path / "set"), "--dit", str(tmp_path / "dit"), "--out", str(tmp_path / "out")]
    assert main(["bench-host", *words, "--parts", "batches", "--rounds", "1"]) == 0
    rows = results.read(tmp_path / "out" / "host.json")
    arms = {row.arm for row in rows}
    assert arms == {"krr", "mlp", "dit_steps1_draws1", "dit_steps10_draws1", "dit_steps10"}
    assert len([row for row in rows if row.metric == "times_one_by_one"]) == 5 * len(arms)
    said = capsys.readouterr().out
    assert "## One by one and together" in said and str(tmp_path) not in said


@pytest.mark.parametrize("wrong", [["--parts", "all"], ["--rounds", "0"], ["--clients", "1,x"]])
def test_wrong_usage_is_2(wrong: list[str]) -> None:
    assert main(["bench-host", "--set", "s", "--dit", "d", *wrong]) == 2
