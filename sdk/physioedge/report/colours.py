"""Colours of the page, once for light and once for dark.

Plots are drawn with stand-in colours that are then replaced by CSS variables, so that one page serves both.
"""

from __future__ import annotations

from collections.abc import Sequence

LIGHT = {
    "page": "#f4f5f7",
    "card": "#ffffff",
    "ink": "#1b1f24",
    "soft": "#5c6570",
    "line": "#dfe3e8",
    "good": "#1d7f5f",
    "class0": "#2f6db5",
    "class1": "#955700",
    "class2": "#c42b4b",
    "class3": "#6b4fb3",
    "withheld": "#8b939e",
    "notice": "#fff4d6",
}
DARK = {
    "page": "#0e1114",
    "card": "#171b20",
    "ink": "#e9ecef",
    "soft": "#9aa4af",
    "line": "#2c333b",
    "good": "#4cc79a",
    "class0": "#79b0f2",
    "class1": "#f0b04c",
    "class2": "#ff7d92",
    "class3": "#b39cf2",
    "withheld": "#7d8791",
    "notice": "#332a12",
}
_CLASSES = 4


def stand_in(name: str) -> str:
    """Colour to draw `name` with; `as_variables` turns it into the page's own."""
    return f"#0a0b{list(LIGHT).index(name) + 16:02x}"


def as_variables(svg: str) -> str:
    """Replace every stand-in by its CSS variable."""
    for name in LIGHT:
        svg = svg.replace(stand_in(name), f"var(--{name})")
    return svg


def class_name(label: str | None, labels: Sequence[str]) -> str:
    """Name of the colour of a label, or of a withheld one."""
    return "withheld" if label is None or label not in labels else f"class{list(labels).index(label) % _CLASSES}"


def css() -> str:
    """Both palettes as CSS variables."""
    light, dark = ("".join(f"--{name}:{value};" for name, value in side.items()) for side in (LIGHT, DARK))
    return f":root{{color-scheme:light dark;{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
