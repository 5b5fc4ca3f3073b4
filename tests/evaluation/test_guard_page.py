"""The guard's picture: drawn anew from the committed figures, in words that the documentation uses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the view extra is not installed")

from matplotlib.figure import Figure

from physioedge.evaluation.guard import page
from physioedge.evaluation.guard.rules import RULES

COMMITTED = Path(__file__).parents[2] / "results" / "guard.json"


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The picture of what is committed; the figures stay as they are."""
    seen: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
    shutil.copy(COMMITTED, tmp_path)
    page.draw(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["guard.json"]
    assert (tmp_path / "guard.json").read_bytes() == COMMITTED.read_bytes()
    (figure,) = seen
    return figure


def words(axes: Any) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in axes.texts)


def test_arms_have_names_that_are_read(drawn: Figure) -> None:
    (legend,) = drawn.legends
    names = [text.get_text() for text in legend.get_texts()]
    lasting = sum(rule.lasts for rule in RULES.values())
    assert len(names) == len(set(names)) == len(RULES) + lasting + 1 + 3
    assert not [name for name in names if "_" in name or name in RULES]


def test_the_target_is_said_at_its_lines(drawn: Figure) -> None:
    assert len(drawn.axes) == 2
    for axes in drawn.axes:
        assert "target: at most 5 % of the harmless" in words(axes)
        assert "target: 95 % of the harmful" in words(axes)


def test_curves_are_those_of_the_file(drawn: Figure) -> None:
    """DS2 by ten labels of windows where the two differ: 0.857 at the end, as the file's last point."""
    found = {line.get_label(): line for line in drawn.axes[1].lines}
    line = found["ten confirmed labels where the two models differ"]
    assert list(line.get_ydata()) == [0.810, 0.821, 0.833, 0.857, 0.857]
    assert list(line.get_xdata()) == [0.000, 0.005, 0.020, 0.103, 1.0]
