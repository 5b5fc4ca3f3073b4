"""Raw data files of Empatica's newer wristbands, in Apache Avro.

Source: "Raw data in the Empatica Cloud", support.empatica.com: one record a file; under ``rawData`` each sensor with
``timestampStart`` in microseconds since 1970, ``samplingFrequency`` in Hz and its values. Accelerometers hold counts
and how many of them make their physical range, in g; EDA is in microsiemens, temperature in degrees Celsius. The pulse
wave has no unit that could be compared between devices.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.foreign import needed, reading
from physioedge.signals.recording import Recording, Session
from physioedge.signals.stated import read_bytes
from physioedge_runtime.errors import RecordError, SampleRateMismatch

SUFFIX = ".avro"
MAX_BYTES = 1 << 30
STREAMS = {
    "ppg": ("bvp", "a.u.", ("BVP",)),
    "acc": ("accelerometer", "g", ("x", "y", "z")),
    "eda": ("eda", "uS", ("EDA",)),
    "temp": ("temperature", "degC", ("TEMP",)),
}
"""Sensor to name in the file, unit and channels; the names are those of an E4 (`physioedge.datasets.e4`)."""
_WANTED = "an Avro file of Empatica with rawData"


def read_empatica_avro(path: Path) -> Session:
    """Session of one file, as far as its sensors recorded anything; times are Unix seconds.

    Raises
    ------
    RecordError
        The file cannot be read, is of another schema, or holds no samples.
    SampleRateMismatch
        A sensor has samples and no rate.
    MissingExtra
        The package fastavro is not installed.
    """
    fastavro = needed("fastavro", "avro", "An Avro file")
    data = read_bytes(path, MAX_BYTES)
    with reading(path, _WANTED):
        records = list(fastavro.reader(io.BytesIO(data)))
        if len(records) != 1 or not isinstance(records[0].get("rawData"), dict):
            raise RecordError(f"{path}: {len(records)} records", _WANTED, "Name a raw data file of Empatica's cloud.")
        raw, enrolled = records[0]["rawData"], records[0].get("enrollment") or {}
        subject = str(enrolled.get("participantID") or path.stem)
        found = {name: _sensor(path, name, raw.get(key), subject) for name, (key, _, _) in STREAMS.items()}
    recordings = {name: recording for name, recording in found.items() if recording is not None}
    if not recordings:
        raise RecordError(f"{path}: no samples of {', '.join(STREAMS)}", "at least one sensor", "Name another file.")
    return Session(subject=subject, recordings=recordings)


def _sensor(path: Path, name: str, held: Mapping[str, Any] | None, subject: str) -> Recording | None:
    _, units, channels = STREAMS[name]
    if not held:
        return None
    columns = [held[axis] for axis in channels] if name == "acc" else [held["values"]]
    if not columns[0]:
        return None
    samples = np.array(columns, np.float64)
    if name == "acc":
        samples = samples * _g_a_count(path, held["imuParams"])
    fs_hz = float(held.get("samplingFrequency") or 0.0)
    if not (np.isfinite(fs_hz) and fs_hz > 0):
        do = "The file is damaged: download it again."
        raise SampleRateMismatch(f"{path}: {name} at {fs_hz:g} Hz", "the rate of its samples", do)
    values: NDArray[np.float32] = samples.astype(np.float32)
    if not np.isfinite(values).all():
        raise RecordError(f"{path}: {name} with values that are not finite", "numbers", "Download the file again.")
    return Recording(
        samples=values,
        fs_hz=fs_hz,
        units=units,
        channels=channels,
        name=path.stem,
        subject=subject,
        t0_s=int(held["timestampStart"]) / 1e6,
        source=path,
    )


def _g_a_count(path: Path, params: Mapping[str, Any]) -> float:
    if params.get("conversionFactor"):
        return float(params["conversionFactor"])
    counts = float(params["digitalMax"]) - float(params["digitalMin"])
    scale = (float(params["physicalMax"]) - float(params["physicalMin"])) / counts if counts > 0 else 0.0
    if not 0 < scale < 1:
        raise RecordError(
            f"{path}: an accelerometer without a range", "how many counts make one g", "Download it again."
        )
    return scale
