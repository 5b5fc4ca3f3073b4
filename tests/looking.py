"""What a browser finds wrong with how a page is laid out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

CLIPPED = """() => [...document.querySelectorAll('main *')].filter((one) => {
  const style = getComputedStyle(one);
  const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !one.offsetParent || style.position === 'absolute') return false;
  const scrolls = one.closest('.scroll, #log');
  return !scrolls && (one.scrollWidth > one.clientWidth + 1 && style.display !== 'inline');
}).map((one) => one.outerHTML.slice(0, 120))"""
OVERLAPS = """() => {
  const parts = [...document.querySelectorAll('.tile, section, .bar button, .bar label, .row, h1, .status, footer')];
  const boxes = parts.map((one) => [one, one.getBoundingClientRect()]);
  const found = [];
  for (const [a, x] of boxes) for (const [b, y] of boxes) {
    if (a === b || a.contains(b) || b.contains(a)) continue;
    const wide = Math.min(x.right, y.right) - Math.max(x.left, y.left);
    const high = Math.min(x.bottom, y.bottom) - Math.max(x.top, y.top);
    if (wide > 1 && high > 1) found.push(`${a.id || a.className} over ${b.id || b.className}`);
  }
  return found;
}"""
WORDS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    const words = [...svg.querySelectorAll('text')].filter((one) => one.textContent.trim())
      .map((one) => [one.textContent.trim(), one.getBoundingClientRect()]);
    words.forEach(([a, x], i) => {
      if (x.left < frame.left - 1 || x.right > frame.right + 1) found.push(`${a} is cut off`);
      for (const [b, y] of words.slice(i + 1)) {
        const wide = Math.min(x.right, y.right) - Math.max(x.left, y.left);
        const high = Math.min(x.bottom, y.bottom) - Math.max(x.top, y.top);
        const small = Math.min(x.width * x.height, y.width * y.height);
        if (wide > 1 && high > 1 && wide * high > 0.2 * small) found.push(`${a} over ${b}`);
      }
    });
  }
  return found;
}"""


def fits(page: Any) -> None:
    """No part is wider than the screen, over another, or clipped."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(OVERLAPS) == []


def is_accessible(page: Any) -> None:
    """No rule of axe-core is violated: contrast, names, roles, order of headings and the rest."""
    run = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra dev)")
    found = run.Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:100] for node in one["nodes"]]) for one in found] == []


def kept(page: Any, name: str) -> None:
    """A picture for people, where they say where to."""
    folder = os.environ.get("PHYSIOEDGE_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)
