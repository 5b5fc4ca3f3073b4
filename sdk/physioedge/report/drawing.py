"""A matplotlib figure as SVG in the colours and letters of the page it stands on. Needs the extra ``view``."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from physioedge.report.colours import as_variables, stand_in

_RC = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": stand_in("ink"),
    "axes.labelcolor": stand_in("soft"),
    "axes.edgecolor": stand_in("line"),
    "xtick.color": stand_in("soft"),
    "ytick.color": stand_in("soft"),
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "path.simplify_threshold": 0.3,
}


@contextmanager
def figure(name: str, width_in: float, height_in: float) -> Iterator[tuple[Any, io.StringIO]]:
    """Give a figure that is written to the buffer when the block ends; `name` makes its inner ids its own."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    out = io.StringIO()
    with mpl.rc_context({**_RC, "svg.hashsalt": name}):
        figure = Figure(figsize=(width_in, height_in))
        yield figure, out
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})


def svg(out: io.StringIO, title: str) -> str:
    """Return the drawing itself, without a prologue, in the page's own colours and letters, as wide as its place."""
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', rf'\1 role="img" aria-label="{title}"', text, count=1)
    text = re.sub(r"font: (?:bold |700 )?([\d.]+px) [^;\"]*", _plain_font, text)
    return as_variables(text)


def _plain_font(match: re.Match[str]) -> str:
    weight = "700 " if "bold" in match[0] or "700 " in match[0] else ""
    return f"font: {weight}{match[1]} system-ui, sans-serif"
