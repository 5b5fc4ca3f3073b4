"""Windows around anchors: the same cut for a stream and for a whole signal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import WindowSpec
from physioedge_runtime.errors import ShapeError


def cut_windows(
    samples: NDArray[np.float32], anchors: NDArray[np.int64], window: WindowSpec
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Windows of a whole signal, of those anchors that have all their context and look-ahead.

    Parameters
    ----------
    samples : float32 (1, sample)
        One channel at the contract's rate, without gaps.
    anchors : int (anchor,)
        Sample indices of the judged instants, such as R peaks.
    window : WindowSpec
        Lengths; the anchor becomes sample ``window.anchor_index`` of its window.

    Returns
    -------
    windows : float32 (kept, 1, input_samples)
        A copy.
    kept : int64 (kept,)
        Indices into `anchors`.

    Raises
    ------
    ShapeError
        `samples` is not (1, sample), or `anchors` is not one-dimensional.
    """
    if samples.ndim != 2 or samples.shape[0] != 1 or anchors.ndim != 1:
        raise ShapeError(
            f"samples of shape {samples.shape} and anchors of shape {anchors.shape}",
            "(1, sample) and (anchor,)",
            "Pass one channel and one list of anchors.",
        )
    starts = np.asarray(anchors, np.int64) - window.anchor_index
    kept = np.flatnonzero((starts >= 0) & (starts + window.input_samples <= samples.shape[1]))
    columns = starts[kept][:, None] + np.arange(window.input_samples)[None]
    return samples[0][columns].astype(np.float32)[:, None, :], kept.astype(np.int64)


class Ring:
    """The newest samples of a stream, addressed by their index since the start.

    Parameters
    ----------
    n_channels : int
    capacity : int
        Samples kept.
    """

    def __init__(self, n_channels: int, capacity: int) -> None:
        self.capacity = capacity
        self._samples = np.zeros((n_channels, 2 * capacity), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next sample is number 0."""
        self._used = 0  # columns of the buffer in use; the newest sample is the last of them
        self.received = 0

    @property
    def oldest(self) -> int:
        """Index of the oldest sample that is still kept."""
        return max(0, self.received - self.capacity)

    def append(self, chunk: NDArray[np.float32]) -> None:
        """Take samples (channel, sample), any number of them."""
        chunk_samples = chunk.shape[1]
        self.received += chunk_samples
        chunk = chunk[:, max(0, chunk_samples - self.capacity) :]
        if self._used + chunk.shape[1] > self._samples.shape[1]:
            keep = min(self._used, self.capacity)
            for row in self._samples:  # numpy moves one row in place; of several at once it would first make a copy
                row[:keep] = row[self._used - keep : self._used]
            self._used = keep
        self._samples[:, self._used : self._used + chunk.shape[1]] = chunk
        self._used += chunk.shape[1]

    def read(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """Copy of samples ``start .. stop - 1`` as (channel, sample); None where one of them is not there."""
        part = self.view(start, stop)
        return None if part is None else part.copy()

    def view(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """As `read`, but without a copy: good until the next `append`."""
        if start < self.oldest or stop > self.received or stop < start:
            return None
        shift = self._used - self.received
        return self._samples[:, start + shift : stop + shift]

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays, for `restore`."""
        newest = self.read(self.oldest, self.received)
        return {"received": self.received, "samples": newest}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of a ring of the same channels and capacity."""
        samples = np.array(state["samples"], np.float32)
        self._used = samples.shape[1]
        self._samples[:, : self._used] = samples
        self.received = int(state["received"])
