"""The export report: agreement, error by layer, what was not delegated, sizes, and whether int8 is faster here."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from physioedge_export.parity import Agreement
from physioedge_export.speed import Speed
from physioedge_export.sqnr import LayerNoise, plot_sqnr, worst
from physioedge_runtime.bundle.contract import LOGITS, VALUES
from physioedge_runtime.engine.golden import cpu_name

STEM = "export-report"
TARGET_RATIO = 0.30
"""An int8 graph is to take at most this share of its fp32 twin's bytes."""


@dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """One graph in the report.

    Attributes
    ----------
    file, engine, precision, adapters : str
    bytes : int
    ratio_to_fp32 : float or None
        Its size over its fp32 twin's, where that was built.
    shipped : bool
        Whether the bundle holds it.
    delegated_pieces : int or None
        ExecuTorch: subgraphs in the delegate.
    not_delegated : mapping of str to int
        ExecuTorch: operators outside it.
    """

    file: str
    engine: str
    precision: str
    adapters: str
    bytes: int
    ratio_to_fp32: float | None
    shipped: bool
    delegated_pieces: int | None = None
    not_delegated: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Everything measured in one export; `to_dict` is what ``export-report.json`` holds.

    Attributes
    ----------
    bundle : str
        File name.
    digest : str or None
        SHA-256 of the manifest; None where no bundle was written.
    bundle_bytes : int or None
    graphs : tuple of GraphFacts
    agreement : tuple of Agreement
    sqnr : mapping of str to tuple of LayerNoise
        By int8 file.
    speed : tuple of Speed
    answers : tuple of str
        Is int8 faster here, in words, one a pair of graphs.
    delta_noise : mapping of str to float
        By layer: int8 rounding noise over what the merged adapter changed; see `merge.delta_noise`.
    adapter_noise : float or None
        The same over all layers together.
    """

    bundle: str
    graphs: tuple[GraphFacts, ...]
    agreement: tuple[Agreement, ...]
    sqnr: Mapping[str, tuple[LayerNoise, ...]] = field(default_factory=dict)
    speed: tuple[Speed, ...] = ()
    answers: tuple[str, ...] = ()
    delta_noise: Mapping[str, float] = field(default_factory=dict)
    adapter_noise: float | None = None
    digest: str | None = None
    bundle_bytes: int | None = None

    @property
    def holds(self) -> bool:
        """Every comparison that is needed inside its tolerance."""
        return all(row.holds for row in self.agreement if row.needed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        worst_layers = {file: [row.layer for row in worst(rows)] for file, rows in self.sqnr.items()}
        return {
            "schema": 1,
            "holds": self.holds,
            "machine": {"cpu": cpu_name()},
            **values,
            "worst_layers": worst_layers,
        }

    def summary(self) -> str:
        """The report in Markdown."""
        return _markdown(self)

    def write(self, folder: Path) -> list[Path]:
        """Write ``export-report.json``, ``.md``, ``.html`` and one plot an int8 file; the paths written."""
        folder.mkdir(parents=True, exist_ok=True)
        plots = {}
        for file, rows in self.sqnr.items():
            plots[file] = folder / f"{STEM}-sqnr-{Path(file).stem}.png"
            plot_sqnr(rows, plots[file], title=f"{file}: exactness of every int8 layer")
        paths = {kind: folder / f"{STEM}.{kind}" for kind in ("json", "md", "html")}
        text = json.dumps(_without_infinities(self.to_dict()), indent=2, sort_keys=True, allow_nan=False)
        paths["json"].write_text(text + "\n")
        links = "".join(f"\n![{file}]({plot.name})\n" for file, plot in plots.items())
        paths["md"].write_text(_markdown(self) + links)
        paths["html"].write_text(_page(self, plots))
        return [*paths.values(), *plots.values()]


Table = tuple[str, list[str], list[list[str]]]


def _tables(report: ExportReport) -> list[Table]:
    found: list[Table] = [
        (
            "Graphs",
            ["file", "engine", "kB", "of fp32", "in the bundle", "pieces", "not delegated"],
            [_graph_row(graph) for graph in report.graphs],
        ),
        _agreement_table(report.agreement),
        (
            "Speed here, one thread",
            ["file", "p50 ms", "p90 ms"],
            [[row.file, f"{row.p50_ms:.3f}", f"{row.p90_ms:.3f}"] for row in report.speed],
        ),
    ]
    for file, rows in report.sqnr.items():
        table = [[row.layer, f"{row.sqnr_db:.1f}", f"{row.signal_rms:.3g}"] for row in rows]
        found.append((f"Error by layer: {file}", ["layer", "SQNR dB", "signal rms"], table))
    if report.delta_noise:
        ranked = sorted(report.delta_noise.items(), key=lambda item: -item[1])
        rows_noise = [[layer, f"{noise:.3f}"] for layer, noise in ranked]
        found.append(("int8 noise over what the adapter changed", ["layer", "noise / change"], rows_noise))
    return [table for table in found if table[2]]


def _graph_row(graph: GraphFacts) -> list[str]:
    left = ", ".join(f"{name} x{count}" for name, count in graph.not_delegated.items())
    pieces = "" if graph.delegated_pieces is None else str(graph.delegated_pieces)
    ratio = "" if graph.ratio_to_fp32 is None else f"{graph.ratio_to_fp32:.3f}"
    shipped = "yes" if graph.shipped else "no"
    outside = left or ("none" if graph.delegated_pieces is not None else "")
    return [graph.file, graph.engine, f"{graph.bytes / 1000:.0f}", ratio, shipped, pieces, outside]


def _agreement_table(rows: Sequence[Agreement]) -> Table:
    """Every pair of stages, with the columns that classes or values have."""
    values = any(row.output == VALUES for row in rows)
    first = ["mean difference", "of the deviation"] if values else ["same label", "probability p99", "max"]
    columns = ["reference", "candidate", "windows", *first, VALUES if values else LOGITS, "embedding", "holds"]
    return "Agreement, batch 1, real windows", columns, [_agreement_row(row) for row in rows]


def _agreement_row(row: Agreement) -> list[str]:
    if row.output == VALUES:
        first = [", ".join(f"{value:.2g}" for value in row.mean_difference), f"{row.mean_of_sd:.2%}"]
    else:
        first = [f"{row.same_label:.2%}", f"{row.p99_probability:.2g}", f"{row.max_probability:.2g}"]
    largest = [f"{row.max_first:.2g}", f"{row.max_embedding:.2g}"]
    return [row.reference, row.candidate, str(row.windows), *first, *largest, "yes" if row.holds else "NO"]


def _sentences(report: ExportReport) -> list[str]:
    verdict = "Every stage agrees within its tolerance." if report.holds else "A stage is OUT OF TOLERANCE."
    found = [verdict, *report.answers]
    found += [
        f"{row.candidate} is out of tolerance and left out of the bundle: where the dynamic kernels of a device are "
        "wrong, it has no int8 graph of this form to fall back on."
        for row in report.agreement
        if not row.needed and not row.holds
    ]
    if report.adapter_noise is not None:
        found.append(f"int8 rounding is {report.adapter_noise:.0%} of what the adapter changed, over all layers.")
    for graph in report.graphs:
        if graph.precision == "int8" and graph.ratio_to_fp32 is not None and graph.ratio_to_fp32 > TARGET_RATIO:
            found.append(
                f"{graph.file} takes {graph.ratio_to_fp32:.3f} of its fp32 twin, above the {TARGET_RATIO} wanted."
            )
    for file, rows in report.sqnr.items():
        named = ", ".join(f"{row.layer} ({row.sqnr_db:.1f} dB)" for row in worst(rows))
        found.append(f"Least exact layers of {file}: {named}.")
    return found


def _markdown(report: ExportReport) -> str:
    parts = [f"# Export of {report.bundle}", "", *(f"- {line}" for line in _sentences(report)), ""]
    for title, columns, rows in _tables(report):
        parts += [f"## {title}", "", _line(columns), _line(["---"] * len(columns)), *map(_line, rows), ""]
    return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _page(report: ExportReport, plots: Mapping[str, Path]) -> str:
    """One HTML file that needs no other."""
    parts = [f"<h1>Export of {html.escape(report.bundle)}</h1><ul>"]
    parts += [f"<li>{html.escape(line)}</li>" for line in _sentences(report)] + ["</ul>"]
    for title, columns, rows in _tables(report):
        head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        parts.append(f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>")
    for file, plot in plots.items():
        data = base64.b64encode(plot.read_bytes()).decode()
        parts.append(f'<h2>{html.escape(file)}</h2><img alt="SQNR by layer" src="data:image/png;base64,{data}">')
    style = (
        "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
        "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}"
        "img{max-width:100%}"
    )
    title = f"<title>Export of {html.escape(report.bundle)}</title>"
    return f"<!doctype html><html lang=en><meta charset=utf-8>{title}<style>{style}</style>{''.join(parts)}</html>\n"


def _without_infinities(value: Any) -> Any:
    """JSON has no infinities: a difference without limit becomes null."""
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    if isinstance(value, dict):
        return {key: _without_infinities(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_infinities(item) for item in value]
    return value
