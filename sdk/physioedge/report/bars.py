"""Charts of rows by hand: a name, a strip of SVG, a value. They need no plotting library and fold on a phone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 1000.0


@dataclass(frozen=True)
class Bar:
    """One row of a chart.

    Attributes
    ----------
    name : str
    parts : tuple of (float, str)
        Lengths and the names of their colours, from left to right.
    words : str
        Value as it is printed.
    """

    name: str
    parts: tuple[tuple[float, str], ...]
    words: str


def chart(bars: Sequence[Bar], *, title: str, top: float | None = None) -> str:
    """Return stacked bars from zero.

    Parameters
    ----------
    bars : sequence of Bar
    title : str
        For those who cannot see it.
    top : float, optional
        Value at the right edge, where longer bars are cut; by default the longest bar.
    """
    longest = top or max((sum(length for length, _ in bar.parts) for bar in bars), default=0.0) or 1.0
    rows = []
    for bar in bars:
        left, drawn = 0.0, ""
        for length, colour in bar.parts:
            width = min(_WIDTH * length / longest, _WIDTH - left)
            drawn += f"<rect x='{left:.1f}' y='2' width='{width:.1f}' height='16' fill='var(--{colour})'/>"
            left += width
        rows.append(_row(bar.name, drawn, bar.words))
    return _chart(rows, title)


def strips(quantiles: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], *, title: str) -> str:
    """Return a row for each name on one logarithmic axis: p1 to p99 thin, p25 to p75 thick, the median as a line.

    Parameters
    ----------
    quantiles : mapping
        ``p1``, ``p25``, ``p50``, ``p75``, ``p99`` by name, positive.
    colours : mapping of str to str
        Name of the colour of each row.
    title : str
    """
    low = min(q["p1"] for q in quantiles.values()) / 1.1
    high = max(q["p99"] for q in quantiles.values()) * 1.1
    ticks = _ticks(low, high)

    def x(value: float) -> float:
        return _WIDTH * math.log(value / low) / math.log(high / low)

    grid = "".join(f"<line x1='{x(t):.1f}' x2='{x(t):.1f}' y1='0' y2='20' class='grid'/>" for t in ticks)
    rows = []
    for name, q in quantiles.items():
        colour = f"var(--{colours[name]})"
        drawn = grid + _box(x(q["p1"]), x(q["p99"]), 8, 4, colour, 0.45) + _box(x(q["p25"]), x(q["p75"]), 4, 12, colour)
        drawn += f"<line x1='{x(q['p50']):.1f}' x2='{x(q['p50']):.1f}' y1='1' y2='19' class='mark'/>"
        rows.append(_row(name, drawn, f"{q['p50']:.3g} ms"))
    labels = "".join(f"<span style='left:{x(t) / 10:.1f}%'>{t:g}</span>" for t in ticks)
    return _chart([*rows, f"<div></div><div class='ticks'>{labels}</div><div></div>"], title)


def _box(left: float, right: float, y: float, height: float, colour: str, opacity: float = 1.0) -> str:
    width = max(right - left, 2.0)
    return f"<rect x='{left:.1f}' y='{y}' width='{width:.1f}' height='{height}' fill='{colour}' opacity='{opacity}'/>"


def _ticks(low: float, high: float) -> list[float]:
    """Round values inside, at least one and not too many for a phone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
        if len(found) <= 6:
            break
    return found or [math.sqrt(low * high)]


def _row(name: str, drawn: str, words: str) -> str:
    picture = f"<svg viewBox='0 0 {_WIDTH:.0f} 20' preserveAspectRatio='none' aria-hidden='true'>{drawn}</svg>"
    return f"<div class='name'>{escape(name)}</div>{picture}<div class='value'>{escape(words)}</div>"


def _chart(rows: Sequence[str], title: str) -> str:
    return f"<div class='chart' role='group' aria-label='{escape(title)}'>{''.join(rows)}</div>"
