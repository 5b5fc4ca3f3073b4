"""Finished fits to rows: every direction's arms, what a bridge gains over each, ablations, positions, costs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge import results
from physioedge.bridge.config import BridgeConfig
from physioedge.bridge.directions import direction_of
from physioedge.evaluation import metrics
from physioedge.evaluation.bridge import plan
from physioedge.evaluation.bridge.lags import LAG
from physioedge.evaluation.bridge.page import HELD, LAGGED, write_heat_map, write_page
from physioedge.evaluation.bridge.positions import heat_maps, position_rows
from physioedge.evaluation.bridge.run import FITS
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.results import Row
from physioedge_runtime.errors import EvaluationRefused

METRICS = ("balanced_accuracy", "macro_f1", "weighted_f1")
GROUP, AGREEMENT = "test", "agreement with the old model"
OPPONENTS = (*plan.DISTILLED, plan.FULL, plan.FIXED, plan.RANDOM, plan.DIRECT, plan.ORACLE)
Record = Mapping[str, Any]
_NO_FITS = ("labelled", "frozen", "choice", "carried", LAG)


def weighted_f1(matrix: NDArray[np.float64], labels: tuple[str, ...]) -> NDArray[np.float64]:
    """F1 of each class by its share of the truth, from confusion matrices (..., class, class)."""
    hit, actual, called = np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1), matrix.sum(-2)
    f1 = 2 * hit / np.maximum(actual + called, 1e-12)
    return np.asarray((f1 * actual).sum(-1) / np.maximum(actual.sum(-1), 1e-12))


def metric_of(sums: NDArray[np.float64], name: str, labels: tuple[str, ...]) -> NDArray[np.float64]:
    """A metric of flat confusion matrices (..., class * class)."""
    matrix = sums.reshape(*sums.shape[:-1], len(labels), len(labels))
    return weighted_f1(matrix, labels) if name == "weighted_f1" else metrics.from_confusion(matrix, labels)[name]


class Counts:
    """Confusion matrices of a direction's arms, over seeds and everybody who is judged.

    Parameters
    ----------
    records : mapping of key to record
    name : str
        Direction.
    """

    def __init__(self, records: Mapping[str, Record], name: str) -> None:
        self.direction = direction_of(name)
        self.frozen = [r for key, r in sorted(records.items()) if key.startswith(f"{name}/frozen/")]
        self.people = [person for record in self.frozen for person in record["people"]]
        self.fits: dict[tuple[str, ...], dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
        for key, record in records.items():
            parts = key.split("/")
            if parts[0] == name and parts[1] not in _NO_FITS and plan.TRIED not in key:
                variant = (parts[1], *parts[4:]) if parts[1] != plan.RANDOM else (parts[1],)
                self.fits[variant][int(parts[3])].append(record)

    def of(self, variant: tuple[str, ...], what: str) -> NDArray[np.float64] | None:
        """Matrices (seed, person, class * class) of one arm; None where a fold of every seed is missing."""
        n = len(self.direction.labels)
        if variant[0] in plan.FROZEN:
            parts = [np.array(r[variant[0]][what], float) for r in self.frozen]
            return np.asarray(np.concatenate(parts).reshape(1, -1, n * n))
        if variant == (plan.FIXED,):
            places = [self.of(one, what) for one in sorted(self.fits) if one[0] == plan.FIXED]
            known = [part for part in places if part is not None]
            return np.concatenate(known) if known else None
        whole = []
        for fits in self.fits.get(variant, {}).values():
            by_fold = sorted(fits, key=lambda r: int(r["key"].split("/")[2]))
            if len({r["key"].split("/")[2] for r in by_fold}) == len(self.frozen) == len(by_fold):
                whole.append(np.concatenate([np.array(r[what], float) for r in by_fold]).reshape(-1, n * n))
        return np.stack(whole) if whole else None

    def records(self, variant: tuple[str, ...]) -> list[Record]:
        """Every fit of one arm."""
        if variant == (plan.FIXED,):
            return [r for one in self.fits if one[0] == plan.FIXED for fits in self.fits[one].values() for r in fits]
        return [r for fits in self.fits.get(variant, {}).values() for r in fits]


def read_records(work: Path) -> dict[str, Record]:
    """Finished fits by key.

    Raises
    ------
    EvaluationRefused
        There are none.
    """
    path = work / FITS
    if not path.exists():
        raise EvaluationRefused(f"no {FITS} in {work.name}", "finished fits", "Run --parts fits first.")
    found: dict[str, Record] = {}
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found[record["key"]] = record
    return found


def write_table(work: Path, out: Path, names: Sequence[str], seeds: int) -> list[Row]:
    """Write ``bridge.json``, ``bridge.md`` and ``bridge-positions.png``; gives the rows."""
    records = read_records(work)
    maps = heat_maps(records, names)
    rows: list[Row] = []
    selected: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    for name in names:
        counts = Counts(records, name)
        if not counts.frozen:
            continue
        rows += direction_rows(counts) + cost_rows(counts) + carried_rows(records, name)
        rows += lag_rows(records, name) + choice_rows(records, name)
        rows += position_rows(name, maps.get(name))
        chosen[name] = {k: v for k, v in records.get(f"{name}/choice", {}).items() if k != "key"}
        selected[name] = [{k: r[k] for k in ("positions", "probe", "similarity", "pairs", "test", "answers")}
                          for r in counts.frozen]  # fmt: skip
    devices = sorted({r["device"] for r in records.values() if "device" in r})
    command = f"physioedge evaluate bridge --seeds {seeds}"
    results.write(out / "bridge.json", command, rows, fitted_on=devices, settings=plan.settings(BridgeConfig()),
                  chosen=chosen, selection=selected)  # fmt: skip
    write_heat_map(out / "bridge-positions.png", maps)
    write_page(out / "bridge.md", rows, command)
    return rows


def direction_rows(counts: Counts) -> list[Row]:
    """Metrics of every arm and variant, and what the bridge gains over its opponents."""
    arms: list[tuple[str, ...]] = [(arm,) for arm in (*plan.FROZEN, *plan.MAIN)]
    arms += sorted(v for v in counts.fits if len(v) > 1 and v[0] not in (plan.FIXED, plan.POSITION))
    groups = [("counts", GROUP)] if counts.direction.scored else []
    rows = []
    for what, group in [*groups, ("agreement", AGREEMENT)]:
        own = counts.of((plan.BRIDGE,), what)
        for variant in arms:
            found = counts.of(variant, what)
            if found is None:
                continue
            rows += [_row(counts, ":".join(variant), group, name, found) for name in METRICS]
            if own is not None and variant[0] in OPPONENTS and len(variant) == 1:
                rows += [_gain(counts, variant[0], group, name, own, found) for name in METRICS]
    return rows


def _row(counts: Counts, arm: str, group: str, name: str, found: NDArray[np.float64]) -> Row:
    labels = counts.direction.labels
    value, low, high = subject_bootstrap(found, lambda sums: metric_of(sums, name, labels))
    return Row(task=counts.direction.name, arm=arm, group=group, metric=name, unit="1", value=value, low=low, high=high,
               n=found.shape[1], seeds=len(found))  # fmt: skip


def _gain(
    counts: Counts, arm: str, group: str, name: str, own: NDArray[np.float64], theirs: NDArray[np.float64]
) -> Row:
    """The bridge less an opponent, both over the same draws of people."""
    labels, split = counts.direction.labels, len(own)

    def statistic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        values = metric_of(sums, name, labels)
        return np.asarray((values[:, :split].mean(1) - values[:, split:].mean(1))[:, None])

    value, low, high = subject_bootstrap(np.concatenate([own, theirs]), statistic)
    return Row(task=counts.direction.name, arm=plan.BRIDGE, group=group, metric=f"{name}_over:{arm}", unit="1",
               value=value, low=low, high=high, n=own.shape[1], seeds=split)  # fmt: skip


def cost_rows(counts: Counts) -> list[Row]:
    """Trained numbers, seconds and memory of a fit; means over folds and seeds."""
    rows = []
    for arm in plan.MAIN:
        found = counts.records((arm,))
        if not found:
            continue
        for metric, unit, key in (("trainable_parameters", "1", "parameters"), ("fit_s", "s", "fit_s"),
                                  ("peak_mb", "MB", "peak_mb")):  # fmt: skip
            value = float(np.mean([r[key] for r in found]))
            seeds = len({r["key"].split("/")[3] for r in found})
            rows.append(Row(task=counts.direction.name, arm=arm, group="fits", metric=metric, unit=unit, value=value,
                            low=None, high=None, n=len(found), seeds=seeds))  # fmt: skip
    return rows + _size_rows(counts)


def _size_rows(counts: Counts) -> list[Row]:
    """Trained numbers of the bridges that were ablated."""
    rows = []
    for variant in sorted(v for v in counts.fits if v[0] == plan.BRIDGE and len(v) > 1):
        found = counts.records(variant)
        seeds = len({r["key"].split("/")[3] for r in found})
        rows.append(Row(task=counts.direction.name, arm=":".join(variant), group="fits", metric="trainable_parameters",
                        unit="1", value=float(found[0]["parameters"]), low=None, high=None, n=len(found),
                        seeds=seeds))  # fmt: skip
    return rows


def carried_rows(records: Mapping[str, Record], name: str) -> list[Row]:
    """Centring and adapters of the old model, on its own sensor and through the bridge."""
    found = [r for key, r in sorted(records.items()) if key.startswith(f"{name}/carried/")]
    if not found:
        return []
    labels, rows = direction_of(name).labels, []
    for way in found[0]["ways"]:
        counts = np.concatenate([np.array(r["ways"][way], float) for r in found])
        flat = counts.reshape(1, len(counts), -1)
        for metric in METRICS:
            value, low, high = subject_bootstrap(flat, lambda sums, m=metric: metric_of(sums, m, labels))  # type: ignore[misc]
            rows.append(Row(task=name, arm=f"carried:{way}", group="after 5 min", metric=metric, unit="1", value=value,
                            low=low, high=high, n=len(counts), seeds=1))  # fmt: skip
    return rows


def lag_rows(records: Mapping[str, Record], name: str) -> list[Row]:
    """How late the new sensor is, and how often chance does as well."""
    found = records.get(f"{name}/{LAG}")
    if found is None:
        return []
    units = {"lag_s": "s", "correlation": "1", "by_chance": "1"}
    return [Row(task=name, arm=LAG, group=LAGGED, metric=metric, unit=unit, value=found[metric], low=None, high=None,
                n=found["segments"], seeds=1) for metric, unit in units.items()]  # fmt: skip


def choice_rows(records: Mapping[str, Record], name: str) -> list[Row]:
    """What the best candidate of each choice came to on people held out of the pairs, the old model taken for right.

    These people chose it, so it is a bit too good; it is all there is of directions whose main fits are missing.
    """
    rows = []
    for arm, candidates in plan.CHOICES.items():
        means = []
        for changed in candidates:
            ending = "/".join(f"{one}={value}" for one, value in (*changed, (plan.TRIED, True)))
            found = [r["held_agreement"] for key, r in records.items()
                     if key.startswith(f"{name}/{arm}/") and key.endswith(f"/{ending}")]  # fmt: skip
            means += [(float(np.mean(found)), len(found))] if found else []
        if means:
            value, n = max(means)
            rows.append(Row(task=name, arm=arm, group=HELD, metric="balanced_accuracy", unit="1", value=value,
                            low=None, high=None, n=n, seeds=len(plan.SEEDS_OF_CHOICES)))  # fmt: skip
    return rows
