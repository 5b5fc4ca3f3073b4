"""What an export is asked for: windows, what the bundle says about itself, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import ExportError

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Real windows, each float32 (window, channel, input_samples) in the contract's unit.

    Attributes
    ----------
    calibration : array
        Fix static scales, and carry the parity check where `parity` is None.
    golden : array
        Travel in the bundle with their outputs; at most 64.
    parity : array, optional
        For the parity check.
    """

    calibration: Array
    golden: Array
    parity: Array | None = None

    @property
    def checked(self) -> Array:
        """Windows of the parity check."""
        return self.calibration if self.parity is None else self.parity

    def check(self, contract: Contract) -> None:
        """Raise ExportError unless all windows are finite, of the contract's shape, and at least one each."""
        wanted = (len(contract.sensor.channels), contract.window.input_samples)
        for name, windows in (("calibration", self.calibration), ("golden", self.golden), ("parity", self.checked)):
            if windows.ndim != 3 or windows.shape[1:] != wanted or windows.dtype != np.float32 or not len(windows):
                raise ExportError(
                    f"{name} windows {windows.dtype}{windows.shape}",
                    f"float32 (window, {wanted[0]}, {wanted[1]})",
                    "Cut them so.",
                )
            if not np.isfinite(windows).all():
                raise ExportError(f"{name} windows with NaN or infinities", "finite samples", "Leave such windows out.")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the bundle says about itself, for people.

    Attributes
    ----------
    name, version : str
    model_card, licence_text : str
        Contents of the two files.
    licence : str
        SPDX expression.
    provenance : mapping
        JSON values with ``training_subjects``.
    task_info : mapping
        What the labels mean.
    """

    name: str
    version: str
    model_card: str
    licence_text: str
    licence: str = "Apache-2.0"
    provenance: Mapping[str, Any] = field(default_factory=lambda: {"training_subjects": []})
    task_info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where the results go.

    Attributes
    ----------
    bundle : Path
        Written only if every stage agrees.
    signing_key : path or bytes
        Private key; see `write_bundle`.
    report : Path, optional
        Folder of the report, written whether or not the stages agree; beside the bundle by default.
    """

    bundle: Path
    signing_key: Path | str | bytes
    report: Path | None = None
