"""Boards of BrainFlow as a source: ``brainflow:synthetic``, ``brainflow:cyton?serial_port=/dev/ttyUSB0``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from physioedge.signals.foreign import needed
from physioedge.signals.stated import pick_channels, settle_rate, settle_units
from physioedge.sources.arriving import Arrivals
from physioedge.sources.protocol import Chunk, SensorInfo, Told
from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.errors import SourceError, UnknownSensor

CHUNK_S, PATIENCE_S = 0.1, 30.0
KINDS = {
    "ecg": ("ecg_channels", "uV"), "eeg": ("eeg_channels", "uV"), "emg": ("emg_channels", "uV"),
    "ppg": ("ppg_channels", "a.u."), "acc": ("accel_channels", "g"), "gyro": ("gyro_channels", "deg/s"),
    "eda": ("eda_channels", None), "temp": ("temperature_channels", "degC"),
}  # fmt: skip
"""Sensor to BrainFlow's name of its rows and their unit; None where boards differ and the caller must tell.

Source: brainflow.readthedocs.io, "Data Format Description".
"""
_AXES = ("x", "y", "z")


@dataclass(frozen=True, kw_only=True)
class _Feed:
    """Rows of one preset's data that make one sensor."""

    info: SensorInfo
    preset: int
    rows: tuple[int, ...]
    clock: int
    arrivals: Arrivals


class BrainFlowSource:
    """One board. Times are Unix seconds, as the board's driver stamps them.

    Parameters
    ----------
    board : str
        Name as in `brainflow.BoardIds`, without ``_BOARD``, in any case.
    params : mapping of str to str
        Fields of `brainflow.BrainFlowInputParams`, such as ``serial_port`` or ``mac_address``.
    wanted : sequence of SensorSpec
        Matched to the board's sensors by modality, or else by name.
    told : Told
        Unit where boards differ; channels of a single sensor, such as ``ecg1``.

    Raises
    ------
    SourceError
        No such board or parameter, or the board cannot be opened.
    UnknownSensor, ChannelMismatch, UnitMismatch, SampleRateMismatch
        The board has no such sensor or channel, or does not say enough.
    MissingExtra
        The package brainflow is not installed.
    """

    live = True

    def __init__(self, board: str, params: Mapping[str, str], wanted: Sequence[SensorSpec], told: Told) -> None:
        self._shim = _library()
        self._origin = f"brainflow:{board}"
        ids = {one.name.lower().removesuffix("_board"): one.value for one in self._shim.BoardIds}
        if board.lower() not in ids:
            raise SourceError(f"board {board!r}", f"one of {', '.join(sorted(ids))}", "Name a board of BrainFlow.")
        board_id = ids[board.lower()]
        self._feeds = [
            _feed(self._shim, board_id, self._origin, spec, told.of(spec.name, alone=len(wanted) == 1))
            for spec in wanted
        ]
        self.sensors: Mapping[str, SensorInfo] = {feed.info.name: feed.info for feed in self._feeds}
        self._board = self._shim.BoardShim(board_id, _inputs(self._shim, params))

    def __enter__(self) -> Self:
        try:
            self._board.prepare_session()
            self._board.start_stream()
        except self._shim.BrainFlowError as error:
            self._close()
            do = "Switch the board on, close other programs that use it, and check its port or address."
            raise SourceError(f"{self._origin}: {error}", "a board that answers", do) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with suppress(self._shim.BrainFlowError):
            if self._board.is_prepared():
                self._board.release_session()

    def chunks(self) -> Iterator[Chunk]:
        """Samples as they come; of several sensors, the leading one last.

        Raises
        ------
        SourceError
            The board was silent for too long, or cannot be read any more.
        SampleRateMismatch
            Its times show another rate than BrainFlow states.
        """
        heard = time.monotonic()
        while time.monotonic() - heard < PATIENCE_S:
            time.sleep(CHUNK_S)
            try:
                data = {preset: self._board.get_board_data(preset=preset) for preset in {f.preset for f in self._feeds}}
            except self._shim.BrainFlowError as error:
                raise SourceError(f"{self._origin}: {error}", "samples", "Connect the board again.") from error
            for feed in reversed(self._feeds):
                block = data[feed.preset]
                if block.shape[1]:
                    heard = time.monotonic()
                    yield from feed.arrivals.chunks(block[list(feed.rows)].astype(np.float32), block[feed.clock])
        raise SourceError(f"{self._origin}, silent for {PATIENCE_S:g} s", "samples", "Connect the board again.")


def _library() -> Any:
    package = needed("brainflow", "brainflow", "A board of BrainFlow")
    if sys.version_info < (3, 12) and "pkg_resources" not in sys.modules:
        # brainflow 5 asks setuptools, which has dropped this module, where its own library lies
        found = ModuleType("pkg_resources")
        found.resource_filename = lambda _, path: str(Path(str(package.__file__)).parent / path)  # type: ignore[attr-defined]
        sys.modules["pkg_resources"] = found
        try:
            shim = needed("brainflow.board_shim", "brainflow", "A board of BrainFlow")
            shim.BoardShim.disable_board_logger()  # loads the library
        finally:
            del sys.modules["pkg_resources"]
        return shim
    shim = needed("brainflow.board_shim", "brainflow", "A board of BrainFlow")
    shim.BoardShim.disable_board_logger()
    return shim


def _inputs(shim: Any, params: Mapping[str, str]) -> Any:
    inputs = shim.BrainFlowInputParams()
    for key, value in params.items():
        held = getattr(inputs, key, None)
        if key.startswith("_") or not isinstance(held, str | int):
            known = ", ".join(sorted(vars(inputs)))
            raise SourceError(f"parameter {key!r} of a board", f"one of {known}", "See BrainFlow's list of boards.")
        try:
            setattr(inputs, key, type(held)(value))
        except ValueError as error:
            raise SourceError(f"{key}={value!r}", "a whole number", "See BrainFlow's list of boards.") from error
    return inputs


def _feed(shim: Any, board_id: int, origin: str, spec: SensorSpec, told: Told) -> _Feed:
    kind = spec.modality if spec.modality in KINDS else spec.name
    layouts: dict[str, tuple[int, Any]] = {}
    for preset in shim.BoardShim.get_board_presets(board_id):
        layout = shim.BoardShim.get_board_descr(board_id, preset)
        layouts |= {
            key: (preset, layout) for key, (rows, _) in KINDS.items() if layout.get(rows) and key not in layouts
        }
    if kind not in layouts:
        came = f"{origin} without {spec.modality} for sensor {spec.name!r}"
        raise UnknownSensor(came, f"one of {', '.join(layouts)}", "Choose another board, or another bundle.")
    preset, layout = layouts[kind]
    rows, units = KINDS[kind]
    held = tuple(int(row) for row in layout[rows])
    names = _names(kind, layout, len(held))
    picked = pick_channels(origin, names, told.channels)
    info = SensorInfo(
        name=spec.name,
        fs_hz=settle_rate(origin, told.fs_hz, float(layout["sampling_rate"]), "leave it out"),
        units=settle_units(origin, told.units, units, "look it up for this board"),
        channels=tuple(names[i] for i in picked),
        origin=origin,
    )
    arrivals = Arrivals(spec.name, origin, info.fs_hz)
    clock = int(layout["timestamp_channel"])
    return _Feed(info=info, preset=preset, rows=tuple(held[i] for i in picked), clock=clock, arrivals=arrivals)


def _names(kind: str, layout: Mapping[str, Any], n: int) -> tuple[str, ...]:
    if kind == "eeg" and layout.get("eeg_names"):
        return tuple(str(layout["eeg_names"]).split(","))
    if kind in ("acc", "gyro") and n == len(_AXES):
        return _AXES
    return tuple(f"{kind}{i + 1}" for i in range(n)) if n > 1 else (kind,)
