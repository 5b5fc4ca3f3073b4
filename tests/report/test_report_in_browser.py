"""The demo's report in a real browser: at every width, in light and dark, nothing overlaps, is clipped or empty."""

from __future__ import annotations

import contextlib
import io
import json

import pytest

from looking import WORDS, fits, is_accessible, kept
from made_up_view import browsing
from physioedge.cli.main import main
from physioedge.report import plots

WIDTHS = {"desk": (1280, 900), "tablet": (820, 1100), "phone": (390, 844), "small": (320, 640)}

PUSHED = """() => [...document.querySelectorAll('.scroll')].filter((one) => one.textContent.includes('results name'))
  .map((one) => [one.scrollWidth > one.clientWidth, one.previousElementSibling.offsetHeight > 0
                 && one.previousElementSibling.textContent.includes('push it sideways')])"""
"""Tables of what served: whether each is wider than its box, and whether that is said."""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """All of it, on what ships."""
    if not plots.available():
        pytest.skip("matplotlib is not installed (extra view)")
    folder = tmp_path_factory.mktemp("report")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["demo", "--json", "--out", str(folder)]) == 0
    told = json.loads(out.getvalue())
    assert told["personal"]["skipped"] is None and told["stress"]["skipped"] is None
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with browsing() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(WIDTHS))
def test_the_report_fits(browser, report, size, scheme):
    width, height = WIDTHS[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        page, asked = context.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report)
        kept(page, f"report-{size}-{scheme}")
        assert asked == [report]  # all is in the one file
        fits(page)
        assert page.evaluate(WORDS) == []
        assert page.evaluate(PUSHED) == 2 * [2 * [size in ("phone", "small")]]
        is_accessible(page)
        drawn = page.evaluate("[...document.querySelectorAll('section svg[role=img]')].map((s) => s.querySelectorAll("
                              "'path, rect, use').length)")  # fmt: skip
        assert len(drawn) == 5 and min(drawn) > 20
    finally:
        context.close()


def test_before_and_after_stand_beside_each_other(browser, report):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(report)
    tops = page.evaluate("[...document.querySelectorAll('.beside')].map((one) => [...one.querySelectorAll('table')]"
                         ".map((table) => table.getBoundingClientRect().top))")  # fmt: skip
    assert [len(row) for row in tops] == [2, 3, 2, 3] and all(len(set(row)) == 1 for row in tops)
    captions = page.evaluate("[...document.querySelectorAll('.beside caption')].map((one) => one.textContent)")
    assert captions[:4] == captions[5:9] == ["global", "levelled", "global", "global, levelled"]
    context.close()
