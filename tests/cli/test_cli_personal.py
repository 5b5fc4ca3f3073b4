"""The whole way on a made-up MIT-BIH: adapters, a generator, and the table; and a table again from what is kept."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge.adapters.beats import BeatFit
from physioedge.adapters.sets import beats, making
from physioedge.adapters.sets.making import SetConfig
from physioedge.adapters.sets.residual import ResidualFit
from physioedge.cli import evaluate_personal
from physioedge.cli.main import main
from physioedge.datasets import mitbih
from physioedge.evaluation import intervals
from physioedge.evaluation.personal import federated, generated, judged
from physioedge.generator.adapter_set import SET_FILE, load_set
from physioedge.generator.dit.config import DitConfig
from physioedge.generator.dit.fitting import fit_dit
from physioedge.generator.federated import FederatedFit
from physioedge.generator.files import load_generator
from physioedge.tasks import arrhythmia
from tiny_training import LAYOUT, write_backbone, write_mitbih

FIT, TEST = ("101", "106", "108", "109"), ("100", "103", "105")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Seven people of some minutes, a backbone of some thousand weights, and fits of two steps."""
    write_mitbih(tmp_path, (*FIT, *TEST), duration_s=60.0)
    write_backbone(tmp_path / "backbone.safetensors")
    monkeypatch.setattr(arrhythmia, "LAYOUT", LAYOUT)
    monkeypatch.setattr(arrhythmia.window_spec, "__defaults__", (LAYOUT,))
    monkeypatch.setattr(beats, "BeatFit", lambda: BeatFit(steps=2, batch=8))
    monkeypatch.setattr(beats.BeatPeople, "names", FIT)
    monkeypatch.setattr(judged.JudgedBeats, "tests", TEST)
    monkeypatch.setattr(judged, "CALIBRATION_S", 25.0)
    quick = SetConfig(folds=2, wearers=2, stretches=2, stretch_s=(15.0, 25.0), residual=ResidualFit(steps=2))
    monkeypatch.setattr(making, "SetConfig", lambda: quick)
    monkeypatch.setattr(federated, "FederatedFit", lambda: FederatedFit(
        rounds=1, clients=1, local=ResidualFit(steps=1, batch=8)))  # fmt: skip
    monkeypatch.setattr(mitbih, "DS2", TEST)
    monkeypatch.setattr(intervals, "DRAWS", 40)
    return tmp_path


def run(small, *words: str) -> int:
    return main([*words, "--backbone", str(small / "backbone.safetensors"), "--data", str(small)])


def test_from_recordings_to_a_table(small, capsys):
    sets = small / "sets"
    assert run(small, "train", "adapters", "--out", str(sets / "0"), "--workers", "1", "--threads", "1") == 0
    assert "8 adapters of 4 people" in capsys.readouterr().out
    generator = small / "arrhythmia.generator"
    assert main(["train", "generator", "--set", str(sets / "0"), "--kind", "krr", "--out", str(generator)]) == 0
    assert load_generator(generator).task == "arrhythmia"

    def evaluate(out):
        return run(
            small, "evaluate", "personalisation", "--sets", str(sets), "--seeds", "1", "--work", str(small / "work"),
            "--arms", "global,levelling,centring_half,mean,krr,shuffled_krr,fedavg",
            "--workers", "1", "--out", str(small / out),
        )  # fmt: skip

    assert evaluate("first") == 0
    document = json.loads((small / "first" / "personalisation-arrhythmia.json").read_text())
    assert document["federated"]["rounds"] == 1 and document["federated"]["bytes_up"] > 0
    rows = document["rows"]
    arms = {row["arm"] for row in rows}
    assert {"fedavg", "fedavg_levelling"} <= arms
    assert {"global", "levelling", "krr", "krr_levelling", "krr_centring", "shuffled_krr"} <= arms
    groups = {row["group"].split(":")[0] for row in rows}
    assert groups == {f"{where}, lead {lead}" for where in ("DS1 folds", "DS2") for lead in (1, 2)}
    value = {(r["arm"], r["group"]): r["value"] for r in rows if r["metric"] == "mean_accuracy"}
    assert all(0 <= v <= 1 for (_, group), v in value.items() if ":minus:" not in group)
    same = value["krr", "DS2, lead 1"] - value["global", "DS2, lead 1"]
    assert value["krr", "DS2, lead 1:minus:global"] == pytest.approx(same, abs=2e-5)

    kept = sorted((small / "work").rglob("*.npz"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert evaluate("second") == 0
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    again = json.loads((small / "second" / "personalisation-arrhythmia.json").read_text())["rows"]
    assert again == rows


def test_a_set_of_another_shape(small, capsys):
    sets = small / "sets"
    asked = ("train", "adapters", "--out", str(sets / "0"), "--workers", "1", "--threads", "1")
    assert run(small, *asked, "--lora-rank", "2", "--free-head") == 0
    found = load_set(sets / "0" / SET_FILE)
    assert {min(slot.shape) for slot in found.origin.slots} == {2}
    fit = json.loads((sets / "0" / "globals" / "everybody" / "physioedge.json").read_text())["fit"]
    assert fit["lora"]["rank"] == 2 and not fit["prototypes"]
    told = ("--sets", str(sets), "--seeds", "1", "--work", str(small / "work"), "--out", str(small), "--workers", "1")
    assert run(small, "evaluate", "personalisation", *told, "--arms", "global,krr", "--groups", "DS2") == 0
    assert "| krr |" in capsys.readouterr().out


@pytest.fixture
def sets(small):
    """A folder with one seed's set."""
    folder = small / "sets"
    assert run(small, "train", "adapters", "--out", str(folder / "0"), "--workers", "1", "--threads", "1") == 0
    return folder


def evaluated(small, sets, *more: str) -> int:
    """What arms and groups are worth, from the set; answers are kept in one folder."""
    return run(
        small, "evaluate", "personalisation", "--sets", str(sets), "--seeds", "1", "--work", str(small / "work"),
        "--workers", "1", "--out", str(small), *more,
    )  # fmt: skip


def test_groups_that_are_judged_apart_find_their_own_answers(small, sets):
    def rows(groups, name):
        assert evaluated(small, sets, "--arms", "global", "--groups", groups, "--name", name) == 0
        return json.loads((small / f"personalisation-arrhythmia-{name}.json").read_text())["rows"]

    both = rows("DS1 folds,DS2", "both")
    stamps = {path: path.stat().st_mtime_ns for path in (small / "work").rglob("*.npz")}
    assert rows("DS2", "alone") == [row for row in both if row["group"].startswith("DS2")]
    assert {path: path.stat().st_mtime_ns for path in (small / "work").rglob("*.npz")} == stamps


def test_what_cannot_be_judged_is_refused_before_anything_is_fitted(small, sets, capsys):
    for more, said in (
        (("--arms", "global,mlpp"), "--arms mlpp"),
        (("--arms", "global,mean", "--against", "krr"), "--against krr"),
        (("--arms", "global,fedavg", "--known-people", "2"), "--known-people with fedavg"),
    ):
        capsys.readouterr()
        assert evaluated(small, sets, "--groups", "DS2", *more) == 1
        assert said in capsys.readouterr().err and not (small / "work").exists()


def test_damaged_answers_are_judged_again_and_others_kept(small, sets):
    def rows():
        assert evaluated(small, sets, "--arms", "global,fedavg", "--groups", "DS2") == 0
        return json.loads((small / "personalisation-arrhythmia.json").read_text())["rows"]

    before = rows()
    kept = sorted((small / "work").rglob("*.npz"))
    kept[0].write_bytes(b"")
    kept[1].write_bytes(kept[1].read_bytes()[:100])
    np.savez(kept[2], np.zeros((2, 3)))  # of fewer people
    (small / "work" / "arrhythmia" / federated.LEDGER).write_text("{")
    assert rows() == before


def test_another_global_model_and_another_device_have_answers_of_their_own(small, sets):
    def names(**more):
        given = {"sets": sets, "taught_people": None, "calibration_s": None, "device": "cpu", "taught": None,
                 "known_people": None, "other_sets": "", **more}  # fmt: skip
        seed = evaluate_personal._seed(SimpleNamespace(**given), 0, True)
        return seed.base_digest, seed.digest

    usual = names()
    assert names() == usual
    for other in (names(device="cuda"), names(taught=small / "backbone.safetensors")):
        assert not set(other) & set(usual)
    level = next((sets / "0" / making.LEVELS).glob("*.npz"))
    level.write_bytes(level.read_bytes() + b" ")
    assert not set(names()) & set(usual)


def test_fewer_people_to_learn_from_keep_answers_of_their_own(small, sets):
    def said(*more):
        assert evaluated(small, sets, "--arms", "global,mean", "--groups", "DS2", *more) == 0
        document = json.loads((small / "personalisation-arrhythmia.json").read_text())
        return document["command"], {r["metric"]: r["value"] for r in document["rows"] if r["arm"] == "mean"}

    everybody, few = said(), said("--known-people", "1")
    assert "--known-people 1" in few[0] and "known" not in everybody[0]
    assert few[1] != everybody[1]


def test_a_shorter_calibration_keeps_answers_of_its_own(small, sets, capsys):
    def evaluate(*more):
        return evaluated(small, sets, "--arms", "global,levelling", "--groups", "DS2", *more)

    def kept():
        return {path.name for path in (small / "work").rglob("*.npz")}

    assert evaluate() == 0
    usual = kept()
    assert evaluate("--calibration-s", "20", "--name", "short") == 0
    assert len(kept()) == 2 * len(usual)  # none of them is taken for another calibration's
    said = json.loads((small / "personalisation-arrhythmia-short.json").read_text())
    assert "first 20 s" in said["protocol"] and "--calibration-s 20" in said["command"]
    assert "protocol" not in json.loads((small / "personalisation-arrhythmia.json").read_text())
    capsys.readouterr()
    for wrong in (("--calibration-s", "26"), ("--calibration-s", "20", "--task", "stress")):
        assert evaluate(*wrong) != 0
        assert "--calibration-s" in capsys.readouterr().err


def test_test_windows_share_no_sample_with_the_calibration():
    time_s = np.arange(0.0, 400.0, 1.0)
    worn = judged.Worn(
        signals=(np.zeros((400, 1, 4), np.float32),), target=np.where(np.arange(400) == 399, -1, 0), time_s=time_s
    )  # type: ignore[arg-type]
    marked = judged.Worn(signals=(time_s[:, None, None],), target=worn.target, time_s=time_s)  # type: ignore[arg-type]
    found = judged.subject_of("x", marked, 8.0)
    assert found.calibration[0].max() < 300.0
    assert found.test[0].min() >= 308.0
    assert found.test[0].max() == 398.0, "the last window is of no class"
    assert len(judged.subject_of("x", marked, 8.0, windows=10).target) == 10


def test_groups_are_told_apart_and_unknown_ones_refused(small, capsys):
    judged_windows = SimpleNamespace(groups=("others, folds", "judged, folds"))
    for text in ("others, folds,judged, folds", "judged, folds", "others, folds"):
        found = evaluate_personal._groups(SimpleNamespace(groups=text), judged_windows)
        assert ",".join(found) == text
    words = ("--sets", str(small), "--seeds", "1", "--arms", "global", "--groups", "DS1 folds,DS3")
    assert run(small, "evaluate", "personalisation", *words, "--out", str(small)) != 0
    assert "DS3" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "many"])
def test_a_rank_is_a_whole_number(wrong, small, capsys):
    assert run(small, "train", "adapters", "--out", str(small / "set"), f"--lora-rank={wrong}") != 0
    assert "no whole number" in capsys.readouterr().err


def test_people_left_out_are_in_nothing(small):
    """Neither in a row nor behind the adapter that judged people meet."""
    asked = ("train", "adapters", "--out", str(small / "set"), "--workers", "1", "--threads", "1")
    assert run(small, *asked, "--without", "106, 109") == 0
    assert set(load_set(small / "set" / SET_FILE).person.tolist()) == {"101", "108"}
    note = json.loads((small / "set" / "globals" / "everybody" / "physioedge.json").read_text())
    assert note["training_subjects"] == ["mitbih:101", "mitbih:108"]


@pytest.mark.parametrize(("left_out", "said"), [("106,S11", "S11"), ("101,106,108", "at least 2 left")])
def test_nobody_else_is_left_out(left_out, said, small, capsys):
    assert run(small, "train", "adapters", "--out", str(small / "set"), "--without", left_out) != 0
    assert said in capsys.readouterr().err and not (small / "set").exists()


def test_samplers_of_one_diffusion_transformer_share_its_fit(small, sets, monkeypatch):
    fits = []

    def fit(known, seed):
        fits.append(sorted(set(known.person.tolist())))
        return fit_dit(known, DitConfig(width=16, blocks=1, heads=2, steps=20, batch=8), seed=seed, progress=False)

    monkeypatch.setitem(generated.GENERATORS, "dit", fit)
    arms = ("dit", "dit_steps1", "dit_guided4", "shuffled_dit_steps1")
    assert evaluated(small, sets, "--arms", ",".join(("global", *arms)), "--groups", "DS2") == 0
    assert fits == [list(FIT)]
    said = [np.load(next((small / "work").rglob(f"*-lead1-{arm}-*.npz")))["arr_0"] for arm in arms]
    for i, one in enumerate(said):
        assert all(not np.array_equal(one, other) for other in said[:i])
