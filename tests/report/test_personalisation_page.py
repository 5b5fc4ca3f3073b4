"""The page of personalisation: made from the results, whatever arms they hold, and the committed one is up to date."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from physioedge import results
from physioedge.evaluation.personal.federated import FEDERATED
from physioedge.evaluation.personal.generated import CONTROLS, GENERATORS
from physioedge.evaluation.personal.paper import PAPER
from physioedge.evaluation.personal.run import _AFTER, ALONE, table_rows
from physioedge.report import personal_plot, personal_rows, personalisation
from physioedge.results import Row

ROOT = Path(__file__).parents[2]
GROUP = "DS2, lead 1"


def row(arm: str, metric: str, value: float, half: float = 0.02, *, less: str = "", group: str = GROUP,
        seeds: int = 5) -> Row:  # fmt: skip
    return Row(task="arrhythmia", arm=arm, group=f"{group}:minus:{less}" if less else group, metric=metric, unit="1",
               value=value, low=value - half, high=value + half, n=22, seeds=seeds)  # fmt: skip


def arm_rows(arm: str, accuracy: float, f1: float, seeds: int = 5) -> list[Row]:
    values = {"mean_accuracy": accuracy, "macro_f1": f1, "sensitivity:N": 0.99, "ppv:N": 0.98, "sensitivity:S": 0.41,
              "ppv:S": 0.52, "sensitivity:V": 0.93, "ppv:V": 0.84, "kappa": 0.75, "ece": 0.06}  # fmt: skip
    return [row(arm, metric, value, seeds=seeds) for metric, value in values.items()]


def table() -> list[Row]:
    rows = [*arm_rows("krr", 0.925, 0.64), *arm_rows("local", 0.95, 0.6), *arm_rows("global", 0.9, 0.62),
            *arm_rows("levelling", 0.91, 0.63), *arm_rows("shuffled_krr_levelling", 0.88, 0.61),
            *arm_rows("krr_levelling", 0.93, 0.65)]  # fmt: skip
    for other, accuracy, f1 in (("global", 0.9, 0.62), ("levelling", 0.91, 0.63)):
        rows += [row("krr", "mean_accuracy", 0.925 - accuracy, less=other), row("krr", "macro_f1", 0.64 - f1, 0.03,
                                                                                 less=other)]  # fmt: skip
    return [*rows, row("local", "mean_accuracy", 0.05, 0.06, less="global")]


def written(folder: Path, rows: list[Row], task: str = "arrhythmia") -> str:
    results.write(folder / f"personalisation-{task}.json", f"physioedge evaluate personalisation --task {task}", rows)
    assert personalisation.main(["--results", str(folder)]) == 0
    return (folder / "personalisation.md").read_text()


def test_every_arm_of_the_evaluation_has_its_kind():
    kinds = {arm: personal_rows.kind_of(arm) for arm in ALONE}
    assert "generated" not in " ".join(kinds.values())
    assert {arm for arm in ALONE if kinds[arm].startswith("ceiling")} == {"local", "local_kshot", "kshot_prototypes",
                                                                          "full"}  # fmt: skip
    for name in GENERATORS:
        for after in _AFTER:
            assert personal_rows.kind_of(name + after).startswith("generated")
            assert ("step" in personal_rows.kind_of(name + after)) == bool(after)
            assert {personal_rows.kind_of(f"{control}_{name}{after}") for control in CONTROLS} == {"control"}


def test_arms_of_labelled_shapelets_are_neither_rivals_nor_ceilings():
    for name in (*PAPER, *FEDERATED):
        for after in _AFTER:
            kind = personal_rows.kind_of(name + after)
            assert kind == ("nothing of the person" if name == "fedavg" else "generated from labelled windows")


def test_figures_differences_and_shares_of_the_gap(tmp_path):
    text = written(tmp_path, table())
    assert "22 people, 5 seeds." in text
    assert "| arm | mean accuracy | macro-F1 | S Se / +P | V Se / +P | kappa | ECE |" in text
    assert (
        "| `krr` | 0.925 [0.905, 0.945] | 0.640 [0.620, 0.660] | 0.410 / 0.520 | 0.930 / 0.840 | 0.750 | 0.060 |"
        in text
    )
    assert "gap closed, mean accuracy |" in text and "gap closed, macro-F1" not in text  # local is worse in macro-F1
    assert (
        "| `krr` | **+0.025 [+0.005, +0.045]** | +0.020 [-0.010, +0.050] | +0.015 [-0.005, +0.035] "
        "| +0.010 [-0.020, +0.040] | 50 % |" in text
    )
    assert "+0.050 [-0.010, +0.110] in mean accuracy, an interval with zero in it: its shares say little; none in "\
           "macro-F1." in text  # fmt: skip
    assert "(personalisation-arrhythmia.png)" in text
    assert (tmp_path / "personalisation-arrhythmia.png").stat().st_size > 5000


def test_arms_stand_in_the_order_of_their_kinds(tmp_path):
    text = written(tmp_path, table())
    names = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert names[:6] == ["global", "levelling", "krr", "krr_levelling", "shuffled_krr_levelling", "local"]
    assert text.index("*nothing of the person*") < text.index("| *control* |") < text.index("| *ceiling, with labels*")


def test_what_was_not_measured_is_left_out(tmp_path):
    text = written(tmp_path, [*arm_rows("krr", 0.9, 0.6, seeds=1), row("dit", "macro_f1", 0.61, seeds=1)])
    assert "| `dit` | - | 0.610 [0.590, 0.630] | - / - | - / - | - | - |" in text
    assert "22 people, 1 seed: a first look." in text
    assert "less `" not in text and "Lead of" not in text and ".png" not in text
    assert not list(tmp_path.glob("*.png"))


def test_several_tasks_and_groups_each_have_their_place(tmp_path):
    written(tmp_path, [*table(), row("global", "macro_f1", 0.5, group="DS1 folds, lead 2")])
    text = written(tmp_path, [row("global", "mean_accuracy", 0.7, group="test"),
                              row("mean", "mean_accuracy", 0.1, less="global", group="test")], "stress")  # fmt: skip
    heads = [line for line in text.splitlines() if line.startswith("##")]
    assert heads == ["## Heart beats, ECG (`arrhythmia`)", "### DS2, lead 1", "### DS1 folds, lead 2",
                     "## Stress, wrist (`stress`)", "### test"]  # fmt: skip


def answers() -> Callable[[float], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Logits and classes of five people, drawn anew at every call: the higher the surplus, the more are right."""
    rng, target = np.random.default_rng(0), np.tile([0, 1, 2], 20)
    return lambda surplus: {
        str(i): (rng.normal(size=(60, 3)) + surplus * np.eye(3)[target], target) for i in range(5)
    }  # fmt: skip


def test_rows_of_the_evaluation_come_through(tmp_path):
    said = answers()
    seeds = [{("DS2", "lead 1"): {"global": said(0.5), "ridge": said(1.5), "local": said(4.0)}} for _ in range(2)]
    text = written(tmp_path, table_rows("arrhythmia", ("N", "S", "V"), seeds, ("global",)))
    assert "### DS2, lead 1" in text and "5 people, 2 seeds: a first look." in text
    ridge = next(line for line in text.splitlines() if line.startswith("| `ridge` | **+"))
    for cell in ridge.strip("| ").split("|")[-2:]:  # such as 51 % [38, 66]
        percent, low, high = (int(number) for number in re.findall(r"-?\d+", cell))
        assert 0 < low < percent < high < 100 and cell.strip() == f"{percent} % [{low}, {high}]"


def test_a_generator_stands_beside_its_own_controls(tmp_path):
    said = answers()
    arms = {"global": 0.5, "ridge_levelling": 3.0, "shuffled_ridge_levelling": 0.5, "null_krr_levelling": 0.5}
    seeds = [{("DS2", "lead 1"): {name: said(value) for name, value in arms.items()}} for _ in range(2)]
    rows = table_rows("arrhythmia", ("N", "S", "V"), seeds, ("global", "null_krr_levelling"))
    text = written(tmp_path, rows)
    lines = [line for line in text.splitlines() if line.startswith("| `ridge_levelling` | `")]
    assert [line.split("`")[3] for line in lines] == ["null_krr_levelling", "shuffled_ridge_levelling"]
    assert all("**+" in line for line in lines)
    assert "less `null_krr_levelling`" not in text  # the usual table has the usual columns


def test_a_page_that_is_not_of_these_results_is_noticed(tmp_path, capsys):
    written(tmp_path, table())
    assert personalisation.main(["--results", str(tmp_path), "--check"]) == 0
    results.write(tmp_path / "personalisation-arrhythmia.json", "c", table()[:-1])
    assert personalisation.main(["--results", str(tmp_path), "--check"]) == 1
    assert "python -m physioedge.report.personalisation" in capsys.readouterr().out


def test_nothing_measured(tmp_path):
    assert personalisation.main(["--results", str(tmp_path)]) == 0
    assert "Nothing measured yet." in (tmp_path / "personalisation.md").read_text()
    assert not list(tmp_path.glob("*.png"))
    assert personalisation.main(["--results", str(tmp_path), "--check"]) == 0


def test_an_arm_that_fails_by_far_does_not_stretch_the_axis():
    near = [row(f"arm{i}", "macro_f1", 0.01 * i, 0.01, less="global") for i in range(-2, 3)]
    usual = personal_plot.limits(near)
    assert usual[0] < -0.03 and usual[1] > 0.03
    assert personal_plot.limits([*near, row("shot", "macro_f1", -0.5, less="global")]) == pytest.approx(usual)
    far = personal_plot.limits([*near, row("local", "macro_f1", 0.08, less="global")])
    assert far[0] == pytest.approx(usual[0], abs=0.01) and far[1] > 0.1


def test_an_axis_has_room_without_intervals():
    same = Row(task="t", arm="a", group="g:minus:global", metric="macro_f1", unit="1", value=0.0, low=None, high=None,
               n=1, seeds=1)  # fmt: skip
    assert personal_plot.limits([same]) == (-1.0, 1.0) == personal_plot.limits([])


def test_the_committed_page_is_up_to_date():
    """There is a page once there are figures."""
    folder = ROOT / "results"
    there = any(folder.glob("personalisation*.md")) or any(folder.glob("personalisation-*.json"))
    assert not there or personalisation.main(["--results", str(folder), "--check"]) == 0
