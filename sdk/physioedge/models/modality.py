"""How each kind of sensor becomes patches: one frozen record a kind, stored beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

ZSCORE, FIXED = "zscore", "fixed"


@dataclass(frozen=True, kw_only=True)
class Modality:
    """The in-graph frontend of one kind of sensor.

    Attributes
    ----------
    kind : str
        ``ecg``, ``ppg``, ``acc``, ``eda``, ``temp`` or ``rr``.
    fs_hz : float
        The one rate the graph takes.
    channels : int
        Channels that make one token together, such as three axes. A sensor with more of them is several streams.
    patch_samples : int
        Samples of each channel in one token.
    filter_taps : int
        Length of the causal, minimum-phase low-pass, odd; 1 for none.
    cutoff_hz : float
        Its cut-off.
    views : tuple of str
        What a token is shown: ``zscore``, the patch against the trailing window, and ``fixed``, the patch on a scale
        that is the same for everybody, where the level itself says something.
    norm_patches : int
        Length of the trailing window of ``zscore``, in patches.
    norm_floor : float
        Smallest standard deviation it divides by, in signal units.
    centre, scale : tuple of float
        By channel, for ``fixed``: ``(x - centre) / scale``.
    """

    kind: str
    fs_hz: float
    channels: int = 1
    patch_samples: int
    filter_taps: int = 1
    cutoff_hz: float = 0.0
    views: tuple[str, ...] = (ZSCORE,)
    norm_patches: int = 1
    norm_floor: float = 0.01
    centre: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)

    @property
    def context_samples(self) -> int:
        """Real past samples needed before the first sample of the first token."""
        return (self.norm_patches - 1) * self.patch_samples + self.filter_taps - 1

    @property
    def patch_s(self) -> float:
        """Seconds of one token."""
        return self.patch_samples / self.fs_hz

    @property
    def token_inputs(self) -> int:
        """Numbers that are embedded for one token."""
        return len(self.views) * self.channels * self.patch_samples

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Modality:
        """Inverse of `to_dict`; an unknown key raises ``TypeError``."""
        lists = ("views", "centre", "scale")
        parts: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in values.items()}
        return cls(**parts)


ECG = Modality(
    kind="ecg", fs_hz=125.0, patch_samples=25, filter_taps=25, cutoff_hz=38.0, norm_patches=10, norm_floor=0.01
)
"""Mains hum lies above the cut-off, the QRS complex below; two seconds of past hold two beats or more."""
PPG = Modality(
    kind="ppg", fs_hz=64.0, patch_samples=32, filter_taps=25, cutoff_hz=10.0, norm_patches=4, norm_floor=1e-4
)
"""The unit is arbitrary, so only the shape is shown; two seconds of past hold a pulse or more."""
ACC = Modality(
    kind="acc", fs_hz=32.0, channels=3, patch_samples=32, views=(ZSCORE, FIXED), norm_patches=2, norm_floor=0.01,
    centre=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0),
)  # fmt: skip
"""Gravity and the size of a movement stand on the fixed scale, in g; small movements show in the other view."""
EDA = Modality(
    kind="eda", fs_hz=4.0, patch_samples=8, views=(ZSCORE, FIXED), norm_patches=2, norm_floor=0.02, centre=(2.0,),
    scale=(3.0,),
)  # fmt: skip
TEMP = Modality(
    kind="temp", fs_hz=4.0, patch_samples=8, views=(ZSCORE, FIXED), norm_patches=2, norm_floor=0.02, centre=(32.0,),
    scale=(3.0,),
)  # fmt: skip
RR = Modality(
    kind="rr", fs_hz=4.0, channels=2, patch_samples=20, views=(ZSCORE, FIXED), norm_patches=12, norm_floor=0.02,
    centre=(0.85, 0.0), scale=(0.2, 1.0),
)  # fmt: skip
"""Interval and gap, see `physioedge.signals.tachogram`; the trailing window is a minute."""
ALL = (ECG, PPG, ACC, EDA, TEMP, RR)
