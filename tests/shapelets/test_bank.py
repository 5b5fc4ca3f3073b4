"""The bank of shapelets: stored with whom it was found on, learned on people nobody judges."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from physioedge.cli.main import main
from physioedge.models.modality import EDA, PPG
from physioedge.models.shapelets import ShapeletTransform
from physioedge.shapelets import run
from physioedge.shapelets.bank import Bank, digest_of, load_bank, save_bank
from physioedge_runtime.errors import PhysioEdgeError
from windows_made_up import length_of, task_of, windows_of


def bank():
    generator = torch.Generator().manual_seed(0)
    return Bank(
        transforms={"ppg": ShapeletTransform([torch.randn(2, 1, 8, generator=generator), torch.randn(3, 1, 16)])},
        modalities={"ppg": PPG}, training_subjects=("a", "b"), datasets=("none",), details={"ppg": {"steps": 1}},
    )  # fmt: skip


def test_a_bank_comes_back_as_it_was_stored(tmp_path):
    made = bank()
    digest = save_bank(tmp_path / "s.safetensors", made)
    found = load_bank(tmp_path / "s.safetensors")
    assert digest_of(found) == digest == digest_of(made)
    assert found.training_subjects == ("a", "b") and found.modalities == {"ppg": PPG}
    for here, there in zip(found.transforms["ppg"].groups, made.transforms["ppg"].groups, strict=True):
        torch.testing.assert_close(here, there, rtol=0, atol=0)
    with torch.no_grad():
        found.transforms["ppg"].groups[0][0, 0, 0] += 1.0
    assert digest_of(found) != digest


def test_a_damaged_bank_is_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    save_bank(path, bank())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PhysioEdgeError, match="bank of shapelets"):
        load_bank(path)
    with pytest.raises(PhysioEdgeError):
        load_bank(tmp_path / "none.safetensors")


@pytest.fixture
def made_up(monkeypatch):
    """A stress task whose stressed windows tremble; one person is judged."""
    task = task_of("stress", labels=("rest", "stress"), sensors=("ppg", "eda"), window_s=32.0)
    rng = np.random.default_rng(0)
    target = np.tile([0, 1], 30)
    people = ["a"] * 20 + ["b"] * 20 + ["judged"] * 20

    def windows(root, *, context_s):
        samples = {}
        for kind, rate_hz in (("ppg", 64), ("eda", 4)):
            t = np.arange(length_of(task, kind, context_s)) / rate_hz
            slow = np.sin(2 * np.pi * (1.0 + 0.5 * target[:, None]) * t / (1 if kind == "ppg" else 8))
            samples[kind] = (slow + 0.1 * rng.standard_normal((60, len(t))))[:, None]
        fold = [-1] * 40 + [0] * 20
        return windows_of(task, target, people, samples=samples, fold=fold, context_s=context_s)

    monkeypatch.setattr(run, "task_module", lambda name: SimpleNamespace(windows=windows, TASK=task))
    monkeypatch.setattr(run, "COUNT", 2)
    monkeypatch.setattr(run, "LENGTHS", {"ppg": (32, 64), "eda": (16,)})


def test_the_command_learns_on_people_nobody_judges(made_up, tmp_path, capsys):
    command = ["train", "shapelets", "--kinds", "ppg,eda", "--steps", "30", "--threads", "1", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "bank" in capsys.readouterr().out
    found = load_bank(tmp_path / "shapelets.safetensors")
    assert found.training_subjects == ("a", "b") and found.modalities == {"ppg": PPG, "eda": EDA}
    assert [tuple(group.shape) for group in found.transforms["ppg"].groups] == [(2, 1, 32), (2, 1, 64)]
    assert [tuple(group.shape) for group in found.transforms["eda"].groups] == [(2, 2, 16)]
    here = run.labelled("stress", PPG, 0, None)
    assert here.subjects == ("a", "b") and len(here.rows) == 40
    with torch.no_grad():
        distances = found.transforms["ppg"](here.rows).numpy()
    assert max(abs(np.corrcoef(d, here.target)[0, 1]) for d in distances.T) > 0.5
