"""The shipped bundle on the test records: on annotated beats one by one, and streamed with its own detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from physioedge.datasets import mitbih
from physioedge.evaluation.arrhythmia import metric_rows
from physioedge.evaluation.beats import MATCH_S, match
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.metrics import confusion
from physioedge.results import Row
from physioedge.tasks.arrhythmia import ALL_CLASSES, LABELS, NAME, beat_record
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.engine.protocol import Engine
from physioedge_runtime.result import Result
from physioedge_runtime.signal.windows import cut_windows

CHUNK_SAMPLES = 3600
_K = len(LABELS)


@dataclass(frozen=True, kw_only=True)
class Lived:
    """One streamed record against its annotations.

    Attributes
    ----------
    record : str
    counts : float64 (class, class)
        Judged N, S and V beats that match an annotated one.
    scored : int
        Annotated N, S and V beats.
    found, judged : int
        Of these, how many were detected, and how many got a label.
    false : int
        Labelled detections that match no annotated beat.
    delay_s : float64 (judged result,)
        From the R peak to the newest sample the result needed.
    """

    record: str
    counts: NDArray[np.float64]
    scored: int
    found: int
    judged: int
    false: int
    delay_s: NDArray[np.float64]


def stream_record(bundle: Bundle, record: str, engine: Engine, data: Path | None) -> list[Result]:
    """Results of a whole MIT-BIH record, pushed in chunks of ten seconds."""
    recording = mitbih.load(record, data).channel(mitbih.LEAD)
    stream = Stream(
        bundle,
        fs_hz=recording.fs_hz,
        units=recording.units,
        resample="polyphase",
        channels=(mitbih.LEAD,),
        engine=engine,
    )
    results: list[Result] = []
    for start in range(0, recording.samples.shape[1], CHUNK_SAMPLES):
        results += stream.push(recording.samples[:, start : start + CHUNK_SAMPLES])
    return results + stream.flush()


def live(bundle: Bundle, record: str, engine: Engine, data: Path | None) -> Lived:
    """Stream a record and match its results with the annotated beats."""
    results = stream_record(bundle, record, engine, data)
    recording = mitbih.load(record, data)
    sample, label = mitbih.beats(recording)
    truth = np.array([ALL_CLASSES.index(name) for name in label])
    detected = np.array([round(r.t_anchor_s * recording.fs_hz) for r in results], np.int64)
    order = np.argsort(detected, kind="stable")
    partner = match(detected[order], sample, MATCH_S * recording.fs_hz)
    counts, found, judged = np.zeros((_K, _K)), 0, 0
    for beat in np.flatnonzero(truth < _K):
        if partner[beat] < 0:
            continue
        found += 1
        given = results[order[partner[beat]]].label
        if given is not None:
            judged += 1
            counts[truth[beat], LABELS.index(given)] += 1
    matched = set(order[partner[partner >= 0]].tolist())
    false = sum(r.label is not None and i not in matched for i, r in enumerate(results))
    delays = np.array([r.t_emitted_s - r.t_anchor_s for r in results if r.label is not None])
    return Lived(
        record=record, counts=counts, scored=int((truth < _K).sum()), found=found, judged=judged, false=false,
        delay_s=delays,
    )  # fmt: skip


def lived_rows(records: list[Lived], arm: str) -> list[Row]:
    """Accuracy on judged beats, coverage, false beats and delay, pooled over records."""
    rows = metric_rows(arm, "DS2:lived", np.array([[r.counts for r in records]]))
    shares = {
        "detected": np.array([[(r.found, r.scored) for r in records]], float),
        "coverage": np.array([[(r.judged, r.scored) for r in records]], float),
        "false_share": np.array([[(r.false, r.judged + r.false) for r in records]], float),
    }
    for metric, pairs in shares.items():
        value, low, high = subject_bootstrap(pairs, lambda sums: sums[..., 0] / sums[..., 1])
        rows.append(_row(arm, "DS2:lived", metric, "1", value, low, high, len(records)))
    delay = np.concatenate([r.delay_s for r in records])
    for metric, share in (("delay_p50_s", 0.5), ("delay_p90_s", 0.9), ("delay_p99_s", 0.99)):
        rows.append(_row(arm, "DS2:lived", metric, "s", float(np.quantile(delay, share)), None, None, len(records)))
    return rows


def _row(
    arm: str, group: str, metric: str, unit: str, value: float, low: float | None, high: float | None, n: int
) -> Row:
    return Row(task=NAME, arm=arm, group=group, metric=metric, unit=unit, value=value, low=low, high=high, n=n, seeds=1)


def annotated_logits(
    bundle: Bundle, engine: Engine, network: nn.Module, record: str, data: Path | None
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """Labels, and logits (beat, class) by precision, for every annotated beat with a full window.

    ``int8`` is the bundle's graph, one window at a time; ``fp32`` the same network in torch.
    """
    beats = beat_record(mitbih.load(record, data), bundle.contract.sensor.fs_hz)
    windows, kept = cut_windows(beats.signal[:1], beats.anchor, bundle.contract.window)
    int8 = np.stack([engine.run(window[None])[0][0] for window in windows])
    with torch.no_grad():
        fp32 = torch.cat([network(part)[0] for part in torch.split(torch.from_numpy(windows), 64)]).numpy()
    return beats.label[kept], {"fp32": fp32, "int8": int8}


def shipped_rows(answers: list[tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]]) -> list[Row]:
    """Metrics of each precision on annotated beats, and how often int8 gives fp32's label.

    Parameters
    ----------
    answers : list of (label, logits by precision)
        One `annotated_logits` a record, with precisions ``fp32`` and ``int8``.
    """
    rows: list[Row] = []
    f1 = {}
    for precision in ("fp32", "int8"):
        counts = []
        for label, logits in answers:
            used = label < _K
            counts.append(confusion(label[used], logits[precision][used].argmax(1), _K))
        found = metric_rows(f"global_{precision}", "DS2", np.array([counts]))
        f1[precision] = next(row.value for row in found if row.metric == "macro_f1")
        rows += found
    same = np.array([[((a["fp32"].argmax(1) == a["int8"].argmax(1)).sum(), len(label)) for label, a in answers]], float)
    value, low, high = subject_bootstrap(same, lambda sums: sums[..., 0] / sums[..., 1])
    rows.append(_row("global_int8", "DS2", "same_label_as_fp32", "1", value, low, high, len(answers)))
    drop = 100 * (f1["fp32"] - f1["int8"])
    rows.append(_row("global_int8", "DS2", "macro_f1_drop_points", "1", drop, None, None, len(answers)))
    return rows
