"""The README's figures are those of the results files."""

from __future__ import annotations

import pytest

from physioedge.report.figures import BEGIN, END, FIGURES, block, main, replaced
from physioedge.results import Row, write
from physioedge_runtime.errors import FormatError


def row(figure, value=0.5, low=None, high=None):
    names = {"arm": figure.arm, "group": figure.group, "metric": figure.metric}
    return Row(task="arrhythmia", **names, unit="1", value=value, low=low,
               high=high, n=22, seeds=5)  # fmt: skip


def test_the_readme_is_up_to_date(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert text == replaced(text, block(repository / "results")), "run: python -m physioedge.report.figures"


def test_every_committed_figure_is_found_in_its_file(repository):
    """A results file without any of the rows the table asks of it means a name has changed."""
    for name in {figure.file for figure in FIGURES}:
        if (repository / "results" / name).exists():
            assert f"results/{name}" in block(repository / "results"), name


def test_rows_become_lines(tmp_path):
    accuracy = next(f for f in FIGURES if f.metric == "accuracy" and f.arm == "global")
    write(tmp_path / accuracy.file, "physioedge evaluate", [row(accuracy, 0.94567, 0.91, 0.97)])
    table = block(tmp_path)
    assert f"| {accuracy.what} | 0.946 | 0.910 to 0.970 | 22 records, 5 seeds |" in table
    assert len(table.splitlines()) == 3  # what has no row has no line


def test_units_and_scale(tmp_path):
    found = next(f for f in FIGURES if f.unit == "%")
    write(tmp_path / found.file, "x", [row(found, 0.99876)])
    assert f"| {found.what} | 99.88 % |" in block(tmp_path)


def test_nothing_is_said_as_nothing(tmp_path):
    assert block(tmp_path) == "No results are committed yet."


def test_writes_between_the_markers_and_checks(tmp_path):
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main(["--root", str(tmp_path), "--check"]) == 1
    assert main(["--root", str(tmp_path)]) == 0
    text = (tmp_path / "README.md").read_text()
    assert text == f"before\n{BEGIN}\nNo results are committed yet.\n{END}\nafter\n"
    assert main(["--root", str(tmp_path), "--check"]) == 0


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}{END}"])
def test_markers_must_be_one_pair(text):
    with pytest.raises(FormatError, match="markers"):
        replaced(text, "table")
