"""What makes a window due: a heart beat, or a number of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SensorSpec, WindowSpec
from physioedge_runtime.errors import ContractError
from physioedge_runtime.signal.beats import BeatDetector


@dataclass(frozen=True, slots=True)
class Anchor:
    """An instant to be judged, in samples at the contract's rate.

    Attributes
    ----------
    sample : int
        The R peak, or the last sample of a hop.
    decided : int
        Newest sample that was needed to know of it.
    flags : tuple of str
        ``searched_back`` for a beat found only afterwards.
    """

    sample: int
    decided: int
    flags: tuple[str, ...] = ()


class Trigger(Protocol):
    """Finds anchors in a stream, in ascending order, in bounded time."""

    longest_delay_samples: int

    def push(self, x: NDArray[np.float32]) -> list[Anchor]:
        """Anchors that have become certain with these samples (channel, sample)."""
        ...

    def next_due(self, lookahead_samples: int) -> int:
        """Samples that must have come before an anchor not yet given, and its look-ahead, can be there."""
        ...

    def flush(self) -> list[Anchor]:
        """The last anchors; afterwards the next sample is number 0."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot`."""
        ...


class BeatTrigger:
    """R peaks of the first channel."""

    def __init__(self, fs_hz: float) -> None:
        self._detector = BeatDetector(fs_hz)
        self.longest_delay_samples = self._detector.longest_delay_samples

    def push(self, x: NDArray[np.float32]) -> list[Anchor]:
        """Anchors that have become certain with these samples (channel, sample)."""
        return [_anchor(b.sample, b.decided, b.searched_back) for b in self._detector.push(x[0])]

    def next_due(self, lookahead_samples: int) -> int:
        """Samples that must have come before an anchor not yet given, and its look-ahead, can be there."""
        return self._detector.next_due(lookahead_samples)

    def flush(self) -> list[Anchor]:
        """The last anchors; afterwards the next sample is number 0."""
        return [_anchor(b.sample, b.decided, b.searched_back) for b in self._detector.flush()]

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays."""
        return self._detector.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot`."""
        self._detector.restore(state)


def _anchor(sample: int, decided: int, searched_back: bool) -> Anchor:
    return Anchor(sample, decided, ("searched_back",) if searched_back else ())


class HopTrigger:
    """The last sample of every hop."""

    longest_delay_samples = 0

    def __init__(self, hop_samples: int) -> None:
        self._hop, self._received = hop_samples, 0

    def push(self, x: NDArray[np.float32]) -> list[Anchor]:
        """Anchors that have become certain with these samples (channel, sample)."""
        before, self._received = self._received, self._received + x.shape[1]
        ends = range((before // self._hop + 1) * self._hop, self._received + 1, self._hop)
        return [Anchor(end - 1, end - 1) for end in ends]

    def next_due(self, lookahead_samples: int) -> int:
        """Samples that must have come before an anchor not yet given, and its look-ahead, can be there."""
        return (self._received // self._hop + 1) * self._hop + lookahead_samples

    def flush(self) -> list[Anchor]:
        """The last anchors; afterwards the next sample is number 0."""
        self._received = 0
        return []

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays."""
        return {"received": self._received}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot`."""
        self._received = int(state["received"])


def make_trigger(sensor: SensorSpec, window: WindowSpec) -> Trigger:
    """Trigger of a contract.

    Raises
    ------
    ContractError
        Beats asked for in a signal that is no ECG in mV.
    """
    if window.trigger == "hop":
        return HopTrigger(window.hop_samples)
    if sensor.modality != "ecg" or sensor.units != "mV":
        raise ContractError(
            f"beats of a {sensor.modality} in {sensor.units}",
            "an ecg in mV, which the R-peak detector is made for",
            "Export the bundle with a hop trigger.",
        )
    return BeatTrigger(sensor.fs_hz)
