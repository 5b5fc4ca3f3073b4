"""People-weighed principal components of a set's residuals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_residuals import ORIGIN, lopsided, smooth_set

from physioedge.generator.pca import basis
from physioedge_runtime.errors import PhysioEdgeError


@pytest.mark.parametrize(("people", "each"), [(8, 2), (40, 3)])  # fewer rows than numbers, and more
def test_all_components_give_the_residuals_back(people, each):
    found = smooth_set(people, each)
    space = basis(found)
    assert len(space.spread) == min(people * each - 1, ORIGIN.width)
    np.testing.assert_allclose(space.reconstruct(space.project(found.adapters)), found.adapters, atol=1e-6)
    np.testing.assert_allclose(space.axes @ space.axes.T, np.eye(len(space.axes)), atol=1e-6)
    assert space.explained.sum() == pytest.approx(1.0) and (np.diff(space.explained) <= 0).all()


def test_it_is_the_plain_decomposition_where_people_have_as_many_rows():
    found = smooth_set(30, 2)
    space, centred = basis(found, 4), found.adapters - found.adapters.mean(0)
    _, length, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(space.explained, (length**2 / (length**2).sum())[:4], rtol=1e-8)
    np.testing.assert_allclose(np.abs(np.sum(space.axes * axes[:4], axis=1)), 1.0, atol=1e-8)
    held = smooth_set(5, 1, seed=1).adapters
    kept = (held - found.adapters.mean(0)) @ axes[:4].T @ axes[:4] + found.adapters.mean(0)
    np.testing.assert_allclose(space.reconstruct(space.project(held)), kept, atol=1e-8)


def test_coefficients_are_whitened_and_fewer_components_explain_less():
    found = smooth_set()
    space = basis(found, 3)
    made = space.project(found.adapters)
    np.testing.assert_allclose(made.mean(0), 0.0, atol=1e-9)
    np.testing.assert_allclose(made.T @ made / len(made), np.eye(3), atol=1e-9)
    lost = ((space.reconstruct(made) - found.adapters) ** 2).sum() / ((found.adapters - space.level) ** 2).sum()
    assert 0 < lost == pytest.approx(1 - space.explained.sum())


def test_a_person_counts_once_however_many_rows_there_are():
    few = smooth_set(4, 2)
    many = lopsided(few, np.array([0, 1] * 50 + [2, 3, 4, 5, 6, 7]))
    one, other = basis(few, 3), basis(many, 3)
    np.testing.assert_allclose(other.level, one.level, atol=1e-9)
    np.testing.assert_allclose(other.explained, one.explained, atol=1e-9)
    np.testing.assert_allclose(other.axes, one.axes, atol=1e-6)


def test_a_set_without_differences_is_refused():
    found = smooth_set(3, 1)
    with pytest.raises(PhysioEdgeError, match="all the same"):
        basis(replace(found, adapters=np.ones_like(found.adapters)))
    with pytest.raises(PhysioEdgeError, match="1 or more"):
        basis(found, 0)
