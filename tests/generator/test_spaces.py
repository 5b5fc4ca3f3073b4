"""Vectors of FourierFT and VeRA as what a generator gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_residuals import ORIGIN, smooth_set

from physioedge.evaluation.personal.generated import GENERATORS
from physioedge.generator.regression import fit_krr, fit_nearest
from physioedge.generator.spaces import FourierSpace, VeraSpace, in_space

FOUND = smooth_set()
SPACES = {"fourier": FourierSpace.of(ORIGIN, coefficients=5), "vera": VeraSpace.of(ORIGIN)}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


def test_what_lies_in_a_space_comes_back(space):
    vectors = space.vectors(np.random.default_rng(0).standard_normal((4, ORIGIN.width)))
    assert vectors.shape == (4, space.width) and space.width < ORIGIN.width
    adapters = space.adapters(vectors)
    np.testing.assert_allclose(space.vectors(adapters), vectors, atol=1e-6)
    np.testing.assert_allclose(space.adapters(space.vectors(adapters)), adapters, atol=1e-6)


def test_a_vector_is_the_nearest(space):
    """No other vector near it stands for an adapter that is nearer."""
    rng = np.random.default_rng(1)
    wanted = rng.standard_normal((1, ORIGIN.width))
    found = space.vectors(wanted)
    error = np.square(space.adapters(found) - wanted).sum()
    moved = found + 1e-3 * rng.standard_normal((50, space.width))
    assert (np.square(space.adapters(moved) - wanted).sum(1) > error - 1e-5).all()
    assert error < np.square(wanted).sum()


def test_zero_stays_zero(space):
    assert np.allclose(space.adapters(space.vectors(np.zeros((2, ORIGIN.width)))), 0)


def test_cosines_are_orthonormal_and_no_more_than_there_are():
    space = FourierSpace.of(ORIGIN, coefficients=10_000)
    for basis, slot in zip(space.bases, ORIGIN.slots, strict=True):
        np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-9)
        assert len(basis) < np.prod(slot.shape)  # sines are not among them
    assert all((a == b).all() for a, b in zip(space.bases, FourierSpace.of(ORIGIN, 10_000).bases, strict=True))


def test_a_generator_in_a_space_answers_with_adapters_of_that_space(space):
    inside = replace(FOUND, adapters=space.adapters(space.vectors(FOUND.adapters)))
    answer = in_space(fit_nearest, inside, space)(inside.conditions)
    np.testing.assert_allclose(answer, inside.adapters, atol=1e-6)
    other = in_space(fit_krr, FOUND, space)(FOUND.conditions[:3] + 0.1)
    np.testing.assert_allclose(space.adapters(space.vectors(other)), other, atol=1e-6)


def test_the_linear_space_is_the_generator_projected():
    space = SPACES["fourier"]
    asked = FOUND.conditions[:4] + 0.05
    whole = fit_krr(FOUND)(asked)
    np.testing.assert_allclose(in_space(fit_krr, FOUND, space)(asked), space.adapters(space.vectors(whole)), atol=1e-8)


@pytest.mark.parametrize("name", ["krr_fourier", "krr_vera"])
def test_arms_of_the_table_give_whole_adapters(name):
    found = GENERATORS[name](FOUND, 0)(FOUND.conditions[:2])
    assert found.shape == (2, ORIGIN.width) and np.isfinite(found).all() and np.abs(found).max() > 0
