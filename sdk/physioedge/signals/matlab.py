"""Recordings from MATLAB files of the formats 4 to 7, with the names of `physioedge.signals.npz`.

::

    samples = ecg';  fs_hz = 250;  units = 'mV';  channels = {'MLII', 'V5'};
    save('record.mat', 'samples', 'fs_hz', 'units', 'channels', '-v7')

Names of the shape decide what is a channel: with two names, the axis of length 2. A vector is one channel.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.foreign import needed, reading
from physioedge.signals.npz import recording_of
from physioedge.signals.recording import Recording
from physioedge.signals.stated import read_bytes
from physioedge_runtime.errors import RecordError

MAX_BYTES = 1 << 30
SAMPLES, NAMES = ("samples", "sig", "val"), ("channels", "ch_names")
_RENAMED = {"val": "samples", "Fs": "fs_hz"}
_HDF5 = b"\x89HDF"


def read_matlab(
    path: Path, *, fs_hz: float | None = None, units: str | None = None, channels: Sequence[str] | None = None
) -> Recording:
    """Recording of a MATLAB file; parameters and errors as `physioedge.signals.npz.read_npz`.

    Raises
    ------
    MissingExtra
        The package scipy is not installed.
    """
    scipy_io = needed("scipy.io", "matlab", "A MATLAB file")
    data = read_bytes(path, MAX_BYTES)
    if data.startswith(_HDF5) or data[512:516] == _HDF5:
        do = "Save it again in MATLAB with the option '-v7'."
        raise RecordError(f"{path}: a MATLAB file of format 7.3", "format 4 to 7", do)
    with reading(path, "a MATLAB file of numbers and texts"):
        held = scipy_io.loadmat(io.BytesIO(data), chars_as_strings=True, mat_dtype=True)
        values = {_RENAMED.get(k, k): np.asarray(v) for k, v in held.items() if not k.startswith("__")}
        plain = {name: _plain(array) for name, array in values.items()}
        found = {name: array for name, array in plain.items() if array is not None}
        if "samples" in found or "sig" in found:
            _turn(path, found, channels)
    return recording_of(path, found, fs_hz, units, channels)


def _plain(array: NDArray[Any]) -> NDArray[Any] | None:
    """Numbers as they are, texts and cells of texts as texts; None for everything else that MATLAB knows."""
    if array.dtype.kind in "fiu":
        return array.reshape(()) if array.size == 1 else array
    if array.dtype.kind == "U":
        return np.array([text.strip() for text in array.reshape(-1).tolist()])
    if array.dtype.kind == "O":
        cells = [np.asarray(cell) for cell in array.reshape(-1)]
        if cells and all(cell.dtype.kind == "U" and cell.size == 1 for cell in cells):
            return np.array([str(cell.reshape(-1)[0]).strip() for cell in cells])
    return None


def _turn(path: Path, found: dict[str, NDArray[Any]], channels: Sequence[str] | None) -> None:
    """Put channels first, and say so only where it is certain which axis they are."""
    key = "samples" if "samples" in found else "sig"
    samples = np.atleast_2d(found[key])
    names = _n_names(found, channels)
    if samples.ndim == 2:
        if 1 in samples.shape:
            samples = samples.reshape(1, -1)
        elif names in samples.shape and samples.shape[0] != samples.shape[1]:
            samples = samples if samples.shape[0] == names else samples.T
        else:
            came = f"{path}: samples of shape {samples.shape} with {names or 'no'} channel names"
            raise RecordError(came, "a name for each channel", "Save 'channels', a cell array of names, with them.")
    found[key] = samples


def _n_names(found: Mapping[str, NDArray[Any]], channels: Sequence[str] | None) -> int:
    listed = next((found[name] for name in NAMES if name in found), None)
    return int(listed.size) if listed is not None else len(channels or ())
