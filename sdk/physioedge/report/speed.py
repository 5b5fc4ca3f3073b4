"""The report of a speed run: one HTML page made from the results file alone, wherever that file was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from physioedge.report.bars import Bar, chart, strips
from physioedge.report.shell import document

COLUMNS = {
    "p50_ms": "p50 ms",
    "p90_ms": "p90 ms",
    "p99_ms": "p99 ms",
    "p99_over_p50": "p99 / p50",
    "speedup_over_ort_fp32": "times ORT fp32",
    "speedup_over_torch_eager": "times eager",
    "ready_ms": "ready ms",
    "first_ms": "first ms",
    "swap_ms": "swap ms",
    "peak_rss_mb": "peak MB",
    "file_mb": "file MB",
    "install_mb": "install MB",
}
_STARTS = (
    ("import_ms", "imports", "class0"),
    ("load_ms", "load and verify", "class1"),
    ("first_ms", "first", "class3"),
)
_CEILINGS = {
    "share_of_int8_ceiling": ("int8 arithmetic", "class0"),
    "share_of_fp32_ceiling": ("fp32 arithmetic", "class0"),
    "share_of_bandwidth_ceiling": ("memory bandwidth", "class1"),
}
_SIZES = (
    ("peak_rss_mb", "Peak memory", "Of the whole process, Python included; 10⁶ bytes."),
    ("file_mb", "Graph or weights", "As it lies on disk."),
    ("install_mb", "Installed", "All packages the process needs, as unpacked on disk."),
)
Values = Mapping[tuple[str, str], float]


def page(speed: Mapping[str, Any], *, changes: Sequence[Sequence[str]] = (), beside: str = "") -> str:
    """Return the whole page.

    Parameters
    ----------
    speed : mapping
        A results file of ``physioedge bench``.
    changes : sequence of rows of str, optional
        Table of changes against another run, its head first.
    beside : str, optional
        What the changes are against, for people.
    """
    machine, versions = speed["machine"], speed.get("versions", {})
    groups = list(dict.fromkeys(row["group"] for row in speed["rows"]))
    what = f"{machine['cpu']}, {machine['cores']} cores, {machine['arch']}, Python {machine['python']}"
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts = [
        f"<header><h1>How fast, how big, and why</h1><p>{escape(what)}{'; ' if used else ''}{escape(used)}</p></header>"
    ]
    for group in groups:
        parts += _group(speed, group, several=len(groups) > 1)
    if changes:
        parts.append(_section("What changed", escape(beside), _table(changes[0], changes[1:])))
    made = f"Written by {speed['command']}, source {speed['commit']}. One thread, batch 1."
    return document(f"Speed on {machine['cpu']}", [*parts, f"<footer>{escape(made)}</footer>"])


def _group(speed: Mapping[str, Any], group: str, *, several: bool) -> list[str]:
    rows = [row for row in speed["rows"] if row["group"] == group]
    facts: Mapping[str, Any] = speed.get("groups", {}).get(group, {})
    values = {(row["arm"], row["metric"]): float(row["value"]) for row in rows}
    arms = list(dict.fromkeys(row["arm"] for row in rows if row["metric"] == "p50_ms"))
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in facts.get("answer", []))
    about = ""
    if "rounds" in facts:
        about = f"{facts['rounds']} rounds of {facts['per_round']} inferences an arm, in turns, on {facts['windows']}."
    return [
        f"<h2 class='group'>{escape(group)}</h2>" if several else "",
        _tiles(values, arms),
        _section("In words", "", f"<ul class='said'>{said}</ul>") if said else "",
        _section("Every way to run it", escape(about), _arms(values, arms, facts)),
        "<div class='pair'>",
        _latency(facts, arms),
        _starts(values, arms),
        _sizes(values, arms),
        _stream(values, arms),
        _ceilings(values, arms, facts),
        _left_out(facts),
        "</div>",
    ]


def _tiles(values: Values, arms: Sequence[str]) -> str:
    ours = [arm for arm in arms if arm.startswith("ours")]
    if not ours:
        return ""
    best = min(ours, key=lambda arm: values[arm, "p50_ms"])
    wanted = (
        ("p50_ms", "{:.2f} ms", f"median, {best}"),
        ("speedup_over_ort_fp32", "{:.2f} ×", "as fast as plain onnxruntime fp32"),  # noqa: RUF001 - a times sign
        ("speedup_over_torch_eager", "{:.2f} ×", "as fast as torch eager"),  # noqa: RUF001 - a times sign
        ("p99_over_p50", "{:.2f}", "p99 over median"),
        ("ready_ms", "{:.0f} ms", "from start to first result"),
        ("peak_rss_mb", "{:.0f} MB", "peak memory of the process"),
    )
    cells = "".join(
        f"<div class='tile'><b>{form.format(values[best, metric])}</b><span>{escape(words)}</span></div>"
        for metric, form, words in wanted
        if (best, metric) in values
    )
    return f"<div class='tiles'>{cells}</div>"


def _arms(values: Values, arms: Sequence[str], facts: Mapping[str, Any]) -> str:
    columns = [metric for metric in COLUMNS if any((arm, metric) in values for arm in arms)]
    titles = facts.get("titles", {})
    head = ["arm", *(COLUMNS[metric] for metric in columns), "what"]
    body = [[arm, *(_number(values.get((arm, metric))) for metric in columns), titles.get(arm, "")] for arm in arms]
    return _table(head, body)


def _latency(facts: Mapping[str, Any], arms: Sequence[str]) -> str:
    found = {arm: q for arm in arms if (q := facts.get("quantiles_ms", {}).get(arm))}
    if not found:
        return ""
    colours = {arm: _colour(arm) for arm in found}
    text = "Milliseconds, logarithmic. Thin: 98 of 100 inferences; thick: the middle half; line: the median."
    return _section("Latency", text, strips(found, colours, title="Latency of every arm"))


def _starts(values: Values, arms: Sequence[str]) -> str:
    bars = [
        Bar(arm, tuple((values.get((arm, metric), 0.0), colour) for metric, _, colour in _STARTS),
            f"{values[arm, 'ready_ms']:.0f} ms")
        for arm in arms
        if (arm, "ready_ms") in values
    ]  # fmt: skip
    key = _key((colour, words) for _, words, colour in _STARTS)
    ready = {arm: values.get((arm, "ready_ms"), 0.0) for arm in arms}
    near = max((ready[arm] for arm in arms if arm.startswith(("ours", "ort", "bare"))), default=0.0)
    text, top = "A fresh process, files in the page cache.", None
    if 0 < 2 * near < max(ready.values(), default=0.0):  # torch.compile takes minutes: the others must stay visible
        text, top = f"{text} Bars that reach the right edge go on beyond it.", 2 * near
    return _section("From start to first result", text, key + chart(bars, title="Start-up", top=top)) if bars else ""


def _sizes(values: Values, arms: Sequence[str]) -> str:
    sections = []
    for metric, title, text in _SIZES:
        bars = [
            Bar(arm, ((values[arm, metric], _colour(arm)),), f"{_number(values[arm, metric])} MB")
            for arm in arms
            if (arm, metric) in values
        ]
        if bars:
            sections.append(_section(title, text, chart(bars, title=title)))
    return "".join(sections)


def _stream(values: Values, arms: Sequence[str]) -> str:
    bars = []
    for arm in arms:
        if (arm, "stream_per_result_ms") not in values:
            continue
        whole, around = values[arm, "stream_per_result_ms"], values.get((arm, "stream_overhead_ms"), 0.0)
        around = min(max(around, 0.0), whole)
        bars.append(Bar(arm, ((whole - around, "class0"), (around, "class1")), f"{whole:.2f} ms"))
    if not bars:
        return ""
    key = _key([("class0", "engine"), ("class1", "rate conversion, beats, quality, windows")])
    return _section("From samples to result", "For each result of a recording pushed in small chunks.",
                    key + chart(bars, title="Cost of a result"))  # fmt: skip


def _ceilings(values: Values, arms: Sequence[str], facts: Mapping[str, Any]) -> str:
    bars = [
        Bar(f"{arm}, {words}", ((values[arm, metric], colour),), f"{100 * values[arm, metric]:.0f} %")
        for arm in arms
        if arm.startswith(("ours", "ort"))
        for metric, (words, colour) in _CEILINGS.items()
        if (arm, metric) in values
    ]
    if not bars:
        return ""
    work = max((values[arm, "operations_mmac"] for arm in arms if (arm, "operations_mmac") in values), default=None)
    text = "Share of what this machine was measured to do at best, one thread."
    if work is not None:
        text += f" One inference is {work:.3g} million multiply-adds."
    limits = facts.get("ceilings", {})
    if limits:
        text += (
            f" Here: {limits['int8_gops']:.0f} · 10⁹ int8 operations a second, {limits['fp32_gflops']:.0f} · 10⁹ in "
            f"fp32, {limits['memory_gb_s']:.1f} GB/s from memory, {limits['cache_gb_s']:.1f} GB/s from the cache."
        )
    return _section("Against the machine's ceilings", text, chart(bars, title="Share of ceilings", top=1.0))


def _left_out(facts: Mapping[str, Any]) -> str:
    gone = facts.get("left_out", {})
    body = "".join(f"<tr><td>{escape(arm)}</td><td>{escape(reason)}</td></tr>" for arm, reason in gone.items())
    return _section("Left out", "", f"<table class='facts'>{body}</table>") if gone else ""


def _colour(arm: str) -> str:
    return "withheld" if not arm.startswith("ours") else "good" if "_et_" in arm else "class0"


def _key(items: Any) -> str:
    inner = "".join(f"<li><i style='background:var(--{colour})'></i>{escape(words)}</li>" for colour, words in items)
    return f"<ul class='key'>{inner}</ul>"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    numeric = [bool(body) and all(_is_number(row[i]) for row in body) for i in range(len(head))]
    marks = [" class='n'" if n else "" for n in numeric]
    top = "".join(f"<th{mark}>{escape(cell)}</th>" for mark, cell in zip(marks, head, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True)) + "</tr>"
        for row in body
    )
    return f"<div class='scroll' tabindex='0'><table class='speed'><tr>{top}</tr>{lines}</table></div>"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _is_number(cell: str) -> bool:
    try:
        float(cell.rstrip(" %"))
    except ValueError:
        return cell in ("", "-")
    return True


def _section(title: str, text: str, inner: str) -> str:
    return f"<section><h2>{title}</h2>{f'<p>{text}</p>' if text else ''}{inner}</section>"
