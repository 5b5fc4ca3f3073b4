"""The page: everything in one file, right numbers, and no harm from odd text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from physioedge.report import plots
from physioedge.report.colours import DARK, LIGHT, as_variables, stand_in
from physioedge.report.page import page
from physioedge.report.streamed import Streamed
from physioedge.signals.recording import Recording
from physioedge_runtime import Result
from tiny_bundle import write_tiny_bundle

VOID = {"meta", "br", "img", "link", "path", "use", "rect", "circle"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    card = b"# Card\n\n<script>alert(1)</script>\n"
    return write_tiny_bundle(tmp_path_factory.mktemp("b") / "t.physio", files={"MODEL_CARD.md": card})


def result(at: float, label: str | None, quality: float = 0.9) -> Result:
    chances = {"N": (0.9, 0.06, 0.04), "V": (0.1, 0.1, 0.8), None: ()}[label]
    return Result(
        t_start_s=at - 1, t_end_s=at + 0.1, t_anchor_s=at, label=label, probability=max(chances, default=0.0),
        probabilities=chances, quality=quality if label else 0.0, flags=() if label else ("warming_up",),
        adapter="global", t_emitted_s=at + 0.6,
    )  # fmt: skip


@pytest.fixture
def streamed(bundle):
    results = (result(0.5, None), result(1.5, "N"), result(2.5, "V"), result(3.5, "N"))
    samples = np.sin(np.arange(5000, dtype=np.float32) / 30)[None]
    recording = Recording(samples=samples, fs_hz=250.0, units="mV", channels=("MLII",), name="<r>", subject="s")
    return Streamed(
        recording=recording, bundle=bundle, results=results, push_ms=np.array([0.1, 2.0, 3.0, 4.0]), wall_s=0.1,
        load_ms=12.0, truth=("N", "N", "V", "V"), missed=("S", "F"),
    )  # fmt: skip


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert name not in ("src", "onload", "onclick"), (tag, name)
            if name == "href":
                assert value.startswith("#")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def parsed(html: str) -> Balanced:
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def test_numbers(streamed):
    assert streamed.counts == {"N": 2, "S": 0, "V": 1, "withheld": 1}
    assert streamed.agreement() == (2, 3)
    assert streamed.confusion() == {
        "N": {"N": 1, "S": 0, "V": 0, "withheld": 1, "not found": 0},
        "S": {"N": 0, "S": 0, "V": 0, "withheld": 0, "not found": 1},
        "V": {"N": 1, "S": 0, "V": 1, "withheld": 0, "not found": 0},
        "F": {"N": 0, "S": 0, "V": 0, "withheld": 0, "not found": 1},
    }
    assert streamed.extra() == 0
    assert streamed.work_ms.tolist() == [2.0, 3.0, 4.0]
    assert streamed.real_time_factor == pytest.approx(200)


def test_page_is_whole_and_alone(streamed):
    pytest.importorskip("matplotlib", reason="the view extra is not installed")
    html = page(streamed)
    found = parsed(html)
    assert found.tags.count("svg") == 3 and "script" not in found.tags
    assert "http" not in re.sub(r"xmlns(:xlink)?=\"[^\"]*\"", "", html).replace("https://physionet.org", "")
    for words in (
        "Not a medical device",
        "Against the annotations",
        "2 of 3",
        "The contract",
        "Model card",
        "All 4 beats",
    ):
        assert words in html
    assert "&lt;r&gt;" in html and "prefers-color-scheme:dark" in html


def test_plots_take_the_pages_colours(streamed):
    pytest.importorskip("matplotlib", reason="the view extra is not installed")
    for drawing in (plots.strips(streamed), plots.tachogram(streamed), plots.latency(streamed)):
        assert "var(--ink)" in drawing and "#0a0b" not in drawing
        assert re.match(r'<svg (?![^>]*\bwidth=)[^>]*role="img"', drawing)
    assert plots.strips(streamed) == plots.strips(streamed)  # the same input gives the same bytes


def test_inner_names_of_drawings_do_not_meet(streamed):
    pytest.importorskip("matplotlib", reason="the view extra is not installed")
    names = [
        set(re.findall(r'<(?:clipPath|path) id="([^"]+)"', d))
        for d in (plots.tachogram(streamed), plots.latency(streamed))
    ]
    assert all(names) and not names[0] & names[1]


def test_without_matplotlib_the_page_says_how_to_get_plots(streamed, monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    html = page(streamed)
    parsed(html)
    assert "<svg" not in html and "physioedge[view]" in html and "Against the annotations" in html


def test_a_quiet_recording_makes_a_page(streamed):
    quiet = Streamed(recording=streamed.recording, bundle=streamed.bundle, results=(), push_ms=np.zeros(0), wall_s=0.1,
                     load_ms=1.0)  # fmt: skip
    html = page(quiet)
    parsed(html)
    assert "No beat was judged" in html and "Against the annotations" not in html and "nan" not in html


def test_both_palettes_have_every_colour():
    assert LIGHT.keys() == DARK.keys()
    assert len({stand_in(name) for name in LIGHT}) == len(LIGHT)
    assert as_variables("".join(map(stand_in, LIGHT))) == "".join(f"var(--{name})" for name in LIGHT)


@pytest.mark.parametrize("side", [LIGHT, DARK])
@pytest.mark.parametrize("name", ["ink", "soft", "class0", "class1", "class2", "class3"])
def test_text_can_be_read(side, name):
    """Contrast of at least 4.5 on the card, the bound of WCAG 2.1 (1.4.3)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(side[name]), luminance(side["card"])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5
