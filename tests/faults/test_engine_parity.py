"""R17's judge on outputs that are made up, and its windows without and with MIT-BIH."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physioedge.evaluation.engines import GraphOutputs
from physioedge.faults import parity
from physioedge.faults.made import shipped_bundle
from physioedge.faults.row import Setting

N = 1000


def outputs(name: str, *, shift: float = 0.0, flipped: int = 0, odd: int = 0) -> GraphOutputs:
    """Label 0 everywhere but on `flipped` windows; `odd` ones are not finite."""
    logits = np.tile(np.float32([3, 1, 0]), (N, 1)) + np.float32(shift)
    logits[:flipped] = logits[:flipped, ::-1]
    logits[N - odd :, 0] = np.nan
    return GraphOutputs(name=name, logits=logits, embedding=np.zeros((N, 4), np.float32))


@pytest.mark.parametrize(
    ("rule", "given", "lost", "holds"),
    [
        ("fp32", {"shift": 0.0009}, 0, True),
        ("fp32", {"shift": 0.0011}, N, False),
        ("fp32", {"odd": 1}, 1, False),
        ("int8", {"shift": 0.2, "flipped": 10}, 10, True),
        ("int8", {"flipped": 11}, 11, False),
        ("int8", {"odd": 11}, 11, False),
        ("engines", {"flipped": 5}, 5, True),
        ("engines", {"flipped": 6}, 6, False),
    ],
)
def test_a_pair_is_held_to_its_target(rule: str, given: dict[str, float], lost: int, holds: bool) -> None:
    pair = parity.compare(outputs("torch"), outputs("other", **given), rule)  # type: ignore[arg-type]
    assert (pair.lost, pair.holds) == (lost, holds)
    assert ("beyond the target" in parity.told(pair)) is not holds


def test_an_embedding_alone_can_be_too_far() -> None:
    far = GraphOutputs(name="other", logits=outputs("").logits, embedding=np.full((N, 4), 0.002, np.float32))
    assert not parity.compare(outputs("torch"), far, "fp32").holds


def test_everything_is_compared_with_torch_and_engines_with_each_other() -> None:
    names = ("torch", "ours_fp32_export", "torch+adapter", "ours_et_int8", "ours_et_slots+adapter", "ours_int8",
             "ours_slots+adapter", "ours_int8_static")  # fmt: skip
    pairs = {(p.first, p.second, p.rule) for p in parity.compared([outputs(name) for name in names])}
    assert pairs == {
        ("torch", "ours_fp32_export", "fp32"), ("torch", "ours_et_int8", "int8"), ("torch", "ours_int8", "int8"),
        ("torch", "ours_int8_static", "int8"), ("torch+adapter", "ours_et_slots+adapter", "int8"),
        ("torch+adapter", "ours_slots+adapter", "int8"), ("ours_et_int8", "ours_int8", "engines"),
        ("ours_et_int8", "ours_int8_static", "engines"),
        ("ours_et_slots+adapter", "ours_slots+adapter", "engines"),
    }  # fmt: skip


def test_windows_of_the_excerpt_where_mitbih_is_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parity, "folder", lambda name: None)
    contract = shipped_bundle().contract
    found, source = parity.windows_of(contract, Setting(work=tmp_path))
    assert found.shape[1:] == (1, contract.window.input_samples) and len(found) > 100
    assert len(np.unique(found, axis=0)) == len(found) and "excerpt" in source
