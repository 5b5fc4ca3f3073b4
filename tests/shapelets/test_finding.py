"""Shapelets found without labels and learned with them, on made-up signals with planted patterns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physioedge.shapelets import discovery
from physioedge.shapelets.discovery import discover
from physioedge.shapelets.learning import ShapeletFit, learn

BUMP = torch.hann_window(20, periodic=False)


def planted(n=200, people=8, seed=0):
    """Noise with a bump up (class 0) or down (class 1) somewhere; whose each window is."""
    generator = torch.Generator().manual_seed(seed)
    rows = 0.2 * torch.randn(n, 1, 80, generator=generator)
    target = torch.arange(n) % 2
    for i in range(n):
        start = int(torch.randint(60, (1,), generator=generator))
        rows[i, 0, start : start + 20] += 3 * BUMP * (1 - 2 * target[i])
    return rows, target.numpy(), torch.arange(n) % people


def test_discovery_finds_patterns_of_several_people_and_repeats_itself():
    rows, _, people = planted()
    found = discover(rows, people, (20, 30), 6, seed=0, drawn=1500)
    assert [tuple(group.shape) for group in found] == [(6, 1, 20), (6, 1, 30)]
    again = discover(rows, people, (20, 30), 6, seed=0, drawn=1500)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    heights = found[0].amax(2).max(), found[0].amin(2).min()
    assert heights[0] > 1.0 and heights[1] < -1.0  # both bumps, which noise alone never reaches


def test_a_stretch_of_one_person_alone_is_no_centre(monkeypatch):
    rows, _, people = planted(people=4)
    rows[people == 0] = 0.0
    rows[people == 0, 0, ::2] = 50.0  # so strange that k-means would give it a centre of its own
    found = discover(rows, people, (20,), 4, seed=1, drawn=1000)[0]
    assert (found.abs().amax((1, 2)) < 49.0).all()


def test_learning_tells_classes_apart_that_start_alike():
    rows, target, _ = planted()
    generator = torch.Generator().manual_seed(3)
    start = [0.1 * torch.randn(4, 1, 20, generator=generator)]
    config = ShapeletFit(steps=150, learning_rate=3e-2, pull=0.0)
    transform, history = learn(start, rows, target, 2, config, seed=0, progress=False)
    assert history.loss[-1] < 0.5 * history.loss[0]
    with torch.no_grad():
        distances = transform(rows).numpy()
    best = max(abs(np.corrcoef(distances[:, k], target)[0, 1]) for k in range(4))
    assert best > 0.7
    held, _ = learn(start, rows, target, 2, ShapeletFit(steps=20, pull=1e4), seed=0, progress=False)
    assert float((held.groups[0] - start[0]).abs().max()) < 0.1
    assert not any(p.requires_grad for p in transform.parameters())


def test_everybody_weighs_the_same():
    rows = torch.zeros(100, 1, 40)
    people = torch.tensor([0] * 90 + [1] * 10)
    rows[90:] = 1.0
    stretches, whose = discovery._drawn(rows, people, 10, 4000, torch.Generator().manual_seed(0))
    assert float((whose == 1).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert torch.equal(stretches[:, 0, 0] > 0.5, whose == 1)
