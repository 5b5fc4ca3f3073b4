"""Does every stage of an export say the same? Torch, fp32 graph, int8 graph, the graph read back from the bundle.

Everything is compared at batch 1 on real windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_export.feeds import Array
from physioedge_export.runners import Outputs
from physioedge_runtime.bundle.contract import LOGITS, VALUES
from physioedge_runtime.errors import ExportError


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Limits of a comparison.

    Attributes
    ----------
    first, embedding : float
        Largest difference of logits or values, and of embeddings, times the reference's largest absolute value where
        that exceeds 1.
    p99_probability : float
        Classes: largest 99th percentile over windows of the difference of a probability.
    same_label : float
        Classes: smallest share of windows with the same best label.
    mean_of_sd : float
        Values: largest mean absolute difference, as a share of the standard deviation of the reference's values over
        the windows.
    """

    first: float
    embedding: float
    p99_probability: float
    same_label: float
    mean_of_sd: float


# Source: R17 of the project's expectations: 1e-3 in fp32, same label >= 99 % for int8. Whether the error of values
# grows by more than 2 % takes their truth, which an export does not have: it holds them to 5 % of their spread.
FP32 = Tolerance(first=1e-3, embedding=1e-3, p99_probability=1e-3, same_label=0.999, mean_of_sd=1e-3)
INT8 = Tolerance(first=np.inf, embedding=np.inf, p99_probability=0.1, same_label=0.99, mean_of_sd=0.05)
SAME = Tolerance(first=1e-6, embedding=1e-6, p99_probability=1e-6, same_label=1.0, mean_of_sd=1e-6)
"""For the same bytes in the same engine."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One row of the parity table.

    Attributes
    ----------
    reference, candidate : str
        Stages compared.
    windows : int
    output : str
        ``logits`` or ``values``: what the stages give.
    max_first, max_embedding : float
        Largest absolute differences.
    max_probability, p99_probability : float or None
        Classes: largest difference of a probability, and its 99th percentile over windows.
    same_label : float or None
        Classes: share of windows with the same best label, or whose label a runtime would withhold by either stage.
    mean_difference : tuple of float
        Values: mean absolute difference of each, in its unit; empty for classes.
    mean_of_sd : float or None
        Values: the largest of these over the standard deviation of the reference's value.
    holds : bool
        Inside the tolerance.
    needed : bool
        Whether the export stands and falls with it; False for a fallback, which is left out of the bundle instead.
    """

    reference: str
    candidate: str
    windows: int
    output: str
    max_first: float
    max_embedding: float
    max_probability: float | None = None
    p99_probability: float | None = None
    same_label: float | None = None
    mean_difference: tuple[float, ...] = ()
    mean_of_sd: float | None = None
    holds: bool
    needed: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(
    names: tuple[str, str], reference: Outputs, candidate: Outputs, tolerance: Tolerance, *, output: str = LOGITS,
    min_probability: float = 0.0,
) -> Agreement:  # fmt: skip
    """How far a stage is from the one before it.

    A NaN anywhere is a difference without limit.

    Parameters
    ----------
    names : (str, str)
        Of the stages.
    reference, candidate : Outputs
    tolerance : Tolerance
    output : str
        ``logits``, which are compared as probabilities and labels too, or ``values``.
    min_probability : float
        Of the contract: labels less probable than this are withheld.
    """
    first = _largest(reference.first - candidate.first)
    embedding = _largest(reference.embedding - candidate.embedding)
    holds = (
        first <= tolerance.first * max(1.0, float(np.abs(reference.first).max()))
        and embedding <= tolerance.embedding * max(1.0, float(np.abs(reference.embedding).max()))
        and bool(np.isfinite([first, embedding]).all())
    )
    if output == VALUES:
        found, inside = _values(reference.first, candidate.first, tolerance)
    else:
        found, inside = _classes(reference.first, candidate.first, tolerance, min_probability)
    return Agreement(
        reference=names[0],
        candidate=names[1],
        windows=len(reference.first),
        output=output,
        max_first=first,
        max_embedding=embedding,
        holds=holds and inside,
        **found,
    )


def probabilities(logits: Array) -> NDArray[np.float64]:
    """Softmax of logits (window, class)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def demand(rows: Sequence[Agreement]) -> None:
    """Raise ExportError for the first row out of tolerance that is needed."""
    for row in rows:
        if row.needed and not row.holds:
            raise ExportError(
                f"{row.candidate} differing from {row.reference} in {row.windows} windows: {_difference(row)}",
                "agreement within the tolerance of docs/export.md",
                "See the per-layer table of the report; keep its worst layers in float with --keep-float.",
            )


def _classes(
    reference: Array, candidate: Array, tolerance: Tolerance, min_probability: float
) -> tuple[dict[str, Any], bool]:
    said = [probabilities(logits) for logits in (reference, candidate)]
    probability = np.abs(said[0] - said[1]).max(1)
    p99 = float(np.quantile(np.nan_to_num(probability, nan=1.0), 0.99))
    withheld = np.maximum(said[0].max(1), said[1].max(1)) < min_probability
    same = float(((said[0].argmax(1) == said[1].argmax(1)) | withheld).mean())
    found = {"max_probability": _largest(probability), "p99_probability": p99, "same_label": same}
    return found, p99 <= tolerance.p99_probability and same >= tolerance.same_label


def _values(reference: Array, candidate: Array, tolerance: Tolerance) -> tuple[dict[str, Any], bool]:
    mean = np.abs(reference.astype(np.float64) - candidate).mean(0)
    mean = np.where(np.isfinite(mean), mean, np.inf)
    spread = reference.astype(np.float64).std(0)
    # without any spread, as of a single window, nothing but equality is inside
    shares = np.divide(mean, spread, out=np.where(mean == 0, 0.0, np.inf), where=spread > 0)
    worst = float(shares.max())
    found = {"mean_difference": tuple(float(value) for value in mean), "mean_of_sd": worst}
    return found, worst <= tolerance.mean_of_sd


def _difference(row: Agreement) -> str:
    if row.output == VALUES:
        mean = ", ".join(f"{value:.3g}" for value in row.mean_difference)
        return f"values by {mean} on average, up to {row.max_first:.2g}, {row.mean_of_sd:.2%} of their deviation"
    return (
        f"same label in {row.same_label:.2%}, logits up to {row.max_first:.2g}, probabilities up to "
        f"{row.max_probability:.2g}"
    )


def _largest(difference: NDArray[Any]) -> float:
    return float(np.abs(difference).max()) if np.isfinite(difference).all() else float("inf")
