"""The personal part of the demo's report: which adapter served when, what it changed, what it cost."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from physioedge.report import personal_time, plots
from physioedge.report import personal_words as words
from physioedge.report.bars import Bar, chart
from physioedge.report.matrix import matrix
from physioedge.report.personalised import Compared, Personal, Tried
from physioedge.report.shell import pushed


def section(personal: Personal) -> str:
    """The section of the page."""
    asked, tried = personal.asked, personal.tried
    looped = "".join(_said(line) + "." for line in words.looped(personal)) if tried else ""
    parts = [
        f"<p>{_said(words.heard(personal))}. {_said(words.took(personal))}. {looped}</p>",
        timeline(personal),
        _over_time(personal),
        _heading("Levelled, and nobody asked", words.levelled(personal)),
        _table(personal.rest, personal),
    ]
    if asked is not None:
        parts += [
            _heading("What leaves the device", words.sent(asked, personal)),
            _heading("What comes back", _ended(words.answered(asked))),
        ]
    if tried is not None:
        said = " ".join(map(_ended, (words.swapped(tried), words.judged(tried), *words.unlevelled(personal))))
        parts += [
            _heading("On trial", said),
            _table(tried.compared, personal),
            _heading("Rolled back", f"{_ended(words.back(tried, personal))} {_ended(words.kept(tried))}"),
            _figures(personal, tried),
            f"<p class='notice'>{escape(personal.part.worth)}</p>",
        ]
    if personal.skipped:
        parts.append(f"<p class='notice'>{_said(words.skipped(personal))}</p>")
    return f"<section><h2>{escape(personal.part.title)}</h2>{''.join(parts)}</section>"


def timeline(personal: Personal) -> str:
    """Which adapter served when: a bar a stretch, and its facts below."""
    stretches = personal.stretches()
    bars = [
        Bar(
            stretch.what,
            ((stretch.start_s, "card"), (stretch.end_s - stretch.start_s, personal_time.colour_of(stretch))),
            f"{stretch.start_s:g} to {stretch.end_s:g} s",
        )
        for stretch in stretches
    ]
    head = ("served", "results name", "level", "from (s)", "to (s)", "windows")
    rows = [
        (s.what, s.adapter_id, "yes" if s.bias else "no", f"{s.start_s:g}", f"{s.end_s:g}", str(s.windows))
        for s in stretches
    ]
    drawn = chart(bars, title="Which adapter served when", top=personal.signal_s)
    hint = f"<p class='narrow'>{pushed('The table is wider than this screen')}</p>"
    return drawn + hint + _rows(head, rows, words_first=3)


def _over_time(personal: Personal) -> str:
    """The label that a part is about, window by window; nothing without matplotlib."""
    label = personal.part.over_time
    if not label or not plots.available():
        return ""
    text = (
        f"Each dot is one window as it was said at that time, by what served then (the strip above). Shaded: annotated "
        f"{label}. {pushed('The plot is wider than this screen')}"
    )
    return f"<p>{text}</p><div class='scroll wide' tabindex='0'>{personal_time.plot(personal, label)}</div>"


def _figures(personal: Personal, tried: Tried) -> str:
    asked = personal.asked
    facts = [] if asked is None else [
        (f"{len(asked.sent)} bytes", "left the device"),
        (f"{asked.answer_bytes / 1000:.1f} kB", "came back, signed"),
        (f"{asked.host_ms:.1f} ms", "from asking the host to its answer"),
    ]  # fmt: skip
    facts += [
        (f"{tried.stage_ms:.1f} ms", "to verify and stage it"),
        (f"{tried.swap_ms:.1f} ms", "to swap it in between two windows"),
        (f"{tried.lost} of {tried.windows}", "windows lost"),
    ]
    if tried.rollback_ms is not None:
        facts.append((f"{tried.rollback_ms:.1f} ms", "to roll it back"))
    cells = "".join(
        f"<div class='tile'><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in facts
    )
    return f"<div class='tiles'>{cells}</div>"


def _table(compared: Compared, personal: Personal) -> str:
    """The same windows under each, side by side: before and after."""
    columns = compared.columns()
    tables = []
    for who in compared.said:
        rows = {truth: counts for truth, other, counts in compared.rows() if other == who}
        tables.append(matrix(columns, rows, title=who))
    return f"<div class='beside'>{''.join(tables)}</div><p>{_said(words.agreement(compared, personal))}.</p>"


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]], *, words_first: int) -> str:
    def line(cells: Iterable[str], tag: str) -> str:
        marked = enumerate(cells)
        return "".join(f"<{tag}{' class=n' if i >= words_first else ''}>{escape(c)}</{tag}>" for i, c in marked)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<div class='scroll' tabindex='0'><table><tr>{line(head, 'th')}</tr>{body}</table></div>"


def _heading(title: str, text: str) -> str:
    return f"<h3>{escape(title)}</h3><p>{_said(text)}</p>"


def _said(text: str) -> str:
    return escape(text[:1].upper() + text[1:])


def _ended(text: str) -> str:
    """A sentence of its own, where several follow each other."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", ":")) else f"{text}."
