"""Levelling as a device does it: real recordings through a bundle, with its own beat detector and its int8 graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge.evaluation.arrhythmia import metric_rows
from physioedge.evaluation.beats import MATCH_S, match
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.personal.judged import CALIBRATION_S
from physioedge.results import Row
from physioedge.tasks.arrhythmia import ALL_CLASSES, LABELS, NAME
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.adapting import Adaptation
from physioedge_runtime.adaptation.own_signal import LEVELLED
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine.protocol import Engine
from physioedge_runtime.result import Result

CHUNK_SAMPLES = 3600
SETTLED_S = 10.0
"""Beats so soon after the calibration are left out: their windows reach back into it."""
ARMS = ("global_int8", "levelling_int8")
_K = len(LABELS)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One recording without and with levelling.

    Attributes
    ----------
    record : str
    windows : int
        What the bias was taken from; 0 where there were too few, and nothing changed.
    counts : float64 (2, class, class)
        Judged beats of both, by annotated and given class.
    right : float64 (2,)
        Beats called as annotated; what is withheld or not detected is not right.
    scored : int
        Annotated N, S and V beats.
    """

    record: str
    windows: int
    counts: NDArray[np.float64]
    right: NDArray[np.float64]
    scored: int


def live_pair(bundle: Bundle, record: str, engine: Engine, data: Path | None) -> Pair:
    """Stream five minutes, level, and stream the rest on two streams."""
    recording = mitbih.load(record, data).channel(mitbih.LEAD)

    def stream() -> Stream:
        return Stream(
            bundle, fs_hz=recording.fs_hz, units=recording.units, resample="polyphase", channels=(mitbih.LEAD,),
            engine=engine,
        )  # fmt: skip

    chunks = [recording.samples[:, i : i + CHUNK_SAMPLES] for i in range(0, recording.samples.shape[1], CHUNK_SAMPLES)]
    first = round(CALIBRATION_S * recording.fs_hz / CHUNK_SAMPLES)
    with tempfile.TemporaryDirectory() as folder, AdapterStore.open(folder, target=Target.of(bundle)) as store:
        adaptation, plain = Adaptation.of(bundle, stream(), store), stream()
        for chunk in chunks[:first]:
            adaptation.step(adaptation.stream.push(chunk))
        plain.restore(adaptation.stream.snapshot())
        outcome = adaptation.level()
        results: tuple[list[Result], list[Result]] = ([], [])
        for chunk in chunks[first:]:
            for found, one in zip(results, (plain, adaptation.stream), strict=True):
                found += one.push(chunk)
        for found, one in zip(results, (plain, adaptation.stream), strict=True):
            found += one.flush()
    return _pair(record, outcome.windows if outcome.step == LEVELLED else 0, results, data)


def _pair(record: str, windows: int, results: tuple[list[Result], list[Result]], data: Path | None) -> Pair:
    recording = mitbih.load(record, data)
    sample, label = mitbih.beats(recording)
    truth = np.array([ALL_CLASSES.index(name) for name in label])
    judged = (truth < _K) & (sample >= (CALIBRATION_S + SETTLED_S) * recording.fs_hz)
    counts = np.zeros((2, _K, _K))
    for arm, found in enumerate(results):
        at = np.array([round(r.t_anchor_s * recording.fs_hz) for r in found], np.int64)
        order = np.argsort(at, kind="stable")
        partner = match(at[order], sample, MATCH_S * recording.fs_hz)
        for beat in np.flatnonzero(judged & (partner >= 0)):
            given = found[order[partner[beat]]].label
            if given is not None:
                counts[arm, truth[beat], LABELS.index(given)] += 1
    right = np.trace(counts, axis1=1, axis2=2)
    return Pair(record=record, windows=windows, counts=counts, right=right, scored=int(judged.sum()))


def device_rows(pairs: list[Pair], group: str) -> list[Row]:
    """Figures of both, and paired differences: ``right_share`` of all beats, ``mean_right_share`` the mean of records.

    ``coverage`` is the share of annotated beats that were detected and got a label.
    """
    rows: list[Row] = []
    beats = np.array([[[*pair.right, *pair.counts.sum((1, 2)), pair.scored] for pair in pairs]], float)
    people = np.array([[[*(pair.right / pair.scored), 1.0] for pair in pairs]])
    for arm, name in enumerate(ARMS):
        rows += metric_rows(name, group, np.array([[pair.counts[arm] for pair in pairs]]))
        rows.append(_row(name, group, "right_share", beats, _share(arm)))
        rows.append(_row(name, group, "coverage", beats, _share(2 + arm)))
        rows.append(_row(name, group, "mean_right_share", people, _share(arm)))
    minus = f"{group}:minus:{ARMS[0]}"
    rows.append(_row(ARMS[1], minus, "right_share", beats, _gain))
    rows.append(_row(ARMS[1], minus, "mean_right_share", people, _gain))
    return rows


def _share(index: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda sums: sums[..., index] / sums[..., -1]


def _gain(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((sums[..., 1] - sums[..., 0]) / sums[..., -1])


def _row(
    arm: str,
    group: str,
    metric: str,
    parts: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Row:
    value, low, high = subject_bootstrap(parts, statistic)
    return Row(
        task=NAME, arm=arm, group=group, metric=metric, unit="1", value=value, low=low, high=high, n=parts.shape[1],
        seeds=1,
    )  # fmt: skip
