"""What every dataset module offers: facts on the set, its labels with their times, checked reading of its files."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Recording, Session
from physioedge_runtime.errors import DatasetError, SampleRateMismatch, ShapeError, UnitMismatch

NUMBER, TEXT = "number", "text"
_KINDS = {NUMBER: "iuf", TEXT: "U"}
_AGAIN = "Download it again, as docs/datasets.md says."
_BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Facts on a public dataset.

    Attributes
    ----------
    name : str
        Name used everywhere: folder, subject ids, split file.
    title : str
        One line: what, how many, at which rates.
    licence, licence_note : str
        SPDX id or words; what else to know before passing excerpts on.
    citation, source, get : str
        What to cite, where it comes from, what to download and where to put it.
    modalities, tasks : tuple of str
        Kinds of sensor; names of the results it is used for.
    records, subjects : int, int or None
        How many this project uses; None where nobody published who is who.
    hours : float
        Length of all recordings.
    evaluation_only : bool
        Nothing that is shipped may be fitted on it.
    weights_shippable, excerpts_shippable : bool
        Weights fitted on it, excerpts of it, may be committed.
    traps : tuple of str
        What goes wrong when it is used without care.
    """

    name: str
    title: str
    licence: str
    licence_note: str = ""
    citation: str
    source: str
    get: str
    modalities: tuple[str, ...]
    tasks: tuple[str, ...]
    records: int
    subjects: int | None
    hours: float
    evaluation_only: bool = False
    weights_shippable: bool = True
    excerpts_shippable: bool = True
    traps: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels or reference values of stretches of time.

    Attributes
    ----------
    start_s, end_s : float64 (n,)
        In the clock of the recording (its ``t0_s``); the end is not included.
    value : int64 (n,), or float32 (n,) or (n, k)
        Class codes as the source has them, or reference values.
    units : str
        ``class``, or the unit of the values.
    columns : tuple of str
        Names of the k values; ``("label",)`` for classes.
    meaning : mapping of int to str
        Every class code the source can hold; empty for values.

    Raises
    ------
    ShapeError
        The parts do not fit together, or a class code has no meaning.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    value: NDArray[Any]
    units: str
    columns: tuple[str, ...]
    meaning: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.start_s) == len(self.end_s) == len(self.value):
            raise ShapeError(
                f"{len(self.start_s)} starts, {len(self.end_s)} ends, {len(self.value)} values",
                "as many of each",
                "Give every stretch a start, an end and a value.",
            )
        if np.any(self.end_s <= self.start_s):
            raise ShapeError("a stretch that ends before it starts", "start < end", "Check the times.")
        width = 1 if self.value.ndim == 1 else self.value.shape[1]
        if len(self.columns) != width:
            raise ShapeError(f"{len(self.columns)} names of {width} columns", "one each", "Name every column.")
        strange = set(self.value.ravel().tolist()) - set(self.meaning) if self.meaning else set()
        if strange:
            raise ShapeError(f"class codes {sorted(strange)}", f"{sorted(self.meaning)}", "Check the label map.")


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Separate windows of one person; no time between them is claimed unless `start_s` says it.

    Attributes
    ----------
    samples : float32 (window, channel, sample)
        In `units`.
    fs_hz : float
    units : str
    channels : tuple of str
    name, subject : str
    start_s : float64 (window,) or None
    source : Path or None

    Raises
    ------
    ShapeError, SampleRateMismatch, UnitMismatch
        The parts do not fit together.
    """

    samples: NDArray[np.float32]
    fs_hz: float
    units: str
    channels: tuple[str, ...]
    name: str
    subject: str
    start_s: NDArray[np.float64] | None = None
    source: Path | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.samples.shape, self.samples.dtype
        if len(shape) != 3 or dtype != np.float32 or shape[1] != len(self.channels):
            came = f"samples of shape {shape} and type {dtype} with {len(self.channels)} channel names"
            raise ShapeError(came, "float32 (window, channel, sample)", "Put windows first, then channels.")
        if self.start_s is not None and len(self.start_s) != shape[0]:
            raise ShapeError(f"{len(self.start_s)} starts of {shape[0]} windows", "one each", "Give all or none.")
        if not (np.isfinite(self.fs_hz) and self.fs_hz > 0):
            raise SampleRateMismatch(f"fs_hz={self.fs_hz}", "a positive rate", "State the sensor's sampling rate.")
        if not self.units:
            raise UnitMismatch("no unit", "a physical unit or 'a.u.'", "Say the unit of the samples.")


class Dataset(Protocol):
    """A module of this package that reads one set. Sets of separate windows have ``windows`` in place of ``load``."""

    INFO: DatasetInfo

    def records(self, root: Path | None = None) -> tuple[str, ...]:
        """Records that are here, sorted."""

    def subjects(self, root: Path | None = None) -> tuple[str, ...]:
        """People of the records that are here, sorted."""

    def subject_of(self, record: str, root: Path | None = None) -> str:
        """Person of a record, as ``<set>:<id>``."""

    def load(self, record: str, root: Path | None = None) -> Recording | Session:
        """Signals of one record."""


def read_npz(path: Path, kinds: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Arrays of a packed record, each decompressed once.

    Parameters
    ----------
    path : Path
    kinds : mapping of str to str
        Keys that must be there, and for each `NUMBER` or `TEXT`.

    Raises
    ------
    DatasetError
        The file is absent or damaged, a key is missing, or an array is of another kind.
    """
    try:
        # opened here: numpy leaves the file open when the archive in it is damaged
        with path.open("rb") as stream, zipfile.ZipFile(stream):
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                absent = [key for key in kinds if key not in file.files]
                found = {key: file[key] for key in kinds if key not in absent}
    except _BROKEN as error:
        raise DatasetError(f"{path}: {type(error).__name__} {error}", "a packed record", _AGAIN) from error
    if absent:
        raise DatasetError(f"{path} without {', '.join(absent)}", f"the keys {', '.join(kinds)}", _AGAIN)
    for key, kind in kinds.items():
        if found[key].dtype.kind not in _KINDS[kind]:
            raise DatasetError(f"{path}: {key} of type {found[key].dtype}", f"an array of {kind}s", _AGAIN)
    return found


def require(holds: bool, path: Path, came: str, expected: str) -> None:
    """Check on a file's content.

    Raises
    ------
    DatasetError
        It does not hold.
    """
    if not holds:
        raise DatasetError(f"{path}: {came}", expected, _AGAIN)


def packed_records(folder: Path, pattern: str = "*.npz") -> tuple[str, ...]:
    """Names of the packed records of a folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob(pattern)))
