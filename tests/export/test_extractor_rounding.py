"""How far an extractor's graph may be from its module: as far as float32 itself is, where a signal costs it digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from physioedge_export import conditions
from physioedge_runtime.errors import ExportError


class Variance(nn.Module):
    """The difference of two large numbers where a signal lies far from zero."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * x).mean(2) - x.mean(2) ** 2


def windows(level: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"eda": (level + rng.standard_normal((20, 1, 240))).astype(np.float32)}


def checked(level: float, off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = conditions._exact(Variance(), windows(level))
    monkeypatch.setattr(conditions, "_run", lambda data, asked: (exact + off).astype(np.float32))
    conditions._checked(Variance(), b"", windows(level))


def test_near_zero_a_graph_is_held_to_the_usual_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    checked(0.0, 1e-4, monkeypatch)
    with pytest.raises(ExportError, match="off by"):
        checked(0.0, 1e-3, monkeypatch)


def test_far_from_zero_it_may_be_twice_as_far_off_as_torch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        own = Variance()(torch.from_numpy(windows(50.0)["eda"])).numpy()
    rounding = conditions._off(own, conditions._exact(Variance(), windows(50.0)))
    assert rounding > conditions.TOLERANCE
    checked(50.0, 1.5 * rounding, monkeypatch)
    with pytest.raises(ExportError, match="off by"):
        checked(50.0, 8 * rounding, monkeypatch)
