"""A recording that went through a stream: what the page and the closing summary are made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Recording
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.result import Result

WITHHELD, NOT_FOUND = "withheld", "not found"


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """One recording, what came out, and what it cost.

    Attributes
    ----------
    recording : Recording
        One channel.
    bundle : Bundle
    results : tuple of Result
    push_ms : float64 (result,)
        Wall time of the push each result came out of, shared among the results of that push.
    wall_s : float
        Of all pushes.
    load_ms : float
        Opening, verifying and loading the bundle.
    truth : tuple of str or None, or None
        Annotated class of each result's beat, None for a result without one; None as a whole without annotations.
    missed : tuple of str
        Annotated classes of beats that have no result.
    """

    recording: Recording
    bundle: Bundle
    results: tuple[Result, ...]
    push_ms: NDArray[np.float64]
    wall_s: float
    load_ms: float
    truth: tuple[str | None, ...] | None = None
    missed: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the contract."""
        return self.bundle.contract.labels

    @property
    def counts(self) -> dict[str, int]:
        """Results by label, and those withheld."""
        found = Counter(result.label or WITHHELD for result in self.results)
        return {name: found[name] for name in (*self.labels, WITHHELD)}

    @property
    def real_time_factor(self) -> float:
        """Seconds of signal for each second of work."""
        return self.recording.duration_s / self.wall_s if self.wall_s > 0 else float("inf")

    @property
    def delays_s(self) -> NDArray[np.float64]:
        """From the anchor of each judged result to the newest sample it needed, (judged,)."""
        return np.array([result.delay_s for result in self.results if result.probabilities])

    @property
    def work_ms(self) -> NDArray[np.float64]:
        """Wall time of the pushes that the judged results came out of, (judged,)."""
        judged = [bool(result.probabilities) for result in self.results]
        return np.asarray(self.push_ms[np.array(judged, bool)])

    def confusion(self) -> dict[str, dict[str, int]]:
        """Annotated class to what was said about its beats; empty without annotations."""
        if self.truth is None:
            return {}
        pairs = Counter(
            (truth, result.label or WITHHELD)
            for truth, result in zip(self.truth, self.results, strict=True)
            if truth is not None
        )
        pairs.update((truth, NOT_FOUND) for truth in self.missed)
        seen = {truth for truth, _ in pairs}
        order = [*self.labels, *sorted(seen - set(self.labels))]
        columns = (*self.labels, WITHHELD, NOT_FOUND)
        return {truth: {said: pairs[truth, said] for said in columns} for truth in order if truth in seen}

    def agreement(self) -> tuple[int, int]:
        """Beats called as annotated, and beats judged whose annotated class is one of the labels."""
        rows = {truth: said for truth, said in self.confusion().items() if truth in self.labels}
        return sum(row[truth] for truth, row in rows.items()), sum(row[c] for row in rows.values() for c in self.labels)

    def extra(self) -> int:
        """Results at instants where no beat is annotated."""
        return 0 if self.truth is None else sum(truth is None for truth in self.truth)

    def label_names(self) -> dict[str, str]:
        """Return what the labels mean, as the bundle says; the label itself where it says nothing."""
        known = self.bundle.manifest.task_info
        return {label: str(known.get(label, label)) for label in self.labels}


def quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    """Median, 90th and 99th percentile; NaN without values."""
    if values.size == 0:
        return dict.fromkeys(("p50", "p90", "p99"), float("nan"))
    found = np.quantile(values, [0.5, 0.9, 0.99])
    return dict(zip(("p50", "p90", "p99"), (float(v) for v in found), strict=True))
