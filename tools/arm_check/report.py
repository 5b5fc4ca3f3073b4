"""Findings of the emulated processors beside this machine's: rows, a table, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arm_check.emulator import Cpu
from physioedge.results import Row

SAME_LABEL = 0.99
"""Least share of windows that keep their label: the exporter's own limit for int8."""
_PREFIX = {"onnxruntime": "ours", "executorch": "ours_et"}
HEADER = ("cpu", "graph", "golden", "logit_difference", "same_label")
REQUEST_HEADER = ("cpu", "asked for", "used", "stream_same_label")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One graph on one processor against the same graph here.

    Attributes
    ----------
    cpu, arm, file : str
        `arm` is its name in results.
    golden : bool
        Whether the bundle's golden vectors hold there.
    logit_difference : float
        Largest over all windows.
    same_label : float
        Share of windows with the same label.
    tolerance : float
        Of the graph's logits.
    windows : int
    message : str
        Why the golden vectors do not hold, or the engine does not load.
    """

    cpu: str
    arm: str
    file: str
    golden: bool
    logit_difference: float
    same_label: float
    tolerance: float
    windows: int
    message: str

    @property
    def right(self) -> bool:
        """Whether real windows come out as here."""
        return self.logit_difference <= self.tolerance and self.same_label >= SAME_LABEL


@dataclass(frozen=True, kw_only=True)
class Request:
    """A graph that a program asked for on one processor, and what it got.

    Attributes
    ----------
    cpu, arm : str
    took : str
        File of the graph in use; empty where every form was refused.
    fell_back : bool
    refused : tuple of str
        What was passed over and why.
    same_label : float
        Share of a stream's results whose label is the one that the graph in use gives here; 0 where there is no stream.
    contradicted : float
        Share of results labelled on both sides and differently; one withheld on one side only, with its probability
        at the threshold, is none. 1 where the numbers of results differ.
    results : int
    """

    cpu: str
    arm: str
    took: str
    fell_back: bool
    refused: tuple[str, ...] = field(default=())
    same_label: float
    contradicted: float
    results: int


def arm_of(part: Mapping[str, Any]) -> str:
    """Name of a graph in results, as in `physioedge bench`: ``ours_int8``, ``ours_slots``, ``ours_et_int8``, ..."""
    precision = str(part["precision"])
    if part["adapters"] == "slots":
        precision = "slots" if precision == "int8" else f"slots_{precision}"
    return f"{_PREFIX[part['engine']]}_{precision}"


def compare(cpu: str, found: Mapping[str, Any], here: Mapping[str, Any]) -> list[Comparison]:
    """Every graph of `found` against the one of the same file in `here`."""
    references = {part["file"]: np.array(part.get("logits", [])) for part in here["graphs"]}
    rows = []
    for part in found["graphs"]:
        reference, logits = references[part["file"]], np.array(part.get("logits", []))
        ran = len(logits) == len(reference) > 0
        rows.append(
            Comparison(
                cpu=cpu,
                arm=arm_of(part),
                file=part["file"],
                golden=part.get("golden", False),
                logit_difference=float(np.abs(logits - reference).max()) if ran else float("inf"),
                same_label=float((logits.argmax(1) == reference.argmax(1)).mean()) if ran else 0.0,
                tolerance=part["tolerance"],
                windows=len(reference),
                message=part.get("error") or part.get("message", ""),
            )
        )
    return rows


def requests(cpu: str, found: Mapping[str, Any], here: Mapping[str, Any]) -> list[Request]:
    """What each asked-for graph became on one processor."""
    references = {part["took"]: part["labels"] for part in here["requests"]}
    rows = []
    for part in found["requests"]:
        labels, wanted = part["labels"], references.get(part["took"], [])
        pairs = list(zip(labels, wanted, strict=True)) if len(labels) == len(wanted) else []
        other = sum(a != b for a, b in pairs if a is not None and b is not None)
        rows.append(
            Request(
                cpu=cpu,
                arm=arm_of(part),
                took=part["took"],
                fell_back=part["took"] not in ("", part["file"]),
                refused=tuple(part["refused"]),
                same_label=sum(a == b for a, b in pairs) / len(pairs) if pairs else 0.0,
                contradicted=other / len(pairs) if pairs else 1.0,
                results=len(labels),
            )
        )
    return rows


def faults(cpu: Cpu, graphs: Sequence[Comparison], asked: Sequence[Request]) -> list[str]:
    """What must not be, in words; none where all is as it should be.

    A wrong graph that the golden vectors let pass is a fault everywhere; one that they refuse, only where the processor
    computes right. Where they refuse one, a stream must get another form, unless the bundle has none that holds.
    """
    found = []
    for graph in graphs:
        at = f"{graph.file} on {cpu.model}"
        if graph.golden and not graph.right:
            found.append(
                f"{at} passes its golden vectors, yet real windows differ by {graph.logit_difference:.3g} "
                f"and {1 - graph.same_label:.1%} change their label"
            )
        if not graph.golden and cpu.exact:
            found.append(f"{at} is refused: {graph.message}")
    for request in asked:
        at = f"{request.arm} on {cpu.model}"
        others = [graph.file for graph in graphs if graph.golden and ("slots" in graph.arm) == ("slots" in request.arm)]
        if not request.took and others:
            found.append(f"{at} got no graph, although {others[0]} holds there")
        if request.took and request.contradicted > 1 - SAME_LABEL:
            found.append(f"{at}: a stream with {request.took} gives {request.contradicted:.1%} other labels than here")
    return found


def rows(task: str, graphs: Sequence[Comparison], asked: Sequence[Request]) -> list[Row]:
    """Rows for the results file; a graph that did not run has no difference."""
    found = []
    for graph in graphs:
        figures = {"golden_holds": (float(graph.golden), "1")}
        if np.isfinite(graph.logit_difference):
            figures |= {"logit_difference": (graph.logit_difference, "1"), "same_label": (graph.same_label, "1")}
        found += [_row(task, graph.arm, graph.cpu, name, *value, graph.windows) for name, value in figures.items()]
    for request in asked:
        figures = {"fallback": (float(request.fell_back), "1")}
        if request.results:
            figures |= {"stream_same_label": (request.same_label, "1")}
        found += [
            _row(task, request.arm, request.cpu, name, *value, request.results) for name, value in figures.items()
        ]
    return found


def graph_cells(graph: Comparison) -> tuple[str, ...]:
    """One line of the table of graphs."""
    difference = f"{graph.logit_difference:.2g}" if np.isfinite(graph.logit_difference) else "-"
    return (graph.cpu, graph.file, "holds" if graph.golden else "refused", difference, f"{graph.same_label:.1%}")


def request_cells(request: Request) -> tuple[str, ...]:
    """One line of the table of requests."""
    used = request.took or "nothing: every form is refused"
    return (request.cpu, request.arm, used, f"{request.same_label:.1%}" if request.took else "-")


def _row(task: str, arm: str, group: str, metric: str, value: float, unit: str, n: int) -> Row:
    return Row(
        task=task, arm=arm, group=group, metric=metric, unit=unit, value=value, low=None, high=None, n=n, seeds=1
    )
