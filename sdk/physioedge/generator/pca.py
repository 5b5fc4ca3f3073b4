"""Principal components of a set's residuals, people weighed alike: what latent generators speak, and their ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.weighing import shares
from physioedge_runtime.errors import PhysioEdgeError

Floats = NDArray[np.float64]
_NOISE = 1e-10
"""Components of less than this part of the greatest variance are rounding: whitened, they would be blown up."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Whitened principal components.

    Attributes
    ----------
    level : float64 (number,)
        Mean residual; people weighed alike, as in all that follows.
    axes : float64 (component, number)
        Orthonormal, by falling variance. The greatest entry of each is positive.
    spread : float64 (component,)
        Standard deviation of the set along them.
    explained : float64 (component,)
        Share of the set's variance; with all components they add up to 1.
    """

    level: Floats
    axes: Floats
    spread: Floats
    explained: Floats

    def project(self, residuals: Floats) -> Floats:
        """Coefficients (n, component) of residuals (n, number), in standard deviations of the set."""
        return np.asarray((np.atleast_2d(residuals) - self.level) @ self.axes.T / self.spread)

    def reconstruct(self, coefficients: Floats) -> Floats:
        """Residuals (n, number) of coefficients (n, component).

        ``reconstruct(project(residual))`` of a left-out person is the ceiling of every generator of coefficients.
        """
        return np.asarray(np.atleast_2d(coefficients) * self.spread @ self.axes + self.level)


def basis(found: AdapterSet, components: int | None = None) -> Basis:
    """Principal components of a set's residuals.

    Parameters
    ----------
    found : AdapterSet
    components : int, optional
        How many at most; fewer where the set has fewer. All without it.

    Raises
    ------
    PhysioEdgeError
        All residuals of the set are the same, or `components` is below 1.

    Notes
    -----
    The eigenvectors are those of the smaller of the two products, rows by rows or numbers by numbers: time grows with
    the cube of its size, which for many thousand rows is minutes.
    """
    if components is not None and components < 1:
        raise PhysioEdgeError(f"{components} components", "1 or more", "Ask for more.")
    share = shares(found.person)
    level = share @ found.adapters
    weighed = np.sqrt(share)[:, None] * (found.adapters - level)
    wide = weighed.shape[0] < weighed.shape[1]
    product = weighed @ weighed.T if wide else weighed.T @ weighed
    kept = len(product) if components is None else min(components, len(product))
    variance, vectors = eigh(product, subset_by_index=(len(product) - kept, len(product) - 1))
    total = float((weighed**2).sum())
    order = np.argsort(variance)[::-1][:components]
    order = order[variance[order] > max(_NOISE * variance.max(), np.finfo(np.float64).tiny)]
    if not len(order):
        raise PhysioEdgeError(
            f"{len(found.person)} residuals that are all the same", "some that differ",
            "Make a set of more people, or generate the mean.",
        )  # fmt: skip
    spread = np.sqrt(variance[order])
    axes = vectors[:, order].T @ weighed / spread[:, None] if wide else vectors[:, order].T
    greatest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    return Basis(level=level, axes=axes * np.sign(greatest), spread=spread, explained=variance[order] / total)
