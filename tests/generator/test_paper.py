"""The published recipe's generator on made-up sets: what it can learn, and what it may not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from physioedge.generator.paper.fitting import PaperConfig, PaperSet, fit_paper, paper_size
from physioedge.generator.paper.network import Denoiser

QUICK = PaperConfig(width=16, heads=2, blocks=2, chunk=5, steps=250, batch=32, learning_rate=4e-3, sampling=10)


def two_kinds(people: int = 8, rows: int = 3, seed: int = 0) -> PaperSet:
    """LoRAs near +1 or near -1, told apart by the sign of the first number of every shapelet."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(people) % 2 * 2 - 1, rows)
    tokens = 0.1 * rng.standard_normal((len(kind), 2, 4, 6)).astype(np.float32)
    tokens[..., 0] += kind[:, None, None]
    whole = 3.0 + kind[:, None] + 0.1 * rng.standard_normal((len(kind), 12))
    return PaperSet(tokens=tokens, whole=whole, person=np.repeat([f"p{i}" for i in range(people)], rows))


@pytest.fixture(scope="module")
def fitted():
    return fit_paper(two_kinds(), QUICK, seed=0)


def test_it_tells_two_kinds_apart(fitted):
    asked = np.zeros((2, 4, 6), np.float32)
    asked[0, :, 0], asked[1, :, 0] = 1.0, -1.0
    made = fitted(asked)
    assert made.shape == (2, 12)
    assert made[0].mean() == pytest.approx(4.0, abs=0.5) and made[1].mean() == pytest.approx(2.0, abs=0.5)


def test_answers_follow_the_seed_and_a_condition_stands_alone(fitted):
    asked = np.random.default_rng(1).standard_normal((3, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(fitted(asked), fitted(asked), atol=1e-5)
    np.testing.assert_allclose(fitted(asked)[1:2], fitted(asked[1:2]), atol=1e-4)
    assert np.abs(fitted(asked, seed=1) - fitted(asked)).max() > 1e-3


def test_rows_of_the_barred_are_gone():
    left = two_kinds().without(("p0", "p3"))
    assert sorted(set(left.person.tolist())) == ["p1", "p2", "p4", "p5", "p6", "p7"]
    assert len(left.tokens) == len(left.whole) == len(left.person) == 18


def test_later_chunks_see_earlier_ones_and_not_the_other_way_round():
    torch.manual_seed(0)
    network = Denoiser(15, 3, 6, width=8, blocks=2, heads=2, chunk=5).eval()
    noisy, told = torch.randn(1, 15), torch.randn(1, 3, 6)
    changed = noisy.clone()
    changed[0, 5:10] += 1.0
    with torch.no_grad():
        off = (network(changed, torch.tensor([7]), told) - network(noisy, torch.tensor([7]), told))[0].abs()
    assert off[:5].max() == 0 and off[5:10].max() > 0 and off[10:].max() > 0


def test_an_empty_place_is_a_token_of_its_own_and_chunks_are_padded():
    torch.manual_seed(0)
    network = Denoiser(12, 2, 6, width=8, blocks=1, heads=2, chunk=5).eval()
    told = torch.randn(2, 2, 6)
    told[:, 1] = 0
    with torch.no_grad():
        assert network(torch.randn(2, 12), torch.tensor([1, 2]), told).shape == (2, 12)
        network.empty += 1.0
        one = network(torch.zeros(1, 12), torch.tensor([1]), told[:1])
        network.empty -= 1.0
        assert (one != network(torch.zeros(1, 12), torch.tensor([1]), told[:1])).any()


def test_sizes_are_as_stated():
    assert (PaperConfig().blocks, PaperConfig().chunk, PaperConfig().batch) == (12, 576, 64)
    assert PaperConfig().learning_rate == 4e-4
    assert paper_size("cuda").width == 768
    assert fit_paper(two_kinds(), replace(QUICK, steps=1), seed=0).level == pytest.approx(3.0, abs=0.2)
