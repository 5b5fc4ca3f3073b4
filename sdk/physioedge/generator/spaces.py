"""Smaller outputs of a generator: vectors of FourierFT or VeRA in place of every number of the slots.

A slot takes B alone, since A is frozen and shared. FourierFT's sparse spectrum and VeRA's two vectors are therefore
taken of B: a generator learns and gives the vectors, and what it gives is written out before it goes into the slots.

Source: Gao et al., Parameter-efficient fine-tuning with discrete Fourier transform, ICML 2024 (arXiv 2405.03003);
Kopiczko, Blankevoort and Asano, VeRA, ICLR 2024 (arXiv 2310.11454).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge_runtime.bundle.contract import SlotSpec

Floats = NDArray[np.float64]
COEFFICIENTS = 66
"""Of a slot, as `physioedge.adapters.fourierft`; fewer where a slot has fewer."""
SEED = 777


class Space(Protocol):
    """Vectors that stand for adapters."""

    @property
    def width(self) -> int:
        """Numbers of a vector."""

    def vectors(self, adapters: Floats) -> Floats:
        """The vectors (n, width) nearest to adapters (n, number)."""

    def adapters(self, vectors: Floats) -> Floats:
        """Adapters (n, number) that vectors (n, width) stand for."""


@dataclass(frozen=True)
class FourierSpace:
    """A few random Fourier coefficients of every slot, real as the source's: an orthonormal set of cosines.

    Attributes
    ----------
    bases : tuple of float64 (coefficient, number)
        One a slot.
    """

    bases: tuple[Floats, ...]

    @classmethod
    def of(cls, origin: Origin, coefficients: int = COEFFICIENTS, seed: int = SEED) -> FourierSpace:
        """For the slots of a set; which coefficients they are follows from seed and shape."""
        return cls(tuple(_cosines(slot.shape, coefficients, seed) for slot in origin.slots))

    @property
    def width(self) -> int:
        """Coefficients of all slots."""
        return sum(len(basis) for basis in self.bases)

    def vectors(self, adapters: Floats) -> Floats:
        """Least squares, which of orthonormal cosines is a product."""
        parts = np.split(adapters, np.cumsum([basis.shape[1] for basis in self.bases])[:-1], axis=1)
        return np.concatenate([x @ basis.T for x, basis in zip(parts, self.bases, strict=True)], axis=1)

    def adapters(self, vectors: Floats) -> Floats:
        """The inverse transform."""
        parts = np.split(vectors, np.cumsum([len(basis) for basis in self.bases])[:-1], axis=1)
        return np.concatenate([c @ basis for c, basis in zip(parts, self.bases, strict=True)], axis=1)


@dataclass(frozen=True)
class VeraSpace:
    """Two vectors a slot around a frozen random matrix: ``B = b[:, None] * signs * d``, rows times columns.

    The matrix is of signs, not of the source's real numbers: the nearest vectors are then the first singular ones of
    ``B * signs``, in closed form.

    Attributes
    ----------
    signs : tuple of float64 (row, column)
        One a slot, of 1 and -1.
    """

    signs: tuple[Floats, ...]

    @classmethod
    def of(cls, origin: Origin, seed: int = SEED) -> VeraSpace:
        """For the slots of a set; the signs follow from seed and the slot's name."""
        drawn = [
            np.random.default_rng((seed, zlib.crc32(slot.name.encode()))).choice((-1.0, 1.0), slot.shape)
            for slot in origin.slots
        ]
        return cls(tuple(drawn))

    @property
    def width(self) -> int:
        """Rows and columns of all slots."""
        return sum(sum(one.shape) for one in self.signs)

    def vectors(self, adapters: Floats) -> Floats:
        """By singular vectors; the columns' one has length 1 and a sum that is not negative, so that it is the only."""
        parts = np.split(adapters, np.cumsum([one.size for one in self.signs])[:-1], axis=1)
        found = [_nearest(x.reshape(-1, *one.shape), one) for x, one in zip(parts, self.signs, strict=True)]
        return np.concatenate(found, axis=1)

    def adapters(self, vectors: Floats) -> Floats:
        """The products."""
        out, at = [], 0
        for one in self.signs:
            rows, columns = one.shape
            b, d = vectors[:, at : at + rows], vectors[:, at + rows : at + rows + columns]
            out.append((b[:, :, None] * one * d[:, None]).reshape(len(vectors), -1))
            at += rows + columns
        return np.concatenate(out, axis=1)


def in_space(
    fit: Callable[[AdapterSet], Callable[[Floats], Floats]], found: AdapterSet, space: Space
) -> Callable[[Floats], Floats]:
    """A generator of a space's vectors, fitted on those of a set; it gives adapters (n, number) of conditions.

    Parameters
    ----------
    fit : callable
        Any fit of a generator.
    found : AdapterSet
    space : Space
    """
    slots = (SlotSpec(name="vectors", shape=(space.width, 1)),)
    small = replace(found, origin=replace(found.origin, slots=slots), adapters=space.vectors(found.adapters))
    generate = fit(small)
    return lambda conditions: space.adapters(generate(conditions))


def _cosines(shape: tuple[int, ...], coefficients: int, seed: int) -> Floats:
    """Orthonormal cosines (coefficient, number) of random frequencies of a matrix."""
    rows, columns = shape
    u, v = (index.ravel() for index in np.indices(shape))
    mirrored = (-u % rows) * columns + (-v % columns)  # a real coefficient there gives the same cosine
    own = np.flatnonzero(u * columns + v <= mirrored)
    taken = np.random.default_rng((seed, rows, columns)).permutation(own)[:coefficients]
    phase = 2 * np.pi * (np.outer(u[taken], u) / rows + np.outer(v[taken], v) / columns)
    wave = np.cos(phase)
    return np.asarray(wave / np.linalg.norm(wave, axis=1, keepdims=True))


def _nearest(x: Floats, signs: Floats) -> Floats:
    """Both vectors (n, row + column) of matrices (n, row, column)."""
    left, size, right = np.linalg.svd(x * signs, full_matrices=False)
    b, d = left[:, :, 0] * size[:, :1], right[:, 0]
    turn = np.where(d.sum(1, keepdims=True) < 0, -1.0, 1.0)
    return np.concatenate([b * turn, d * turn], axis=1)
