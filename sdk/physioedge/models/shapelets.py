"""Shapelets: short patterns, and how near a window comes to each of them anywhere.

The distance is the mean squared difference to the nearest stretch of the window, worked out as a convolution:
``min_j (|w|^2 - 2 w.s_j + |s_j|^2) / n``. It is what tslearn's LearningShapelets transforms to.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from physioedge.models.frontend import Frontend
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import Modality
from physioedge_runtime.errors import ShapeError

BLOCK = 16
"""Positions of a block of `ProductTransform`: larger ones are fewer products with more zeros in them."""


class ShapeletTransform(nn.Module):
    """Distances of a normalised stream to shapelets of one kind of sensor.

    Parameters
    ----------
    groups : sequence of float32 (shapelet, row, sample)
        One a length; rows as `stream_rows` gives them.

    Notes
    -----
    Source: Grabocka et al., Learning time-series shapelets, KDD 2014, equations 1 to 4, with the minimum itself in
    place of the soft one; Tavenard et al., tslearn, JMLR 21 (2020).
    """

    def __init__(self, groups: Sequence[Tensor]) -> None:
        super().__init__()
        self.groups = nn.ParameterList(nn.Parameter(group.clone()) for group in groups)
        for index, group in enumerate(groups):
            self.register_buffer(f"ones_{index}", torch.ones(1, *group.shape[1:]), persistent=False)

    @property
    def n_shapelets(self) -> int:
        """Distances that come out."""
        return sum(len(group) for group in self.groups)

    def every_distance(self, rows: Tensor) -> list[Tensor]:
        """Distances at every position, (batch, shapelet, position) a length."""
        out = []
        for index, group in enumerate(self.groups):
            size = group[0].numel()
            cross = nn.functional.conv1d(rows, group)  # (B, shapelet, position)
            energy = nn.functional.conv1d(rows * rows, getattr(self, f"ones_{index}"))
            own = (group * group).sum((1, 2))[None, :, None]
            out.append((own - 2 * cross + energy) / size)
        return out

    def forward(self, rows: Tensor) -> Tensor:
        """Distances (batch, shapelet) of a stream (batch, row, sample)."""
        nearest = [found.amin(2) for found in self.every_distance(rows)]
        return torch.cat(nearest, dim=1) if len(nearest) > 1 else nearest[0]


def stream_rows(patches: Tensor, modality: Modality) -> Tensor:
    """A stream's normalised patches as rows in time: every channel in every view of its frontend.

    Parameters
    ----------
    patches : float32 (batch, token, token_inputs)
        Of `Frontend`.
    modality : Modality

    Returns
    -------
    float32 (batch, channel * view, token * patch_samples)
        Channel by channel, the views of each one after another.
    """
    m = modality
    b, t, _ = patches.shape
    rows = m.channels * len(m.views)
    return patches.reshape(b, t, rows, m.patch_samples).transpose(1, 2).reshape(b, rows, t * m.patch_samples)


class ProductTransform(nn.Module):
    """`ShapeletTransform` of one window as matrix products alone, as ExecuTorch's XNNPACK delegate likes it.

    A row is cut into short blocks; what lies in some blocks after each other, times a band matrix, is all cross terms
    of the positions that begin in the first of them. Energies are the same products with ones.

    Parameters
    ----------
    transform : ShapeletTransform
        Copied.
    samples : int
        Of the stream; batch is 1.
    """

    def __init__(self, transform: ShapeletTransform, samples: int) -> None:
        super().__init__()
        self.samples, self.shapes = samples, [tuple(group.shape) for group in transform.groups]
        for index, group in enumerate(transform.groups):
            count, rows, length = group.shape
            span = BLOCK * math.ceil((BLOCK + length - 1) / BLOCK)
            bands = torch.zeros(rows, span, BLOCK, count)
            energy = torch.zeros(span, BLOCK)
            for position in range(BLOCK):
                bands[:, position : position + length, position] = group.detach().permute(1, 2, 0)
                energy[position : position + length, position] = 1.0
            self.register_buffer(f"bands_{index}", bands.reshape(rows, span, BLOCK * count))
            self.register_buffer(f"energy_{index}", energy[None])
            own = (group.detach().double() ** 2).sum((1, 2)).float()
            self.register_buffer(f"own_{index}", own.reshape(1, 1, count))

    @property
    def n_shapelets(self) -> int:
        """Distances that come out."""
        return sum(shape[0] for shape in self.shapes)

    def forward(self, rows: Tensor) -> Tensor:
        """Distances (1, shapelet) of a stream (1, row, sample)."""
        nearest = [self._nearest(rows, index) for index in range(len(self.shapes))]
        return torch.cat(nearest, dim=1) if len(nearest) > 1 else nearest[0]

    def _nearest(self, rows: Tensor, index: int) -> Tensor:
        count, n_rows, length = self.shapes[index]
        bands, ones = self.get_buffer(f"bands_{index}"), self.get_buffer(f"energy_{index}")
        positions, overlap = self.samples - length + 1, bands.shape[1] // BLOCK
        blocks = math.ceil(positions / BLOCK)
        missing = (blocks + overlap - 1) * BLOCK - self.samples
        cross, energy = [], []
        for row in range(n_rows):
            x = rows[:, row : row + 1]
            x = torch.cat([x, x.new_zeros(1, 1, missing)], dim=2) if missing > 0 else x
            cut = x[:, :, : (blocks + overlap - 1) * BLOCK].reshape(1, blocks + overlap - 1, BLOCK)
            wide = torch.cat([cut[:, j : j + blocks] for j in range(overlap)], dim=2)  # (1, block, span)
            cross.append(torch.bmm(wide, bands[row : row + 1]))
            energy.append(torch.bmm(wide * wide, ones))
        found = sum(cross[1:], cross[0]).reshape(1, blocks * BLOCK, count)
        size = sum(energy[1:], energy[0]).reshape(1, blocks * BLOCK, 1)
        every = (self.get_buffer(f"own_{index}") - 2 * found + size) * (1.0 / (n_rows * length))
        out: Tensor = every[:, :positions].amin(1)
        return out


class Extractor(nn.Module):
    """Raw samples of every sensor of a layout to the distances of all shapelets: what a condition is made of.

    Its inputs are those of the task's network, so that a device cuts windows once.

    Parameters
    ----------
    layout : Layout
    modalities : mapping of kind to Modality
    banks : mapping of kind to ShapeletTransform
        Every kind of the layout; two streams of one kind share theirs.

    Raises
    ------
    ShapeError
        A kind has no shapelets, or they are longer than its window.
    """

    def __init__(self, layout: Layout, modalities: dict[str, Modality], banks: dict[str, ShapeletTransform]) -> None:
        super().__init__()
        self.layout, self.modalities = layout, modalities
        self.streams: list[SensorLayout] = [s for s in layout.sensors for _ in range(s.streams(modalities[s.kind]))]
        for one in self.streams:
            _check(one, modalities[one.kind], banks)
        self.frontends = nn.ModuleList(Frontend(modalities[one.kind], one.n_tokens) for one in self.streams)
        self.banks = nn.ModuleDict({kind: banks[kind] for kind in dict.fromkeys(one.kind for one in self.streams)})

    @property
    def n_distances(self) -> int:
        """Distances a window."""
        banks = [self.banks[one.kind] for one in self.streams]
        return sum(bank.n_shapelets for bank in banks if isinstance(bank, (ShapeletTransform, ProductTransform)))

    def by_products(self) -> Extractor:
        """The same for one window at a time, of matrix products alone: see `ProductTransform`.

        Raises
        ------
        ShapeError
            Windows of one kind differ in length.
        """
        made, lengths = copy.deepcopy(self), dict[str, int]()
        for one in self.streams:
            bank, samples = self.banks[one.kind], one.window_samples(self.modalities[one.kind])
            if lengths.setdefault(one.kind, samples) != samples:
                raise ShapeError(f"windows of {one.kind} of two lengths", "one length a kind", "Export ONNX only.")
            if isinstance(bank, ShapeletTransform):
                made.banks[one.kind] = ProductTransform(bank, samples)
        return made.eval().requires_grad_(False)

    def forward(self, *signals: Tensor) -> Tensor:
        """Distances (batch, n_distances) of raw samples (batch, channel, input_samples), one a sensor."""
        parts = []
        for one, front, x in zip(self.streams, self.frontends, self._per_stream(signals), strict=True):
            parts.append(self.banks[one.kind](stream_rows(front(x), self.modalities[one.kind])))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _per_stream(self, signals: tuple[Tensor, ...]) -> list[Tensor]:
        out = []
        for one, signal in zip(self.layout.sensors, signals, strict=True):
            width = self.modalities[one.kind].channels
            out += list(torch.split(signal, width, dim=1)) if one.channels > width else [signal]
        return out


def _check(one: SensorLayout, modality: Modality, banks: dict[str, ShapeletTransform]) -> None:
    if one.kind not in banks:
        raise ShapeError(f"no shapelets for {one.kind}", f"some of {', '.join(banks) or 'none'}", "Learn them first.")
    longest = max(group.shape[2] for group in banks[one.kind].groups)
    if longest > one.window_samples(modality):
        raise ShapeError(
            f"shapelets of {longest} samples in a window of {one.window_samples(modality)} of {one.sensor}",
            "shapelets no longer than the window", "Leave the longer ones out.",
        )  # fmt: skip
