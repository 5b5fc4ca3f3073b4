"""What an export is asked for: windows, what the bundle says about itself, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from physioedge_export.feeds import Array, Feeds
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import ExportError


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Real windows: by sensor of the contract, float32 (window, channel, input_samples) in its unit.

    Attributes
    ----------
    calibration : mapping of str to array
        Fix static scales, and carry the parity check where `parity` is None.
    golden : mapping of str to array
        Travel in the bundle with their outputs; at most 64.
    parity : mapping of str to array, optional
        For the parity check.
    """

    calibration: Mapping[str, Array]
    golden: Mapping[str, Array]
    parity: Mapping[str, Array] | None = None

    def fed(self, contract: Contract) -> Fed:
        """The same windows by input of the graph.

        Raises
        ------
        ExportError
            A sensor is missing or unknown, or windows are not finite, not of the contract's shape, not as many of each
            sensor, or none at all.
        """
        checked = self.calibration if self.parity is None else self.parity
        return Fed(
            calibration=_by_input("calibration", self.calibration, contract),
            golden=_by_input("golden", self.golden, contract),
            checked=_by_input("parity", checked, contract),
        )


@dataclass(frozen=True, kw_only=True)
class Fed:
    """`Windows` by input of the graph; `checked` are those of the parity check."""

    calibration: Feeds
    golden: Feeds
    checked: Feeds


def _by_input(name: str, windows: Mapping[str, Array], contract: Contract) -> Feeds:
    sensors = [sensor.name for sensor in contract.sensors]
    if set(windows) != set(sensors):
        raise ExportError(f"{name} windows of {', '.join(windows)}", ", ".join(sensors), "Pass all and no others.")
    counts = {len(array) for array in windows.values()}
    feeds = {}
    for sensor, (graph_input, (channels, samples)) in zip(sensors, contract.input_shapes.items(), strict=True):
        array = windows[sensor]
        shaped = array.ndim == 3 and array.shape[1:] == (channels, samples)
        if not shaped or array.dtype != np.float32 or not len(array) or len(counts) != 1:
            raise ExportError(
                f"{name} windows of {sensor} {array.dtype}{array.shape}",
                f"float32 (window, {channels}, {samples}), as many of each sensor",
                "Cut them so.",
            )
        if not np.isfinite(array).all():
            raise ExportError(f"{name} windows with NaN or infinities", "finite samples", "Leave such windows out.")
        feeds[graph_input] = array
    return feeds


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
