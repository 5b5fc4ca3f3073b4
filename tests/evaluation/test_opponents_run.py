import json
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge.cli.main import main
from physioedge.evaluation import opponents, regression
from physioedge.evaluation.opponents import Arm, arm_of, floors, run, score
from physioedge.tasks import windowed
from physioedge_runtime.errors import EvaluationRefused
from windows_made_up import length_of, task_of, windows_of


def value_windows():
    task = task_of("heart_rate", labels=(), units="bpm")
    subject = ["a"] * 3 + ["b"] * 3
    samples = {"ppg": np.zeros((6, 1, length_of(task, "ppg"))), "acc": np.zeros((6, 3, length_of(task, "acc")))}
    target = np.array([60, 70, 80, 100, 110, 120], np.float32)[:, None]
    calibration = [True, False, False] * 2
    return windows_of(task, target, subject, samples=samples, calibration=calibration)


def run_with(monkeypatch, tmp_path, windows, arms, asked, seeds=2, **module):
    monkeypatch.setattr(run, "task_module", lambda name: SimpleNamespace(windows=lambda *a, **k: windows, **module))
    monkeypatch.setattr(opponents, "ARMS", {**opponents.ARMS, **arms})
    return run.run_task(windows.task.name, asked, seeds, None, tmp_path / "work", tmp_path / "out")


def counting(monkeypatch):
    seen = []

    def fit_predict(train, test, seed):
        seen.append((sorted(set(train.subject.tolist())), sorted(set(test.subject.tolist())), seed, set(test.samples)))
        return np.full(len(test.target), 90.0)

    monkeypatch.setattr(floors, "counted", fit_predict, raising=False)
    return seen


def test_every_person_is_judged_by_what_was_fitted_on_the_others(monkeypatch, tmp_path):
    seen, arm = counting(monkeypatch), Arm(module=floors.__name__, function="counted", without=("acc",))
    rows = run_with(monkeypatch, tmp_path, value_windows(), {"one": arm}, ["one"])
    assert seen == [(["b"], ["a"], 0, {"ppg"}), (["a"], ["b"], 0, {"ppg"}), (["b"], ["a"], 1, {"ppg"}),
                    (["a"], ["b"], 1, {"ppg"})]  # fmt: skip
    mae = next(row for row in rows if row.metric == "mae" and row.group == "test")
    assert mae.value == pytest.approx((20 + 10 + 20 + 30) / 4)  # the first window of each is for calibration
    assert (mae.n, mae.seeds, mae.unit) == (2, 2, "bpm")
    assert next(row.value for row in rows if row.group == "subject:b") == pytest.approx(25.0)


def test_a_second_run_goes_on_and_keeps_other_arms(monkeypatch, tmp_path):
    seen = counting(monkeypatch)
    arms = {
        "one": Arm(module=floors.__name__, function="counted"),
        "two": Arm(module=floors.__name__, function="own_mean"),
    }
    first = run_with(monkeypatch, tmp_path, value_windows(), arms, ["one"], seeds=1)
    both = run_with(monkeypatch, tmp_path, value_windows(), arms, ["two", "one"], seeds=1)
    assert len(seen) == 2
    assert [row for row in both if row.arm == "one"] == first
    last = run_with(monkeypatch, tmp_path, value_windows(), arms, ["two"], seeds=1)
    assert {row.arm for row in last} == {"one", "two"}
    document = json.loads((tmp_path / "out" / "heart_rate.json").read_text())
    assert set(document["arms"]) == {"one", "two"}
    assert len(document["rows"]) == len(last)


def test_a_newer_version_of_an_arm_or_of_the_windows_is_run_again(monkeypatch, tmp_path):
    seen = counting(monkeypatch)
    for version in (1, 2):
        arm = Arm(module=floors.__name__, function="counted", version=version)
        run_with(monkeypatch, tmp_path, value_windows(), {"one": arm}, ["one"], seeds=1)
    run_with(monkeypatch, tmp_path, value_windows(), {"one": arm}, ["one"], seeds=1, VERSION=2)
    assert len(seen) == 6


def test_smoothing_gives_a_second_group_unless_the_arm_smooths_itself(monkeypatch, tmp_path):
    counting(monkeypatch)
    found = {}
    for name, smooth in (("plain", True), ("tracker", False)):
        arm = Arm(module=floors.__name__, function="counted", smooth=smooth)
        rows = run_with(
            monkeypatch, tmp_path, value_windows(), {name: arm}, [name], 1, smoothed=lambda values, windows: values + 1
        )
        found[name] = {row.group: row.value for row in rows if row.arm == name and row.metric == "bias"}
    assert found["plain"]["test smoothed"] == pytest.approx(found["plain"]["test"] + 1)
    assert set(found["tracker"]) == {"test"}


def test_unknown_arms_and_arms_of_other_tasks_are_refused():
    with pytest.raises(EvaluationRefused, match="majority"):
        arm_of("nobody", "af")
    with pytest.raises(EvaluationRefused, match="spectral"):
        arm_of("spectral", "af")
    assert arm_of("spectral", "heart_rate").tasks == ("heart_rate",)


def test_floors():
    windows = value_windows()
    a, b = (windowed.chosen(windows, windows.subject == person) for person in "ab")
    assert floors.majority(a, b, 0).ravel().tolist() == [70.0] * 3
    assert floors.own_mean(a, b, 0).ravel().tolist() == [100.0] * 3
    assert floors.own_mean_oracle(a, b, 0).ravel().tolist() == [115.0] * 3
    bare = windowed.chosen(b, ~b.calibration)
    with pytest.raises(EvaluationRefused, match="calibration"):
        floors.own_mean(a, bare, 0)


def class_windows(target, record, labels):
    task = task_of("rhythm", labels=labels)
    n = len(target)
    samples = {"ppg": np.zeros((n, 1, length_of(task, "ppg")))}
    return windows_of(task, np.asarray(target), record, samples=samples, fold=np.zeros(n), record=record)


def test_scores_of_a_record_are_averaged_before_the_answer():
    windows = class_windows([0, 0, 0, 1], ["a", "a", "a", "b"], ("N", "A", "O"))
    answers = np.array([[0.0, 1, 0], [0, 1, 0], [9, 0, 0], [0, 1, 0]])
    truth, scores, people = score.by_record_of(windows, answers)
    assert truth.tolist() == [0, 1]
    assert scores[0].tolist() == pytest.approx([3, 2 / 3, 0])
    rows = score.rows_of(SimpleNamespace(BY_RECORD=True), windows, "x", [answers], smooth=True)
    values = {row.metric: row.value for row in rows}
    assert values["accuracy"] == 1.0
    assert values["cinc_f1"] == pytest.approx(2 / 3)  # nobody of class O: it counts as 0
    each = score.rows_of(SimpleNamespace(), windows, "x", [answers], smooth=True)
    assert {row.metric: row.value for row in each}["accuracy"] == 0.5
    assert people.tolist() == ["a", "b"]


def test_cinc_f1_against_its_formula():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 4, (2, 200))
    matrix = np.zeros((4, 4))
    np.add.at(matrix, (truth, said), 1)
    expected = f1_score(truth, said, labels=[0, 1, 2], average="macro")
    assert score.cinc_f1(matrix, ("N", "A", "O", "~")) == pytest.approx(expected)


def test_sums_of_errors_add_up_over_people():
    rng = np.random.default_rng(1)
    truth, said = rng.normal(size=(2, 50, 2))
    parts = regression.error_sums(truth[:20], said[:20]) + regression.error_sums(truth[20:], said[20:])
    found = regression.from_sums(parts)
    assert np.allclose(found["mae"], np.abs(said - truth).mean(0))
    assert np.allclose(found["rmse"], np.sqrt(((said - truth) ** 2).mean(0)))
    assert np.allclose(found["bias"], (said - truth).mean(0))


def test_values_of_a_record_have_one_answer_their_median():
    windows = value_windows()
    answers = np.array([0.0, 70, 90, 0, 100, 130])[:, None]
    rows = score.rows_of(SimpleNamespace(BY_RECORD=True), windows, "x", [answers], smooth=True)
    values = {row.metric: row.value for row in rows if row.group == "test"}
    assert values["mae"] == pytest.approx((10 + 5) / 2)  # medians 80 and 115 against the first judged 70 and 110


def test_the_command_says_what_is_missing(tmp_path, capsys):
    for arguments, word in (
        (["fog", "--data", str(tmp_path)], "error[dataset]"),
        (["fog", "--arms", "wizard"], "wizard"),
    ):
        code = main(["evaluate", *arguments, "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")])
        assert code == 1
        assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
