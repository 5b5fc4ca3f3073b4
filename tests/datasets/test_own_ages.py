"""People of one's own with ages: the table is held to its word, and the task's windows come from any file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physioedge.datasets import own_ages
from physioedge.datasets.facts import Facts
from physioedge.evaluation.vitals import estimate_data
from physioedge.evaluation.vitals.estimate import Plan
from physioedge.models import shipped
from physioedge.tasks import ppg_age
from physioedge.tasks.windowed import CANONICAL_HZ, CONTEXT_S
from physioedge_runtime.errors import DatasetError, SampleRateMismatch

HEAD = "file,subject,age,sex,channel,fs_hz,units\n"


def pulse(seconds: float, fs_hz: float, seed: int) -> np.ndarray:
    t = np.arange(round(seconds * fs_hz)) / fs_hz
    return (np.sin(2 * np.pi * 1.2 * t) + 0.1 * np.random.default_rng(seed).standard_normal(t.size)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five people: a file that states its rate for each, a bare CSV of two channels for one of them."""
    monkeypatch.delenv("PHYSIOEDGE_CACHE", raising=False)
    place = tmp_path / own_ages.NAME
    (place / "b").mkdir(parents=True)
    for i in range(5):
        np.savez(place / "b" / f"{i}.npz", samples=pulse(40, 100, i)[None], fs_hz=100.0, units="a.u.",
                 channels=np.array(["ppg"]))  # fmt: skip
    two = np.stack([pulse(30, 50, 9), pulse(30, 50, 10)], axis=1)
    np.savetxt(place / "two.csv", two, delimiter=",", header="red,infrared", comments="")
    rows = [f"b/{i}.npz,p{i},{30 + i},{'MF'[i % 2]},,," for i in range(5)]
    (place / own_ages.TABLE).write_text(HEAD + "\n".join([*rows, "two.csv,p0,30,M,infrared,50,a.u."]) + "\n")
    return tmp_path


def test_windows_are_of_every_recording_and_people_are_judged_in_turn(folder: Path, tmp_path: Path) -> None:
    found = ppg_age.windows(folder, context_s=CONTEXT_S)
    length = round((CONTEXT_S + 8.0) * CANONICAL_HZ["ppg"])
    assert found.samples["ppg"].shape[1:] == (1, length)
    assert {record: int((found.record == record).sum()) for record in ("two.csv", "b/3.npz")} == {
        "two.csv": 2, "b/3.npz": 3
    }  # fmt: skip
    age = dict(zip(found.subject.tolist(), found.target[:, 0].tolist(), strict=True))
    assert age == {f"own_ages:p{i}": 30.0 + i for i in range(5)}
    assert len(set(found.fold.tolist())) == 5 and not found.calibration.any()
    packed = tmp_path / "packed.npz"
    estimate_data.pack(packed, ("ppg_age",), folder)
    data = estimate_data.load(packed, "ppg_age")
    known = data.facts[data.windows.subject == "own_ages:p1"]
    assert estimate_data.facts_known(data) and (known == Facts(sex="F").row()).all()  # the age is not among the facts
    plan = Plan(task="ppg_age", inputs=packed, backbone=shipped.backbone(), work=tmp_path, seeds=1)
    names = {job.name for job in plan.jobs()}
    assert {"lora", "qlora_4bit", "fourierft", "lora_facts", "majority"} <= names and plan.choices() == []
    assert {job.fold for job in plan.jobs()} == set(range(estimate_data.FOLDS))


def test_the_channel_that_a_line_names_is_read(folder: Path) -> None:
    one = own_ages.load("two.csv", folder)
    assert one.channels == ("infrared",) and one.fs_hz == 50 and one.units == "a.u."
    np.testing.assert_allclose(one.samples[0], pulse(30, 50, 10), rtol=1e-5, atol=1e-6)
    assert own_ages.facts("b/2.npz", folder) == Facts(age_years=32.0, sex="M")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("b/1.npz,p1,,M,,,", "without age"),
        ("b/1.npz,p1,old,M,,,", "age 'old'"),
        ("b/1.npz,p1,230,M,,,", "years up to 120"),
        ("b/1.npz,p1,nan,M,,,", "above 0"),
        ("b/1.npz,p1,31,X,,,", "M, F or nothing"),
        ("../secret.npz,p1,31,M,,,", "within the folder"),
        ("/etc/hosts,p1,31,M,,,", "within the folder"),
        ("b/1.npz,p1,31,M,,,,more", "more cells"),
        ("b/1.npz,p1,31,M,,-5,", "fs_hz"),
        ("b/0.npz,p1,31,M,,,\nb/0.npz,p1,31,M,,,", "again"),
        ("b/0.npz,p1,31,M,,,\nb/1.npz,p1,32,M,,,", "31 and 32 years"),
        ("", "no line"),
    ],
)
def test_a_line_that_does_not_say_what_it_must_is_refused(folder: Path, line: str, said: str) -> None:
    (folder / own_ages.NAME / own_ages.TABLE).write_text(HEAD + line + "\n")
    with pytest.raises(DatasetError, match=said):
        own_ages.lines(folder)


def test_what_cannot_be_read_says_why(folder: Path) -> None:
    table = folder / own_ages.NAME / own_ages.TABLE
    with pytest.raises(DatasetError, match=r"one that people\.csv names"):
        own_ages.load("three.csv", folder)
    table.write_text(HEAD + "two.csv,p0,30,M,,50,a.u.\n")
    with pytest.raises(DatasetError, match="channels red, infrared"):
        own_ages.load("two.csv", folder)
    table.write_text(HEAD + "two.csv,p0,30,M,red,,a.u.\n")
    with pytest.raises(SampleRateMismatch):
        own_ages.load("two.csv", folder)
    table.write_text("file,subject,age,weight\nb/1.npz,p1,31,80\n")
    with pytest.raises(DatasetError, match="weight"):
        own_ages.lines(folder)
    table.unlink()
    with pytest.raises(DatasetError, match="a table of file, subject, age"):
        own_ages.lines(folder)
