from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from physioedge.report.markdown import to_html


def test_blocks():
    text = (
        "# Model\n\nTells **N** from `V`\nin one line.\n\n- one\n- two\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n### Deep"
    )
    html = to_html(text, first_level=3)
    assert "<h3>Model</h3>" in html and "<h5>Deep</h5>" in html
    assert "<p>Tells <strong>N</strong> from <code>V</code> in one line.</p>" in html
    assert "<ul><li>one</li><li>two</li></ul>" in html
    assert "<tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr>" in html


def test_a_table_without_a_head():
    assert "<th>" not in to_html("| a | b |\n| c | d |")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@given(st.text(alphabet="#-*`| <>&\"'ab\n/scriptimg", max_size=80))
def test_any_text_is_escaped_and_well_formed(text):
    parser = Tags()
    parser.feed(to_html(text))
    assert parser.open == []
    known = {"h3", "h4", "h5", "h6", "p", "ul", "li", "div", "table", "tr", "th", "td", "strong", "code"}
    assert parser.seen <= known
