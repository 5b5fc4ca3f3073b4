"""The README's table of figures, generated from the files under ``results/`` and from nothing else.

``python -m physioedge.report.figures`` writes it between the markers; ``--check`` only says whether
it is up to date.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from physioedge.results import Row, read
from physioedge_runtime.errors import FormatError

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes
    ----------
    file : str
        Name under ``results/``.
    arm, group, metric : str
        Which row.
    what : str
        Words for the reader.
    scale, digits, unit : float, int, str
        How the value is printed.
    """

    file: str
    arm: str
    group: str
    metric: str
    what: str
    scale: float = 1.0
    digits: int = 3
    unit: str = ""


_SHIPPED, _RATE = "arrhythmia-shipped.json", "heart_rate.json"
FIGURES = (
    Figure("beats.json", "detector", "all44", "sensitivity", "R peaks found, 44 records", 100, 2, "%"),
    Figure("beats.json", "detector", "all44", "ppv", "R peaks found that are beats", 100, 2, "%"),
    Figure("arrhythmia.json", "global_taught", "DS2", "accuracy", "Accuracy over the beats of DS2"),
    Figure("arrhythmia.json", "global", "DS2", "accuracy", "The same fitted on 21 people alone, without a teacher's"),
    Figure("arrhythmia.json", "all_n", "DS2", "accuracy", "The same for calling every beat normal"),
    Figure("arrhythmia.json", "global_taught", "DS2", "macro_f1", "Macro-F1"),
    Figure("arrhythmia.json", "global_taught", "DS2", "sensitivity:V", "Sensitivity for ventricular beats (V)"),
    Figure("arrhythmia.json", "global_taught", "DS2", "ppv:V", "Positive predictive value for V"),
    Figure("arrhythmia.json", "global_taught", "DS2", "sensitivity:S", "Sensitivity for supraventricular beats (S)"),
    Figure("arrhythmia.json", "global_taught", "DS2", "ppv:S", "Positive predictive value for S"),
    Figure("arrhythmia.json", "global_taught", "DS2", "kappa", "Cohen's kappa"),
    Figure("arrhythmia.json", "global_taught", "DS2", "ece", "Expected calibration error"),
    Figure(_RATE, "global", "test", "mae", "Heart rate while running, each window alone: mean error", 1, 2, "bpm"),
    Figure(_RATE, "global_forward", "test", "mae", "The same followed over time, nothing from later", 1, 2, "bpm"),
    Figure(_RATE, "global_lag8s", "test", "mae", "The same 8 s late", 1, 2, "bpm"),
    Figure(_RATE, "global_ppg1", "test", "mae", "As shipped: one PPG channel, each window alone", 1, 2, "bpm"),
    Figure(_RATE, "no_backbone_forward", "test", "mae", "Followed, the network without the backbone", 1, 2, "bpm"),
    Figure(_RATE, "global_forward_noacc", "test", "mae", "Followed, without accelerometer", 1, 2, "bpm"),
    Figure(_RATE, "spectral_forward", "test", "mae", "Followed, classical spectra alone", 1, 2, "bpm"),
    Figure(_SHIPPED, "global_int8", "DS2", "same_label_as_fp32", "Shipped int8: same label as fp32", 100, 2, "%"),
    Figure(_SHIPPED, "global_int8", "DS2", "macro_f1_drop_points", "Macro-F1 lost to int8", 1, 2, "points"),
    Figure(_SHIPPED, "global_int8", "DS2:lived", "accuracy", "Accuracy as lived, beats it labels"),
    Figure(_SHIPPED, "global_int8", "DS2:lived", "coverage", "Beats that get a label", 100, 1, "%"),
    Figure(_SHIPPED, "global_int8", "DS2:lived", "delay_p50_s", "R peak to result, median", 1, 2, "s"),
    Figure("speed.json", "ours_et_int8", "tiny", "p50_ms", "One inference, int8 on ExecuTorch, median", 1, 2, "ms"),
    Figure("speed.json", "ours_int8", "tiny", "p50_ms", "The same on onnxruntime", 1, 2, "ms"),
    Figure("speed.json", "ort_fp32", "tiny", "p50_ms", "The same in plain onnxruntime, fp32", 1, 2, "ms"),
    Figure("speed.json", "torch_eager", "tiny", "p50_ms", "The same in torch eager, fp32", 1, 2, "ms"),
    Figure(
        "speed.json",
        "ours_et_int8",
        "tiny",
        "speedup_over_ort_fp32",
        "int8 on ExecuTorch over plain onnxruntime fp32",
        1,
        2,
        "times",
    ),
    Figure(
        "speed.json", "ours_et_int8", "tiny", "speedup_over_torch_eager", "The same over torch eager", 1, 2, "times"
    ),
    Figure(
        "speed.json",
        "ours_et_int8",
        "tiny",
        "speedup_over_ort_int8",
        "The same over onnxruntime's own dynamic int8",
        1,
        2,
        "times",
    ),
    Figure(
        "speed.json",
        "ours_int8",
        "tiny",
        "speedup_over_ort_fp32",
        "int8 on onnxruntime over plain onnxruntime fp32",
        1,
        2,
        "times",
    ),
    Figure(
        "speed.json",
        "ours_et_int8",
        "paper",
        "speedup_over_ort_fp32",
        "`paper` preset: int8 on ExecuTorch over onnxruntime fp32",
        1,
        2,
        "times",
    ),
    Figure(
        "speed.json",
        "ours_et_int8",
        "paper",
        "speedup_over_torch_eager",
        "`paper` preset: the same over torch eager",
        1,
        2,
        "times",
    ),
    Figure(
        "speed.json",
        "ours_slots",
        "tiny",
        "cost_over_merged",
        "int8 with slots over merged, onnxruntime",
        1,
        2,
        "times",
    ),
    Figure(
        "speed.json",
        "ours_et_slots",
        "tiny",
        "cost_over_merged",
        "int8 with slots over merged, ExecuTorch",
        1,
        2,
        "times",
    ),
    Figure(
        "speed.json",
        "ours_int8",
        "tiny",
        "stream_per_result_ms",
        "Samples to result, onnxruntime, for each result",
        1,
        2,
        "ms",
    ),
    Figure("speed.json", "ours_int8", "tiny", "stream_overhead_ms", "Of that, all but the engine", 1, 2, "ms"),
    Figure("speed.json", "ours_et_int8", "tiny", "ready_ms", "Imports, load, verify, warm-up, ExecuTorch", 1, 0, "ms"),
    Figure("speed.json", "ours_int8", "tiny", "ready_ms", "The same on onnxruntime", 1, 0, "ms"),
    Figure("speed.json", "ours_et_int8", "tiny", "peak_rss_mb", "Peak memory of the process, ExecuTorch", 1, 0, "MB"),
    Figure("speed.json", "ours_int8", "tiny", "peak_rss_mb", "Peak memory of the process, onnxruntime", 1, 0, "MB"),
    Figure("speed.json", "ours_int8", "tiny", "file_mb", "The int8 graph", 1, 2, "MB"),
)


def block(results: Path) -> str:
    """Return the table of every figure whose file and row exist, or a line saying that there is none."""
    rows = {name: read(results / name) for name in {f.file for f in FIGURES} if (results / name).exists()}
    lines = [line for figure in FIGURES for line in _lines(figure, rows.get(figure.file, []))]
    if not lines:
        return "No results are committed yet."
    head = ["| what | value | 95 % interval | over | from |", "|---|--:|---|---|---|"]
    return "\n".join([*head, *lines])


def _lines(figure: Figure, rows: list[Row]) -> list[str]:
    return [
        f"| {figure.what} | {_value(figure, row.value)} | {_interval(figure, row)} | {_over(row)} | "
        f"[{figure.file}](results/{figure.file}) |"
        for row in rows
        if (row.arm, row.group, row.metric) == (figure.arm, figure.group, figure.metric)
    ]


def _value(figure: Figure, value: float) -> str:
    return f"{figure.scale * value:.{figure.digits}f} {figure.unit}".rstrip()


def _interval(figure: Figure, row: Row) -> str:
    if row.low is None or row.high is None:
        return ""
    return f"{figure.scale * row.low:.{figure.digits}f} to {figure.scale * row.high:.{figure.digits}f}"


def _over(row: Row) -> str:
    if row.group == "DS2":
        return f"{row.n} records, {row.seeds} seed{'s' if row.seeds != 1 else ''}"
    return f"n = {row.n}"


def replaced(text: str, table: str) -> str:
    """Return a page with the table between its markers.

    Raises
    ------
    FormatError
        The markers are not there once each and in order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in tail or END in tail:
        raise FormatError("a page without one pair of markers", f"{BEGIN} and {END}", "Put them around the table.")
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"


def main(argv: list[str] | None = None) -> int:
    """Write the table into the README; 1 with ``--check`` when it is not up to date."""
    parser = argparse.ArgumentParser(prog="python -m physioedge.report.figures", description=main.__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="folder of README.md and results/")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args(argv)
    readme = args.root / "README.md"
    text = readme.read_text(encoding="utf-8")
    wanted = replaced(text, block(args.root / "results"))
    if args.check:
        return int(text != wanted)
    readme.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
