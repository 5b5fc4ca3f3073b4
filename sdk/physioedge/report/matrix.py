"""What was said of what was annotated, as a table whose cells are tinted by their share of the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

NOBODY_SAID = "-"
"""Row of what has no annotation: nothing in it is right or wrong."""


def matrix(columns: Sequence[str], rows: Mapping[str, Sequence[int]], *, title: str = "") -> str:
    """The table.

    Parameters
    ----------
    columns : sequence of str
        What was said.
    rows : mapping of str to sequence of int
        Annotated class, or `NOBODY_SAID`, to how often each was said.
    title : str
        Above it; empty for none.
    """
    head = (
        "<tr><th scope='col'>annotated</th>" + "".join(f"<th scope='col'>{escape(c)}</th>" for c in columns) + "</tr>"
    )
    body = "".join(
        f"<tr><th scope='row'>{escape(truth)}</th>"
        + "".join(_cell(n, sum(counts), _colour(said, truth)) for said, n in zip(columns, counts, strict=True))
        + "</tr>"
        for truth, counts in rows.items()
    )
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f"<div class='scroll' tabindex='0'><table class='matrix'>{caption}{head}{body}</table></div>"


def _colour(said: str, truth: str) -> str:
    return "withheld" if truth == NOBODY_SAID else "good" if said == truth else "class2"


def _cell(count: int, total: int, colour: str) -> str:
    share = 0 if not total else round(10 + 38 * count / total)
    tint = f" style='background:color-mix(in srgb,var(--{colour}) {share}%,transparent)'" if count else ""
    return f"<td{tint}>{count or '·'}</td>"
