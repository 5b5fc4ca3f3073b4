"""Recordings from NumPy archives, of one sensor or of several.

Keys: ``samples`` or ``sig`` (channel, sample); ``fs_hz`` or ``fs``; ``units``, one for all or one a channel;
``channels`` or ``ch_names``. Whole-number samples need ``gain`` and ``baseline`` by channel: the values are
``(sample - baseline) / gain``. Optional: ``time_s``, one a sample, against which the rate is checked; ``name``,
``subject``, ``ann_sample``, ``ann_symbol``, ``ann_aux``.
Several sensors of one person: the same keys with the sensor's name and a dot before them (``ppg.samples``,
``ppg.fs_hz``, ``acc.samples``, ...), and ``<sensor>.t0_s``, the time of its first sample on a clock that all share;
``name`` and ``subject`` without a sensor. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Annotations, Recording, Session
from physioedge.signals.stated import check_times, pick_channels, read_bytes, settle_rate, settle_units
from physioedge_runtime.errors import ChannelMismatch, RecordError, UnitMismatch

MAX_BYTES = 1 << 30
MAX_UNPACKED_BYTES = 1 << 32
_END = ".samples.npy"


def read_npz(
    path: Path, *, fs_hz: float | None = None, units: str | None = None, channels: Sequence[str] | None = None
) -> Recording:
    """Recording of a NumPy archive.

    Parameters
    ----------
    path : Path
    fs_hz : float, optional
        Rate, needed where the file does not state it; where both do they must agree.
    units : str, optional
        Likewise.
    channels : sequence of str, optional
        Which rows, in which order; in a file without channel names, the names of all its rows.

    Raises
    ------
    RecordError
        Empty, truncated, not an archive, without samples, not numbers, or not finite.
    SampleRateMismatch, UnitMismatch, ChannelMismatch
        Rate, unit or channels are not stated, or stated twice and differently.
    """
    return recording_of(path, _load(path), fs_hz, units, channels)


def sensor_names(path: Path) -> tuple[str, ...]:
    """Sensors of an archive of several, in its order; none for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(_END) for name in archive.namelist() if name.endswith(_END)]
    except (zipfile.BadZipFile, OSError, ValueError):
        return ()
    return tuple(dict.fromkeys(name for name in names if name and "." not in name))


def read_npz_session(path: Path) -> Session:
    """All sensors of a NumPy archive of several.

    Raises
    ------
    RecordError, SampleRateMismatch, UnitMismatch, ChannelMismatch
        As `read_npz`; here the file must state everything.
    """
    values, names = _load(path), sensor_names(path)
    if not names:
        came = f"{path}: the arrays {', '.join(values) or 'none'}"
        raise RecordError(came, "<sensor>.samples for each sensor", "Save each sensor's arrays under its name.")
    shared: dict[str, NDArray[Any]] = {key: values[key] for key in ("name", "subject") if key in values}
    recordings = {}
    for name in names:
        own = {key.removeprefix(f"{name}."): array for key, array in values.items() if key.startswith(f"{name}.")}
        where = path.with_name(f"{path.name}, sensor {name}")  # for messages
        recordings[name] = replace(recording_of(where, {**own, **shared}, None, None, None), source=path)
    return Session(subject=_text(values, "subject", path.stem), recordings=recordings)


def recording_of(
    path: Path,
    values: dict[str, NDArray[Any]],
    fs_hz: float | None,
    units: str | None,
    channels: Sequence[str] | None,
) -> Recording:
    """Recording of named arrays, as of an archive; parameters and errors as `read_npz`."""
    samples = _samples(path, values)
    names = _names(path, values, samples.shape[0], channels)
    rate = settle_rate(path, fs_hz, _number(path, values, "fs_hz", "fs"), "save fs_hz with the samples")
    times = _first(values, "time_s")
    if times is not None:
        check_times(path, _times(path, times, samples.shape[1]), rate, lambda at: f"time_s[{at}]")
    rows = pick_channels(path, names, channels)
    return Recording(
        samples=np.ascontiguousarray(samples[rows]),
        fs_hz=rate,
        units=settle_units(path, units, _units(path, values, rows), "save units with the samples"),
        channels=tuple(names[i] for i in rows),
        name=_text(values, "name", path.stem),
        subject=_text(values, "subject", path.stem),
        t0_s=_number(path, values, "t0_s") or 0.0,
        annotations=_annotations(path, values),
        source=path,
    )


def _load(path: Path) -> dict[str, NDArray[Any]]:
    data = read_bytes(path, MAX_BYTES)
    do = "Save it again with numpy.savez_compressed, with plain arrays only."
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise RecordError(f"{path}: {unpacked} bytes unpacked", f"at most {MAX_UNPACKED_BYTES}", "Cut it in parts.")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError, NotImplementedError) as error:
        raise RecordError(f"{path}: not a readable .npz ({error})", "an archive of plain arrays", do) from error


def _first(values: dict[str, NDArray[Any]], *keys: str) -> NDArray[Any] | None:
    return next((values[key] for key in keys if key in values), None)


def _samples(path: Path, values: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    found = _first(values, "samples", "sig")
    if found is None:
        came = f"{path}: the arrays {', '.join(values) or 'none'}"
        raise RecordError(came, "an array 'samples' (channel, sample)", "Save the samples under that name.")
    if found.ndim != 2 or found.dtype.kind not in "fiu" or 0 in found.shape:
        came = f"{path}: samples of shape {found.shape} and type {found.dtype}"
        raise RecordError(came, "numbers (channel, sample)", "Put channels first; one channel is (1, n).")
    if found.dtype.kind in "iu":
        gain, baseline = _first(values, "gain"), _first(values, "baseline")
        fits = all(x is not None and x.dtype.kind in "fiu" and x.size == found.shape[0] for x in (gain, baseline))
        if gain is None or baseline is None or not fits or not (np.isfinite(gain).all() and (gain != 0).all()):
            came = f"{path}: whole-number samples without gain and baseline by channel"
            raise RecordError(came, "both, or float samples in physical units", "Convert with (x - baseline) / gain.")
        found = (found.astype(np.float64) - baseline.reshape(-1, 1)) / gain.reshape(-1, 1)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite and is refused below
        samples = found.astype(np.float32)
    if not np.isfinite(samples).all():
        channel, at = np.argwhere(~np.isfinite(samples))[0]
        came = f"{path}: {samples[channel, at]} at sample {at} of channel {channel}"
        raise RecordError(came, "finite numbers", "Split the file where samples are missing, or fill them knowingly.")
    return samples


def _names(
    path: Path, values: dict[str, NDArray[Any]], n_channels: int, channels: Sequence[str] | None
) -> tuple[str, ...]:
    found = _first(values, "channels", "ch_names")
    names = tuple(str(name) for name in found.reshape(-1)) if found is not None else tuple(channels or ())
    if len(names) != n_channels:
        came = f"{path}: {len(names)} channel names for {n_channels} rows"
        raise ChannelMismatch(came, "a name for each row", "Save 'channels', or state them with --channel (channels=).")
    return names


def _number(path: Path, values: dict[str, NDArray[Any]], *keys: str) -> float | None:
    found = _first(values, *keys)
    if found is None:
        return None
    if found.size != 1 or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        came = f"{path}: {keys[0]} of shape {found.shape} and type {found.dtype}"
        raise RecordError(came, "one number", f"Save one finite {keys[0]}.")
    return float(found.reshape(-1)[0])


def _times(path: Path, found: NDArray[Any], n_samples: int) -> NDArray[np.float64]:
    if found.size != n_samples or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        came = f"{path}: time_s of shape {found.shape} and type {found.dtype} for {n_samples} samples"
        raise RecordError(came, "one finite number a sample", "Save the times again, or leave them out.")
    return found.reshape(-1).astype(np.float64)


def _units(path: Path, values: dict[str, NDArray[Any]], rows: list[int]) -> str | None:
    found = _first(values, "units")
    if found is None:
        return None
    listed = [str(unit) for unit in found.reshape(-1)]
    chosen = {listed[i] for i in rows if i < len(listed)} if len(listed) > 1 else set(listed)
    if len(chosen) != 1:
        came = f"{path}: units {', '.join(sorted(chosen)) or 'none'}"
        raise UnitMismatch(came, "one unit for a recording", "Choose channels of one unit.")
    return chosen.pop()


def _text(values: dict[str, NDArray[Any]], key: str, otherwise: str) -> str:
    found = _first(values, key)
    return str(found.reshape(-1)[0]) if found is not None and found.size == 1 else otherwise


def _annotations(path: Path, values: dict[str, NDArray[Any]]) -> Annotations | None:
    sample, symbol = _first(values, "ann_sample"), _first(values, "ann_symbol")
    if sample is None or symbol is None:
        return None
    note = _first(values, "ann_aux")
    notes = tuple(str(n) for n in note.reshape(-1)) if note is not None else ("",) * sample.size
    if sample.dtype.kind not in "iu" or not sample.size == symbol.size == len(notes):
        came = f"{path}: {sample.size} ann_sample ({sample.dtype}), {symbol.size} ann_symbol, {len(notes)} ann_aux"
        raise RecordError(came, "as many of each, samples in whole numbers", "Save the annotations again.")
    symbols = tuple(str(s) for s in symbol.reshape(-1))
    return Annotations(sample=sample.reshape(-1).astype(np.int64), symbol=symbols, note=notes)
