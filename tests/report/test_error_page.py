"""Every error of the tree stands on the page, with a cause and something to do."""

from __future__ import annotations

import re
from pathlib import Path

from physioedge.report.error_page import PAGE, main, page
from physioedge_runtime import errors
from physioedge_runtime.errors import PhysioEdgeError

TREE = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, PhysioEdgeError)]


def test_the_page_is_up_to_date(repository: Path) -> None:
    assert main(["--root", str(repository), "--check"]) == 0, "python -m physioedge.report.error_page"


def test_each_has_a_row_a_cause_and_a_fix() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (?:↳ )*`(\w+)` \| (.+) \| (.+) \|$", page(), re.MULTILINE)
    assert sorted(rows) == sorted({(one.code, one.__name__, *rest) for one in TREE for code, name, *rest in rows
                                   if name == one.__name__})  # fmt: skip
    assert len(rows) == len(TREE) and len({code for code, *_ in rows}) == len(rows)
    for one in TREE:
        assert "fix" in vars(one), f"{one.__name__} has no fix of its own"
        assert one.fix.endswith(".") and len(one.fix) > 15


def test_a_page_of_yesterday_is_told(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    assert main(["--root", str(tmp_path), "--check"]) == 1
    assert main(["--root", str(tmp_path)]) == 0 and main(["--root", str(tmp_path), "--check"]) == 0
    path = tmp_path / PAGE
    path.write_text(path.read_text().replace("`digest`", "`digests`"))
    assert main(["--root", str(tmp_path), "--check"]) == 1
