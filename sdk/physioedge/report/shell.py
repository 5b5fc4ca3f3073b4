"""What every report stands in: one HTML file, nothing fetched, the palette for light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from physioedge.report.colours import css

_STYLE = Path(__file__).with_name("style.css")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style></head>
<body><main>
{body}
</main></body></html>
"""


def document(title: str, parts: Iterable[str]) -> str:
    """Return a whole page.

    Parameters
    ----------
    title : str
        Plain text.
    parts : iterable of str
        HTML of the body; empty ones are left out.
    """
    style = css() + "\n" + _STYLE.read_text(encoding="utf-8")
    return _PAGE.format(title=escape(title), style=style, body="\n".join(part for part in parts if part))


def pushed(what: str) -> str:
    """A hint, on screens narrower than the drawings, that one of them goes on to the right."""
    return f"<span class='push'>{what}: push it sideways.</span>"
