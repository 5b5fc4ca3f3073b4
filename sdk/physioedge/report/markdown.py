"""Enough of Markdown for a model card: headings, lists, tables, paragraphs, bold, code. Everything else stays text."""

from __future__ import annotations

import re
from html import escape
from itertools import groupby


def to_html(text: str, first_level: int = 3) -> str:
    """HTML of a Markdown text, escaped.

    Parameters
    ----------
    text : str
    first_level : int
        Heading level that ``#`` becomes.
    """
    parts = []
    for kind, lines in groupby(text.splitlines(), _kind):
        block = list(lines)
        if kind == "heading":
            parts += [_heading(line, first_level) for line in block]
        elif kind == "item":
            parts.append("<ul>" + "".join(f"<li>{_inline(line.lstrip()[2:])}</li>" for line in block) + "</ul>")
        elif kind == "row":
            parts.append(_table(block))
        elif kind == "text":
            parts.append(f"<p>{_inline(' '.join(line.strip() for line in block))}</p>")
    return "\n".join(parts)


def _kind(line: str) -> str:
    stripped = line.strip()
    if not stripped:
        return "empty"
    if re.match(r"#{1,6} ", stripped):
        return "heading"
    if stripped.startswith(("- ", "* ")):
        return "item"
    return "row" if stripped.startswith("|") else "text"


def _heading(line: str, first_level: int) -> str:
    marks, _, words = line.strip().partition(" ")
    level = min(6, first_level + len(marks) - 1)
    return f"<h{level}>{_inline(words)}</h{level}>"


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    ruled = len(rows) > 1 and all(re.fullmatch(r":?-+:?", cell) for cell in rows[1])
    head = _row("th", rows[0]) if ruled else ""
    body = "".join(_row("td", row) for row in rows[2 if ruled else 0 :])
    return f"<div class='scroll' tabindex='0'><table>{head}{body}</table></div>"


def _row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>"


def _inline(text: str) -> str:
    safe = escape(text)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
