"""What heart-rate straps send over Bluetooth Low Energy, byte by byte. No radio here.

Sources: "Heart Rate Service" 1.0 and "Heart Rate Measurement" of the Bluetooth SIG's GATT Specification Supplement;
"Polar Measurement Data Specification" of Polar's BLE SDK (github.com/polarofficial/polar-ble-sdk).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import RecordError, SourceError

HEART_RATE_SERVICE = "0000180d-0000-1000-8000-00805f9b34fb"
HEART_RATE_MEASUREMENT = "00002a37-0000-1000-8000-00805f9b34fb"
PMD_SERVICE = "fb005c80-02e7-f387-1cad-8acd2d8df0c8"
PMD_CONTROL = "fb005c81-02e7-f387-1cad-8acd2d8df0c8"
PMD_DATA = "fb005c82-02e7-f387-1cad-8acd2d8df0c8"

ECG, ACC = "ecg", "acc"
ECG_HZ, ACC_HZ = 130, (25, 50, 100, 200)
UNITS = {ECG: "uV", ACC: "g"}
CHANNELS = {ECG: ("ecg",), ACC: ("x", "y", "z")}
_TYPES = {ECG: 0x00, ACC: 0x02}
_START, _REPLY = 0x02, 0xF0
_RATE, _RESOLUTION, _RANGE = 0x00, 0x01, 0x02
_SETTINGS = {ECG: ((_RESOLUTION, 14),), ACC: ((_RESOLUTION, 16), (_RANGE, 8))}
_ALREADY = 6
_REFUSALS = (
    "", "invalid operation", "invalid measurement type", "not supported", "invalid length", "invalid parameter",
    "already running", "invalid resolution", "invalid sample rate", "invalid range", "MTU too small",
    "invalid number of channels", "invalid state", "device in charger",
)  # fmt: skip
_EPOCH_S = 946_684_800  # Polar's clock counts from 2000-01-01, Unix time from 1970
_G_A_COUNT = 1e-3


@dataclass(frozen=True, kw_only=True)
class HeartRate:
    """One notification of the heart-rate service.

    Attributes
    ----------
    bpm : int
    contact : bool or None
        Whether the strap touches the skin; None where it cannot tell.
    energy_kj : int or None
    rr_s : tuple of float
        Intervals between beats since the last notification, oldest first.
    """

    bpm: int
    contact: bool | None
    energy_kj: int | None
    rr_s: tuple[float, ...]


def parse_heart_rate(data: bytes) -> HeartRate:
    """A value of the characteristic 0x2A37.

    Raises
    ------
    RecordError
        The bytes end early, or there are half a number too many.
    """
    if len(data) < 2:
        raise _bad("a heart rate", data)
    flags, at = data[0], 1
    wide = flags & 0x01
    if len(data) < at + 1 + wide + (2 if flags & 0x08 else 0):
        raise _bad("a heart rate", data)
    bpm = int.from_bytes(data[at : at + 1 + wide], "little")
    at += 1 + wide
    energy = None
    if flags & 0x08:
        energy, at = int.from_bytes(data[at : at + 2], "little"), at + 2
    rest = data[at:]
    if len(rest) % 2 or (rest and not flags & 0x10):
        raise _bad("a heart rate", data)
    rr_s = tuple(count / 1024 for (count,) in struct.iter_unpack("<H", rest))
    contact = bool(flags & 0x02) if flags & 0x04 else None
    return HeartRate(bpm=bpm, contact=contact, energy_kj=energy, rr_s=rr_s)


@dataclass(frozen=True, kw_only=True)
class PolarFrame:
    """One notification of measurement data.

    Attributes
    ----------
    kind : str
        ``ecg`` or ``acc``.
    t_last_s : float
        Time of the last sample by the strap's clock, as Unix time.
    samples : float32 (channel, sample)
        In `UNITS`.
    """

    kind: str
    t_last_s: float
    samples: NDArray[np.float32]


def parse_polar(data: bytes) -> PolarFrame:
    """A value of Polar's data characteristic.

    Raises
    ------
    RecordError
        Another measurement or form of frame than asked for, or no whole number of samples.
    """
    kinds = {number: kind for kind, number in _TYPES.items()}
    kind = kinds.get(data[0]) if len(data) > 10 else None
    if kind is None:
        raise _bad("Polar measurement data", data)
    t_last_s = int.from_bytes(data[1:9], "little") * 1e-9 + _EPOCH_S
    body = np.frombuffer(data, np.uint8, offset=10)
    if kind == ECG and data[9] == 0x00 and len(body) % 3 == 0:
        parts = body.reshape(-1, 3).astype(np.int32)
        value = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
        samples = ((value ^ 0x800000) - 0x800000).astype(np.float32)[None]
    elif kind == ACC and data[9] == 0x01 and len(body) % 6 == 0:
        counts = body.view("<i2").reshape(-1, 3).T
        samples = (counts * _G_A_COUNT).astype(np.float32)
    else:
        raise _bad(f"a frame of {kind}", data)
    return PolarFrame(kind=kind, t_last_s=t_last_s, samples=samples)


def polar_start(kind: str, fs_hz: int) -> bytes:
    """What to write to Polar's control point for a measurement to start."""
    settings = ((_RATE, fs_hz), *_SETTINGS[kind])
    return bytes([_START, _TYPES[kind]]) + b"".join(struct.pack("<BBH", key, 1, value) for key, value in settings)


def check_polar_reply(data: bytes) -> None:
    """Look at what the control point answers to a start.

    Raises
    ------
    SourceError
        The strap refuses.
    """
    if len(data) < 4 or data[0] != _REPLY or data[1] != _START or data[3] in (0, _ALREADY):
        return
    why = _REFUSALS[data[3]] if data[3] < len(_REFUSALS) else f"error {data[3]}"
    raise SourceError(f"a Polar strap that refuses to start ({why})", "a strap on the skin", "Moisten and wear it.")


def _bad(what: str, data: bytes) -> RecordError:
    return RecordError(f"{len(data)} bytes {data[:16].hex()} for {what}", "a whole one", "Update the strap's firmware.")
