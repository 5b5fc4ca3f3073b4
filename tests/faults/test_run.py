"""The frame of the fault list: a row that breaks is not lost, files are merged, the exit code says what holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from physioedge.cli.main import main
from physioedge.faults import limits, page, record, run
from physioedge.faults.row import Outcome, Row, Setting, beyond_chance
from physioedge_runtime.adaptation import adapter, condition, freshness
from physioedge_runtime.bundle import archive
from physioedge_runtime.engine import slots
from physioedge_runtime.errors import EvaluationRefused, MissingExtra
from physioedge_runtime.signal import timeline


def outcome(lost: int = 0, **figures: float) -> Outcome:
    return Outcome(tried=10, lost=lost, holds=lost == 0, figures=figures, notes=("a | note",))


def raising(error: BaseException) -> Any:
    def trial(setting: Setting) -> Outcome:
        raise error

    return trial


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Trials by id, which a test may set; each module is made up."""
    trials: dict[str, Any] = {
        "R1": lambda setting: outcome(longest_s=2.5),
        "R2": lambda setting: outcome(),
        "R3": lambda setting: outcome(lost=3),
    }
    monkeypatch.setattr(run, "MODULES", {name: f"made_up_{name}" for name in trials})
    for name in trials:
        row = Row(id=name, what=f"what {name}", target="all | of it")
        made_up = SimpleNamespace(ROW=row, trial=lambda setting, name=name: trials[name](setting))
        monkeypatch.setitem(sys.modules, f"physioedge.faults.made_up_{name}", made_up)
    return trials


def test_a_row_gets_an_empty_folder_that_goes_away(rows: dict[str, Any]) -> None:
    seen: list[Setting] = []

    def trial(setting: Setting) -> Outcome:
        assert list(setting.work.iterdir()) == []
        (setting.work / "left").write_text("x")
        seen.append(setting)
        return outcome()

    rows["R1"] = trial
    assert run.run_row("R1", share=0.25, seed=7).state == run.HOLDS
    (setting,) = seen
    assert (setting.share, setting.seed, setting.work.exists()) == (0.25, 7, False)
    assert setting.tries(100) == 25 and setting.tries(1) == 1


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (ValueError("odd"), run.BROKEN, "ValueError: odd"),
        (SystemExit(3), run.BROKEN, "SystemExit: 3"),
        (MissingExtra("a row without x", "x", "Install x."), run.NOT_RUN, "Install x."),
        (ModuleNotFoundError("no", name="fastapi"), run.NOT_RUN, "'fastapi'"),
        (ModuleNotFoundError("no", name="physioedge.gone"), run.BROKEN, "no"),
    ],
)
def test_a_row_that_raises_is_reported(rows: dict[str, Any], error: BaseException, state: str, words: str) -> None:
    rows["R2"] = raising(error)
    found = list(run.run(["R1", "R2"]))
    assert [each.state for each in found] == [run.HOLDS, state]
    assert words in found[1].reason and found[1].outcome is None and state in run.line(found[1])


def test_an_interruption_is_no_broken_row(rows: dict[str, Any]) -> None:
    rows["R1"] = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run.run_row("R1", share=1.0, seed=0)


def test_rows_are_chosen_in_the_order_of_the_list() -> None:
    assert run.chosen(None) == tuple(run.MODULES)
    assert run.chosen("r13, R1,R1") == ("R1", "R13")
    for text in ("R99", "", "R1,Q"):
        with pytest.raises(EvaluationRefused):
            run.chosen(text)


def test_the_exit_code_says_whether_all_that_ran_holds(
    rows: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faults", "--rows", "R1,R2"]) == 0
    assert main(["faults"]) == 1
    shown = capsys.readouterr()
    assert "does not hold: 10 tried, 3 lost" in shown.out and "R3: a | note" in shown.out and "R2 (2 of 3)" in shown.err
    rows["R3"] = raising(ValueError())
    assert main(["faults"]) == 1
    rows["R3"] = raising(MissingExtra("a", "b", "c"))
    assert main(["faults"]) == 0
    assert main(["faults", "--rows", "R3"]) == 1  # nothing ran
    assert main(["faults", "--rows", "R9"]) == 1
    assert main(["faults", "--share", "0"]) == 2


def missed(rows: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *worse: str) -> None:
    """R3 misses its target, and is known to."""
    rows["R3"] = lambda setting: Outcome(tried=10, lost=3, holds=False, notes=("a note",), worse=worse)
    row = Row(id="R3", what="what R3", target="all of it", known="nobody can")
    monkeypatch.setattr(sys.modules["physioedge.faults.made_up_R3"], "ROW", row)


def test_a_miss_that_is_known_is_told_with_its_reason_and_is_no_error_but_where_asked_for(
    rows: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missed(rows, monkeypatch)
    assert main(["faults", "--out", str(tmp_path)]) == 0 and main(["faults", "--strict"]) == 1
    said = capsys.readouterr().out
    assert "misses, as known: 10 tried, 3 lost" in said and "R3: nobody can\nR3: a note" in said
    assert "2 of 3 rows that ran are at their target. R3: missed as known, for the reason told above" in said
    made = json.loads((tmp_path / "faults.json").read_text())["faults"]["R3"]
    assert (made["state"], made["reason"]) == ("misses, as known", "nobody can")
    page_text = (tmp_path / "faults.md").read_text()
    assert "Not at their target: R3. Missed as known, and by no more: R3" in page_text
    assert "## R3\n\n- misses, as known: nobody can\n" in page_text


def test_a_miss_that_is_worse_than_known_is_an_error(
    rows: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missed(rows, monkeypatch, "9 of 10 lost", "and more")
    assert main(["faults"]) == 1
    said = capsys.readouterr().out
    assert "R3: worse than known: 9 of 10 lost; worse than known: and more" in said and "R3: does not hold." in said
    found = run.run_row("R3", share=1.0, seed=0)
    assert found.state == run.LOST and "9 of 10 lost" in found.reason


def test_a_row_that_holds_is_not_asked_what_is_known(rows: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    missed(rows, monkeypatch)
    rows["R3"] = lambda setting: outcome()
    assert run.run_row("R3", share=1.0, seed=0).state == run.HOLDS


def test_chance_explains_one_in_a_hundred_and_not_ten() -> None:
    assert not beyond_chance(0, 0, 0.1) and not beyond_chance(0, 10, 0.0) and not beyond_chance(1, 100, 0.01)
    assert beyond_chance(1, 10, 0.0) and beyond_chance(10, 100, 0.01) and not beyond_chance(3, 4, 0.3)
    assert beyond_chance(20_600, 100_000, 0.2) and not beyond_chance(20_100, 100_000, 0.2)  # a full run has that many


def test_limits_kept_by_hand_are_those_of_the_runtime_and_stand_in_the_documents(repository: Path) -> None:
    pairs = [
        (limits.BUNDLE_BYTES, archive.MAX_BUNDLE_BYTES, "bundle", "536870912 bytes"),
        (limits.MANIFEST_BYTES, archive.MAX_MANIFEST_BYTES, "bundle", "1048576 bytes"),
        (limits.ADAPTER_BYTES, adapter.MAX_ADAPTER_BYTES, "adapter", "4194304 bytes"),
        (limits.CONDITION_BYTES, condition.MAX_BYTES, "condition", "at most 8192"),
        (limits.SLOT_NORM, slots.MAX_SLOT_NORM, "adapter", "norm of each array is at most 100"),
        (limits.LEAP, freshness.MAX_LEAP, "adapter", "more than 1000000 above it"),
        (limits.HORIZON_S, freshness.HORIZON_S, "adapter", "more than 3650 days after"),
        (limits.TOLERANCE_S, timeline.TOLERANCE_S, "signal-quality", "(default 0.05 s)"),
    ]  # fmt: skip
    for by_hand, in_use, page_name, words in pairs:
        assert by_hand == in_use and words in (repository / "docs" / f"{page_name}.md").read_text(encoding="utf-8")


def test_files_keep_rows_that_are_not_run(rows: dict[str, Any], tmp_path: Path) -> None:
    assert main(["faults", "--rows", "R1,R3", "--out", str(tmp_path)]) == 1
    rows["R3"], rows["R1"] = raising(MissingExtra("a", "b", "c")), raising(ValueError("broke"))
    assert main(["faults", "--rows", "R2,R3", "--out", str(tmp_path), "--share", "0.5"]) == 0
    made = json.loads((tmp_path / "faults.json").read_text())
    assert {name: facts["state"] for name, facts in made["faults"].items()} == {
        "R1": "holds", "R2": "holds", "R3": "does not hold",
    }  # fmt: skip
    assert [row["arm"] for row in made["rows"]] == ["R1"] * 4 + ["R2"] * 3 + ["R3"] * 3
    first = {row["metric"]: row for row in made["rows"] if row["arm"] == "R1"}
    assert first["longest_s"]["value"] == 2.5 and first["longest_s"]["unit"] == first["wall_s"]["unit"] == "s"
    assert first["tried"] == {
        "task": "faults", "arm": "R1", "group": "all", "metric": "tried", "unit": "1", "value": 10.0, "low": None,
        "high": None, "n": 10, "seeds": 1,
    }  # fmt: skip
    assert record.known_s(made, 0.25)["R2"] == pytest.approx(_took(made, "R2") / 2)
    main(["faults", "--rows", "R1", "--out", str(tmp_path)])
    made = json.loads((tmp_path / "faults.json").read_text())
    assert made["faults"]["R1"]["state"] == "broken" and not [row for row in made["rows"] if row["arm"] == "R1"]


def test_a_short_run_keeps_the_full_one_beside_it(
    rows: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SHORT", {"R1": 0.25})
    rows["R1"] = lambda setting: Outcome(tried=setting.tries(100), lost=0, holds=True)
    full, short = ["faults", "--rows", "R1,R2", "--out", str(tmp_path)], ["--short"]
    shares = []
    for words in (full, [*full, *short], [*full, *short, "--share", "0.4"], full):
        assert main(words) == 0
        made = json.loads((tmp_path / "faults.json").read_text())
        tried = {(r["arm"], r["group"]): r["value"] for r in made["rows"] if r["metric"] == "tried"}
        shares.append([made["faults"][n]["share"] for n in ("R1", "R2")])
        first = shares[-1][0]
        assert tried["R1", "all"] == 100 * first and tried.get(("R1", "full")) == (100 if first < 1 else None)
        assert ("R2" in made["full"]) == (shares[-1][1] < 1) and made["took"]["rows"] == ["R1", "R2"]
        page_text = (tmp_path / "faults.md").read_text()
        assert ("holds: 100 tried, 0 lost" in page_text) == (first < 1) and ("R1 in full:" in page_text) == (first < 1)
    assert shares == [[1, 1], [0.25, 1], [0.1, 0.4], [1, 1]]
    assert record.known_s(made, 0.5, {"R1": 0.25})["R1"] == pytest.approx(_took(made, "R1") / 8)


def test_a_full_run_that_fails_is_not_hidden_by_a_short_one(rows: dict[str, Any], tmp_path: Path) -> None:
    assert main(["faults", "--rows", "R3", "--out", str(tmp_path)]) == 1
    rows["R3"] = lambda setting: outcome()
    assert main(["faults", "--rows", "R3", "--share", "0.5", "--out", str(tmp_path)]) == 0
    assert "Not at their target: R3." in (tmp_path / "faults.md").read_text()


def _took(made: dict[str, Any], name: str) -> float:
    return next(float(row["value"]) for row in made["rows"] if (row["arm"], row["metric"]) == (name, "wall_s"))


def test_the_time_left_is_told_where_it_is_known(rows: dict[str, Any]) -> None:
    lines: list[str] = []
    list(run.run(["R1", "R2", "R3"], known_s={"R1": 60.0, "R2": 120.0}, progress=lines.append))
    assert lines[0] == "R1 (1 of 3), about 3.0 min left and what 1 rows take"
    assert lines[2].startswith("R2 (2 of 3), about 2.0 min left") and lines[4] == "R3 (3 of 3)"


def test_json(rows: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--rows", "R1", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["command"] == "physioedge faults --rows R1 --share 1 --seed 0" and list(made["faults"]) == ["R1"]


def test_another_file_is_not_overwritten(rows: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text('{"rows": [1]}')
    assert main(["faults", "--out", str(tmp_path)]) == 1
    assert (tmp_path / "faults.json").read_text() == '{"rows": [1]}'


def test_the_page(rows: dict[str, Any], tmp_path: Path) -> None:
    main(["faults", "--share", "0.5", "--out", str(tmp_path)])
    text = (tmp_path / "faults.md").read_text()
    assert "Not at their target: R3." in text and "| R1 | what R1 | all \\| of it | 10 | 0 | holds at 0.5" in text
    assert "## R3\n\n- a | note\n" in text and "`longest_s` 2.5" in text
    (tmp_path / "faults.md").unlink()
    assert page.main(tmp_path) == 0 and (tmp_path / "faults.md").read_text() == text
    assert page.main(tmp_path / "nowhere") == 1


def test_the_committed_page_is_that_of_the_committed_file(repository: Path) -> None:
    made = record.read(repository / "results")
    assert made is not None and made["rows"]
    assert (repository / "results" / "faults.md").read_text(encoding="utf-8") == page.markdown(made)


def test_every_row_is_on_the_page_that_explains_them(repository: Path) -> None:
    text = (repository / "docs" / "faults.md").read_text(encoding="utf-8")
    assert all(f"| {name} | `{module}` |" in text for name, module in run.MODULES.items())
    assert set(run.SHORT) <= set(run.MODULES) and all(0 < share < 1 for share in run.SHORT.values())
    assert list(run.MODULES) == [f"R{number}" for number in range(1, 18)]


IN_A_FILE = """
import os, time
from pathlib import Path
from physioedge.faults.row import Outcome, Row

name = __name__.rpartition("_")[2].upper()
ROW = Row(id=name, what=f"what {name}", target="all of it")

def trial(setting):
    log = os.environ["MADE_UP_LOG"]
    with open(log, "a") as file:
        file.write(f"+{name} ")
    if name == "R3":
        os._exit(9)
    if name in ("R1", "R2"):  # neither ends before the other has begun
        limit = time.monotonic() + 60
        while not {"+R1", "+R2"} <= set(Path(log).read_text().split()) and time.monotonic() < limit:
            time.sleep(0.01)
    drawn = float(setting.rng().random())
    with open(log, "a") as file:
        file.write(f"-{name} ")
    return Outcome(tried=setting.tries(10), lost=0, holds=True, figures={"drawn": drawn}, notes=(str(setting.sets),))
"""


def test_rows_side_by_side_find_the_same_and_timed_ones_run_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, names = tmp_path / "log", ("R1", "R2", "R3", "R9", "R12")
    monkeypatch.setenv("MADE_UP_LOG", str(log))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(run, "MODULES", {name: f"made.up_{name.lower()}" for name in names})
    (tmp_path / "made").mkdir()
    for name in names:
        (tmp_path / "made" / f"up_{name.lower()}.py").write_text(IN_A_FILE)
    words = ["faults", "--share", "0.5", "--seed", "3", "--sets", "somewhere", "--json"]
    assert main([*words, "--workers", "2"]) == 1  # R3 has died
    beside = json.loads(capsys.readouterr().out)
    assert beside["faults"]["R3"]["state"] == "broken" and "9" in beside["faults"]["R3"]["reason"]
    said = log.read_text().split()
    assert {"+R1", "+R2"} <= set(said[: min(said.index("-R1"), said.index("-R2"))])
    assert said[-4:] == ["+R9", "-R9", "+R12", "-R12"]
    assert main([*words, "--rows", "R1,R2,R9,R12"]) == 0
    serial = json.loads(capsys.readouterr().out)
    assert [_untimed(beside, name) for name in serial["faults"]] == [
        _untimed(serial, name) for name in serial["faults"]
    ]
    assert list(beside["faults"]) == list(names)
    assert main([*words, "--workers", "0"]) == 2


def _untimed(made: dict[str, Any], name: str) -> tuple[Any, ...]:
    rows = [row for row in made["rows"] if row["arm"] == name and row["metric"] != "wall_s"]
    return made["faults"][name], rows
