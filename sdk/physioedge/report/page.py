"""The report of a streamed recording: one HTML file with everything in it, for light and dark, desk and phone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from physioedge.report import personal_page, plots, wrist
from physioedge.report.colours import class_name
from physioedge.report.markdown import to_html
from physioedge.report.matrix import matrix
from physioedge.report.personalised import Personal
from physioedge.report.shell import document, pushed
from physioedge.report.streamed import WITHHELD, Streamed, quantiles
from physioedge.report.wrist import Worn

NOTICE = (
    "<strong>Not a medical device.</strong> For research and development only. Do not use it to diagnose, monitor "
    "or treat anybody."
)
WRIST_SOURCE = (
    " Wristband: an excerpt of the Stress-Predict dataset (https://github.com/italha-d/Stress-Predict-Dataset), MIT "
    "licence, copyright 2022 Talha Iqbal."
)
NO_PLOTS = "This report has no plots, because matplotlib is not installed: <code>pip install 'physioedge[view]'</code>."


@dataclass(frozen=True, kw_only=True)
class More:
    """What stands beside a streamed recording.

    Attributes
    ----------
    personal : Personal or None
        The same recording, while its model was made the person's.
    worn : Worn or None
        A wristband.
    stress : Personal or None
        A wristband, while its model was made the person's.
    skipped : str
        Why that is not there; empty where it is, or nobody asked for it.
    """

    personal: Personal | None = None
    worn: Worn | None = None
    stress: Personal | None = None
    skipped: str = ""


def page(streamed: Streamed, more: More | None = None) -> str:
    """Return the whole page.

    Parameters
    ----------
    streamed : Streamed
        With at least one result or none; a quiet recording makes a short report.
    more : More, optional
    """
    more = more or More()
    drawn = plots.available() and bool(streamed.results)
    name = streamed.bundle.manifest.name
    parts = [
        _header(streamed),
        f"<p class='notice'>{NOTICE}</p>",
        _tiles(streamed),
        "" if plots.available() else f"<p class='notice'>{NO_PLOTS}</p>",
        _strips(streamed) if drawn else "",
        "<div class='pair'>",
        _section("Rhythm", "Each dot is the time since the beat before.", plots.tachogram(streamed)) if drawn else "",
        _section("Speed", _speed(streamed), plots.latency(streamed) if drawn else ""),
        _confusion(streamed),
        _contract(streamed),
        "</div>",
        personal_page.section(more.personal) if more.personal else "",
        wrist.section(more.worn) if more.worn else "",
        personal_page.section(more.stress) if more.stress else "",
        f"<p class='notice'>{escape(more.skipped)}</p>" if more.skipped else "",
        _card(streamed),
        _beats(streamed),
        f"<footer>{escape(_source(streamed) + _wrist_source(more))}</footer>",
    ]
    return document(f"{name}: {streamed.recording.name}", parts)


def _wrist_source(more: More) -> str:
    hour = f" {more.stress.part.source}" if more.stress else ""
    return (WRIST_SOURCE if more.worn else "") + hour


def _header(streamed: Streamed) -> str:
    recording, manifest = streamed.recording, streamed.bundle.manifest
    what = (
        f"{recording.name}: {', '.join(recording.channels)} at {recording.fs_hz:g} Hz, {recording.duration_s:.0f} s, "
        f"streamed through the signed bundle {manifest.name} {manifest.version}"
    )
    return f"<header><h1>Every beat, judged as it comes</h1><p>{escape(what)}</p></header>"


def _tiles(streamed: Streamed) -> str:
    counts, work = streamed.counts, quantiles(streamed.work_ms)
    names = streamed.label_names()
    tiles = [(str(len(streamed.results)), "beats found")]
    tiles += [(str(counts[label]), f"{label}: {names[label]}" if names[label] != label else label) for label in names]
    tiles.append((str(counts[WITHHELD]), "withheld: warming up, poor signal or unsure"))
    right, judged = streamed.agreement()
    if judged:
        tiles.append((f"{100 * right / judged:.1f} %", f"called as annotated ({right} of {judged})"))
    if len(streamed.work_ms):
        tiles.append((f"{work['p50']:.1f} ms", "of work for a beat, on one core"))
        tiles.append((f"{quantiles(streamed.delays_s)['p50']:.2f} s", "from R peak to result"))
    tiles.append((f"{streamed.real_time_factor:.0f} ×", "as fast as life"))  # noqa: RUF001 - a times sign for people
    cells = "".join(
        f"<div class='tile'><b>{escape(value)}</b><span>{escape(label)}</span></div>" for value, label in tiles
    )
    return f"<div class='tiles'>{cells}</div>"


def _section(title: str, text: str, inner: str, kind: str = "") -> str:
    return f"<section class='{kind}'><h2>{title}</h2><p>{text}</p>{inner}</section>"


def _strips(streamed: Streamed) -> str:
    shown = min(streamed.recording.duration_s, plots.ROW_S * plots.MAX_ROWS)
    cut = "" if shown >= streamed.recording.duration_s else f" The first {shown:.0f} s are shown."
    names = streamed.label_names()
    key = [(f"var(--{class_name(label, streamed.labels)})", label, names[label]) for label in streamed.labels]
    key.append(("var(--withheld)", "?", "withheld"))
    items = "".join(f"<li><i style='background:{c}'></i><b>{escape(n)}</b> {escape(w)}</li>" for c, n, w in key)
    differs = "<li><b>▲</b> differs from the annotation</li>" if streamed.truth is not None else ""
    wide = pushed(f"Each line is {plots.ROW_S:.0f} s long")
    text = (
        "Above: the signal with each beat's label. Middle: its probability, with the threshold below which it is "
        f"withheld. Below: signal quality, green where it is good enough to judge.{cut} {wide}"
    )
    inner = f"<ul class='key'>{items}{differs}</ul><div class='scroll wide' tabindex='0'>{plots.strips(streamed)}</div>"
    return _section("The signal", text, inner)


def _speed(streamed: Streamed) -> str:
    work, delay = quantiles(streamed.work_ms), quantiles(streamed.delays_s)
    if not len(streamed.work_ms):
        return "No beat was judged."
    return (
        f"Work for a beat: median {work['p50']:.2f} ms, 99 of 100 within {work['p99']:.2f} ms. Verifying and loading "
        f"the bundle took {streamed.load_ms:.0f} ms. A result is known {delay['p50']:.2f} s after its R peak: the "
        "model wants to see the wave that follows."
    )


def _confusion(streamed: Streamed) -> str:
    rows = streamed.confusion()
    if not rows:
        return ""
    columns = list(next(iter(rows.values())))
    columns = [c for c in columns if c in streamed.labels or any(row[c] for row in rows.values())]
    table = matrix(columns, {truth: [row[c] for c in columns] for truth, row in rows.items()})
    extra = streamed.extra()
    text = (
        "How each annotated beat was called (a beat counts as found within 150 ms). "
        + (f"{extra} results have no annotated beat. " if extra else "")
        + "The annotations were made by cardiologists; F and Q are classes the model does not know."
    )
    return _section("Against the annotations", text, table)


def _contract(streamed: Streamed) -> str:
    contract, bundle = streamed.bundle.contract, streamed.bundle
    sensor, window, limits = contract.sensor, contract.window, contract.thresholds
    size_mb = sum(f.bytes for f in bundle.manifest.files.values()) / 1e6
    after_s = window.lookahead_samples / sensor.fs_hz
    facts = [
        ("takes", f"{sensor.modality}, {', '.join(sensor.channels)}, {sensor.fs_hz:g} Hz, {sensor.units}"),
        ("window", f"{window.window_samples / sensor.fs_hz:g} s, up to {after_s:g} s after each {window.trigger}"),
        ("context", f"{window.context_samples / sensor.fs_hz:g} s of signal before the window"),
        ("gives", f"{', '.join(contract.labels)}; an embedding of {contract.embedding_dim} numbers"),
        ("withholds", f"below quality {limits.min_quality:g} or probability {limits.min_probability:g}"),
        ("graphs", ", ".join(f"{g.precision} {g.adapters} ({g.engine})" for g in bundle.manifest.graphs)),
        ("size", f"{size_mb:.1f} MB in {len(bundle.manifest.files)} files"),
        ("identity", bundle.digest),
        ("signed by", bundle.key_id),
        ("licence", bundle.manifest.licence),
    ]
    return _section("The contract", "What the bundle states and the runtime holds it to.", _facts(facts))


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table class='facts'>{cells}</table>"


def _card(streamed: Streamed) -> str:
    manifest = streamed.bundle.manifest
    text = streamed.bundle.read(manifest.model_card).decode("utf-8", errors="replace")
    return f"<section class='card'><details open><summary>Model card</summary>{to_html(text)}</details></section>"


def _beats(streamed: Streamed) -> str:
    known = streamed.truth is not None
    head = "<th class='n'>time (s)</th><th>label</th><th class='n'>probability</th><th class='n'>quality</th>"
    head += "<th>annotated</th><th>flags</th>" if known else "<th>flags</th>"
    rows = []
    for i, result in enumerate(streamed.results):
        colour = class_name(result.label, streamed.labels)
        truth = f"<td>{escape(streamed.truth[i] or '-')}</td>" if streamed.truth is not None else ""
        rows.append(
            f"<tr><td class='n'>{result.t_anchor_s:.2f}</td><td><span class='dot' style='color:var(--{colour})'>"
            f"{escape(result.label or '?')}</span></td><td class='n'>{result.probability:.3f}</td>"
            f"<td class='n'>{result.quality:.2f}</td>{truth}<td>{escape(', '.join(result.flags))}</td></tr>"
        )
    table = f"<div class='scroll' tabindex='0'><table><tr>{head}</tr>{''.join(rows)}</table></div>"
    hint = f"<p class='narrow'>{pushed('The table is wider than this screen')}</p>"
    return f"<section><details><summary>All {len(rows)} beats</summary>{hint}{table}</details></section>"


def _source(streamed: Streamed) -> str:
    subject = streamed.recording.subject
    said = "Made by physioedge demo. "
    if subject.startswith("mitbih:"):
        said += (
            "Contains information from the MIT-BIH Arrhythmia Database (https://physionet.org/content/mitdb/1.0.0/), "
            "which is made available under the ODC Attribution License 1.0."
        )
    return said
