"""A task's bundle against the weights it was made of: on the task's windows, and on its recordings as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.lora.files import TaskNote
from physioedge.evaluation.metrics import softmax
from physioedge.evaluation.opponents.score import GROUP, rows_of
from physioedge.models.config import BackboneConfig
from physioedge.models.network import Network
from physioedge.models.rate import RateNetwork
from physioedge.results import Row
from physioedge.signals.recording import Recording
from physioedge.tasks.cutting import at_canonical_rates
from physioedge.tasks.windowed import TaskWindows, chosen, inputs_of
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.bundle.contract import Contract, SensorSpec
from physioedge_runtime.engine.protocol import Engine
from physioedge_runtime.result import Result

WINDOWS = 2000
"""Windows that both graphs judge, spread over the people; all of them where there are fewer."""
STREAMED = 300
"""Records are streamed until they hold so many windows."""
CHUNK_S = 5.0
_AT_ONCE = 64
UNSEEN, SEEN = "people it has not seen", "people it was fitted on"
Answers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A record to stream, and what is known of it.

    Attributes
    ----------
    recordings : mapping of sensor to Recording
        The leading one first.
    end_s : float64 (window,)
        When the record's windows end, in its own clock.
    target : int64 (window,) or float32 (window, k)
    hop_s : float
        A result has the target of a window that ends less than half of this away.
    """

    recordings: Mapping[str, Recording]
    end_s: NDArray[np.float64]
    target: NDArray[Any]
    hop_s: float


@dataclass(frozen=True)
class Lived:
    """What a stream said of one record.

    Attributes
    ----------
    results : list of Result
    difference : float64 (asked result,)
        Largest distance of a result's probabilities, or values, from the graph's on the same window cut out at once.
    truth : list of float or None
        Of each result: its class, or its values; None where no window ends near.
    """

    results: list[Result]
    difference: NDArray[np.float64]
    truth: list[Any]


def judged_part(windows: TaskWindows, note: TaskNote) -> tuple[TaskWindows, str]:
    """Windows to judge, at most `WINDOWS` of them, and whose they are: of people the adapter has not seen if any."""
    judged = (windows.fold >= 0) & ~windows.calibration
    unseen = judged & ~np.isin(windows.subject, note.training_subjects)
    rows = np.flatnonzero(unseen if unseen.any() else judged)
    kept = np.zeros(len(windows.target), np.bool_)
    kept[rows[np.linspace(0, len(rows) - 1, min(len(rows), WINDOWS)).round().astype(np.int64)]] = True
    return chosen(windows, kept), UNSEEN if unseen.any() else SEEN


def answers_of(
    network: Network | RateNetwork, engine: Engine, windows: TaskWindows, config: BackboneConfig
) -> tuple[Answers, Answers]:
    """Probabilities (n, class) or values (n, k): of the network in float32, and of the engine's graph, one by one."""
    inputs = inputs_of(windows, network.backbone.layout, config)
    with torch.no_grad():
        floats = [
            network(*(torch.from_numpy(np.ascontiguousarray(x[first : first + _AT_ONCE])) for x in inputs))[0].numpy()
            for first in range(0, len(windows.target), _AT_ONCE)
        ]
    ints = [
        engine.run(tuple(np.ascontiguousarray(x[i : i + 1]) for x in inputs))[0] for i in range(len(windows.target))
    ]
    made = [np.concatenate(part).astype(np.float64) for part in (floats, ints)]
    exact, shipped = [softmax(one) for one in made] if windows.task.labels else made
    return exact, shipped


def parity_rows(module: Any, windows: TaskWindows, group: str, exact: Answers, shipped: Answers) -> list[Row]:
    """The task's metrics of both, and what int8 costs: labels that are not the same, or error that is added."""
    found = {arm: rows_of(module, windows, arm, [answers], smooth=False)
             for arm, answers in (("fp32", exact), ("int8", shipped))}  # fmt: skip
    rows = [Row(**{**row.__dict__, "group": group}) for made in found.values() for row in made if row.group == GROUP]
    if windows.task.labels:
        same = float((exact.argmax(1) == shipped.argmax(1)).mean())
        return [*rows, _row(windows, group, "same_label_as_fp32", "1", same, len(exact))]
    for row in [row for row in found["fp32"] if row.group == GROUP and row.metric.startswith("mae")]:
        (other,) = (one for one in found["int8"] if (one.group, one.metric) == (GROUP, row.metric))
        added = 100 * (other.value / row.value - 1)
        rows.append(_row(windows, group, f"{row.metric}_added", "%", added, len(exact)))
    return rows


def replays(module: Any, windows: TaskWindows, root: Path | None, contract: Contract) -> Iterator[Replay]:
    """Records of `windows`, spread over the people, until they hold `STREAMED` windows.

    Where the source gives windows rather than recordings, each window is one of its own, mirrored as far back as a hop
    of the contract that ends with it needs.
    """
    ends = windows.start_s + windows.task.window_s
    if not hasattr(module, "recordings"):
        for i in np.linspace(0, len(ends) - 1, min(len(ends), STREAMED)).round().astype(np.int64):
            alone = {
                sensor.name: _as_recording(sensor, windows.samples[sensor.name][i], ends[i], windows, int(i))
                for sensor in contract.sensors
            }
            lead, hop = contract.sensor, contract.trigger.hop_samples
            missing_s = -alone[lead.name].samples.shape[1] % hop / lead.fs_hz
            alone = {name: _longer(one, missing_s) for name, one in alone.items()}
            yield Replay(recordings=alone, end_s=ends[i : i + 1], target=windows.target[i : i + 1], hop_s=1.0)
        return
    names, count = np.unique(windows.record, return_counts=True)
    left = STREAMED
    for k in np.random.default_rng(0).permutation(len(names)):
        if left <= 0:
            return
        here, left = windows.record == names[k], left - int(count[k])
        yield Replay(recordings=module.recordings(str(names[k]), root), end_s=ends[here], target=windows.target[here],
                     hop_s=windows.task.hop_s)  # fmt: skip


def live(bundle: Bundle, engine: Engine, replay: Replay) -> Lived:
    """Stream a record in chunks, the leading sensor last, and judge the same windows cut out of it at once."""
    results = streamed(bundle, engine, replay.recordings)
    contract = bundle.contract
    whole = at_canonical_rates(replay.recordings, tuple(replay.recordings))
    difference, truth = [], []
    for result in results:
        end_s = result.t_end_s + 1 / contract.sensor.fs_hz  # a window's end is that of its newest sample
        nearest = int(np.abs(replay.end_s - end_s).argmin())
        near = abs(replay.end_s[nearest] - end_s) < replay.hop_s / 2
        truth.append(replay.target[nearest] if near else None)
        said = np.asarray(result.probabilities or result.values, np.float64)
        if not len(said):
            continue
        cut = []
        for sensor in contract.sensors:
            samples, t0_s = whole[sensor.name]
            stop = int(np.floor((result.t_end_s - t0_s) * sensor.fs_hz + 1e-6)) + 1  # the newest sample not after it
            cut.append(np.ascontiguousarray(samples[None, : len(sensor.channels), stop - sensor.input_samples : stop]))
        alone = engine.run(tuple(cut))[0].astype(np.float64)
        difference.append(np.abs((softmax(alone) if contract.labels else alone)[0] - said).max())
    return Lived(results, np.array(difference), truth)


def lived_rows(module: Any, windows: TaskWindows, group: str, lived: list[Lived]) -> list[Row]:
    """Coverage, agreement with windows cut out at once, and how often a result is right or how far off it is.

    Coverage is the share of results beside a window of the task that are not withheld.
    """
    group = f"streamed, {group}"
    pairs = [(result, truth) for one in lived for result, truth in zip(one.results, one.truth, strict=True)]
    asked = [(result, truth) for result, truth in pairs if truth is not None]
    known = [(result, truth) for result, truth in asked if result.judged]
    difference = np.concatenate([one.difference for one in lived])
    unit = "1" if windows.task.labels else windows.task.units
    rows = [
        _row(windows, group, "coverage", "1", len(known) / max(1, len(asked)), len(asked)),
        _row(windows, group, "difference_p99", unit, float(np.quantile(difference, 0.99)), len(difference)),
        _row(windows, group, "difference_max", unit, float(difference.max()), len(difference)),
    ]
    if windows.task.labels:
        right = [result.label == windows.task.labels[int(truth)] for result, truth in known]
        return [*rows, _row(windows, group, "accuracy", "1", float(np.mean(right)), len(right))]
    errors = np.array([np.abs(np.asarray(result.values) - truth) for result, truth in known])
    names = [f"mae:{column}" if column else "mae" for column in getattr(module, "COLUMNS", ("",))]
    means = zip(names, errors.mean(0).tolist(), strict=True)
    return [*rows, *(_row(windows, group, name, unit, mean, len(errors)) for name, mean in means)]


def streamed(bundle: Bundle, engine: Engine, recordings: Mapping[str, Recording]) -> list[Result]:
    """Results of a record's whole recordings, pushed in chunks of `CHUNK_S`."""
    taken = {sensor.name: recordings[sensor.name].samples[: len(sensor.channels)] for sensor in bundle.contract.sensors}
    results: list[Result] = []
    with Stream(
        bundle,
        fs_hz={name: recordings[name].fs_hz for name in taken},
        units={name: recordings[name].units for name in taken},
        resample=dict.fromkeys(taken, "polyphase"),
        engine=engine,
    ) as stream:
        longest_s = max(one.duration_s for one in recordings.values())
        for slot in range(int(np.ceil(longest_s / CHUNK_S))):
            for name in reversed(taken):  # the leading one last: nothing waits for the others then
                one = recordings[name]
                first, stop = (round(k * CHUNK_S * one.fs_hz) for k in (slot, slot + 1))
                results += stream.push(taken[name][:, first:stop], one.t0_s + first / one.fs_hz, name)
        return results + stream.flush()


def _longer(recording: Recording, missing_s: float) -> Recording:
    """The recording mirrored further back."""
    n = round(missing_s * recording.fs_hz)
    samples = np.pad(recording.samples, ((0, 0), (n, 0)), mode="reflect")
    return replace(recording, samples=samples, t0_s=recording.t0_s - n / recording.fs_hz)


def _as_recording(
    sensor: SensorSpec, samples: NDArray[np.float32], end_s: float, windows: TaskWindows, row: int
) -> Recording:
    return Recording(
        samples=samples, fs_hz=sensor.fs_hz, units=sensor.units, channels=tuple(map(str, range(len(samples)))),
        name=f"{windows.record[row]}:{row}", subject=str(windows.subject[row]),
        t0_s=float(end_s - samples.shape[1] / sensor.fs_hz),
    )  # fmt: skip


def _row(windows: TaskWindows, group: str, metric: str, unit: str, value: float, n: int) -> Row:
    return Row(task=windows.task.name, arm="int8", group=group, metric=metric, unit=unit, value=value, low=None,
               high=None, n=n, seeds=1)  # fmt: skip
