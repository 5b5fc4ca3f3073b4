"""Windows on their way into a graph: arrays by the names of its signal inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
Feeds: TypeAlias = Mapping[str, Array]
"""By input of the graph: float32 (window, channel, sample), as many windows of each."""


def n_windows(feeds: Feeds) -> int:
    """How many windows there are."""
    return len(next(iter(feeds.values())))


def one_window(feeds: Feeds, index: int) -> dict[str, Array]:
    """Inputs of one window, with a batch of 1."""
    return {name: array[index : index + 1] for name, array in feeds.items()}


def by_window(feeds: Feeds, most: int | None = None) -> Iterator[dict[str, Array]]:
    """Inputs of one window after the other, of the first `most` where that is given."""
    total = n_windows(feeds)
    for index in range(total if most is None else min(total, most)):
        yield one_window(feeds, index)


def first_windows(feeds: Feeds, most: int) -> dict[str, Array]:
    """The first windows."""
    return {name: array[:most] for name, array in feeds.items()}
