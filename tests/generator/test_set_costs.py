"""Costs of a set: what it says of itself, and what a process of its own takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_up_residuals import smooth_set

from physioedge.adapters.sets.ledger import once
from physioedge.evaluation.personal import costs
from physioedge.evaluation.personal.costs import Places, cost_rows
from physioedge.generator.adapter_set import AdapterSet, save_set
from physioedge.generator.spaces import FourierSpace


def test_sets_ledgers_and_fits_are_rows(tmp_path, monkeypatch):
    found = smooth_set(n=6)
    details = {"cost": {"adapters": 18, "core_s": 12.5}}
    save_set(tmp_path / "adapters.safetensors", AdapterSet(**{**vars(found), "details": details}))
    done: list[Path] = []
    once(tmp_path, "globals/0-0", lambda: bool(done), lambda: done.append(tmp_path))
    monkeypatch.setattr(costs, "_local", lambda places, name: [lambda: None] * places.people)
    monkeypatch.setattr(costs, "_merge", lambda places: [lambda: None])
    places = Places(backbone=tmp_path, data=None, folder=tmp_path, parts=(costs.SET, "nearest", *costs.PARTS[-5:]))
    monkeypatch.setattr(costs, "_measured", lambda places, arm, group, say: [
        costs._row(arm, group, "core_s", "s", costs._measure(places, arm)[0])])  # fmt: skip
    rows = {(row.arm, row.metric): row for row in cost_rows(places, lambda line: None)}
    assert rows["adapter set", "adapters"].value == 18 and rows["adapter set", "core_s"].value == 12.5
    assert rows["global adapters", "core_s"].value >= 0
    assert {arm: row.n for (arm, metric), row in rows.items() if metric == "core_s"} == {
        "adapter set": 1, "global adapters": 1, "nearest": 1, "local": 3, "full": 3, "merge": 1,
        "fourier": 20, "vera": 20,
    }  # fmt: skip
    assert rows["fourier", "numbers"].value == FourierSpace.of(found.origin).width
    assert all(0 <= rows[arm, "relative_error"].value < 1 for arm in costs.EXPANSIONS)


def test_a_process_of_its_own_says_its_peak(tmp_path):
    save_set(tmp_path / "adapters.safetensors", AdapterSet(**{**vars(smooth_set(n=4)), "details": {}}))
    places = Places(backbone=tmp_path, data=None, folder=tmp_path)
    said: list[str] = []
    rows = {row.metric: row for row in costs._measured(places, "krr", costs.ONCE, said.append)}
    assert rows["peak_rss_mb"].value >= rows["rss_before_mb"].value > 10
    assert rows["core_s"].value > 0 and np.isfinite(rows["core_s"].value)
    assert said and "core-seconds" in said[0]


def test_a_part_measured_again_takes_the_place_of_the_older():
    old = [costs._row(arm, costs.ONCE, "core_s", "s", [1.0]) for arm in ("krr", "mlp")]
    new = costs._row("krr", costs.ONCE, "core_s", "s", [2.0])
    assert [(row.arm, row.value) for row in costs.beside([new], old)] == [("mlp", 1.0), ("krr", 2.0)]
