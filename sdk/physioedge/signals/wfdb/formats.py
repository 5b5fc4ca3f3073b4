"""Sample storage of WFDB signal files: bytes to whole numbers and back.

Source: signal(5) of the WFDB Applications Guide, https://physionet.org/physiotools/wag/signal-5.htm
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import RecordError

INVALID = {212: -2048, 16: -32768, 61: -32768, 80: -128, 160: -32768, 24: -(1 << 23), 32: -(1 << 31)}
"""Formats that are read, each with the number that stands for a missing sample."""


def bytes_needed(fmt: int, count: int) -> int:
    """Bytes of `count` samples in a format; an odd last sample of format 212 takes two."""
    if fmt == 212:
        return count // 2 * 3 + count % 2 * 2
    return count * {16: 2, 61: 2, 160: 2, 80: 1, 24: 3, 32: 4}[fmt]


def samples_held(fmt: int, size: int) -> int:
    """Whole samples in `size` bytes."""
    if fmt == 212:
        return size // 3 * 2 + (1 if size % 3 == 2 else 0)
    return size // bytes_needed(fmt, 1)


def decode(data: bytes, fmt: int, count: int) -> NDArray[np.int64]:
    """The first `count` samples of a file, in file order.

    Parameters
    ----------
    data : bytes
        At least ``bytes_needed(fmt, count)`` of them.
    fmt : int
        One of `INVALID`.
    count : int

    Returns
    -------
    int64 (count,)
    """
    raw = np.frombuffer(data, np.uint8, bytes_needed(fmt, count))
    if fmt == 212:
        return _decode_212(raw, count)
    if fmt == 80:
        return raw.astype(np.int64) - 128
    if fmt == 160:
        return raw.view("<u2").astype(np.int64) - 32768
    if fmt == 24:
        parts = raw.reshape(-1, 3).astype(np.int64)
        value = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
        return (value ^ 0x800000) - 0x800000
    return raw.view({16: "<i2", 61: ">i2", 32: "<i4"}[fmt]).astype(np.int64)


def _decode_212(raw: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Pairs of 12-bit numbers in three bytes: low byte, both high nibbles, low byte of the second."""
    padded = np.zeros(-(-count // 2) * 3, np.int64)
    padded[: raw.size] = raw
    low, nibbles, second = padded.reshape(-1, 3).T
    value = np.empty(padded.size // 3 * 2, np.int64)
    value[0::2] = low | (nibbles & 0x0F) << 8
    value[1::2] = second | (nibbles & 0xF0) << 4
    return ((value ^ 0x800) - 0x800)[:count]


def encode_212(samples: NDArray[np.int64]) -> bytes:
    """Bytes of samples in format 212, the inverse of `decode`.

    Raises
    ------
    RecordError
        A sample does not fit into 12 bits.
    """
    if samples.size and (samples.min() < -2048 or samples.max() > 2047):
        came = f"samples from {samples.min()} to {samples.max()}"
        raise RecordError(came, "12-bit samples for format 212", "Choose another format.")
    pairs = np.zeros((-(-samples.size // 2), 2), np.int64)
    pairs.reshape(-1)[: samples.size] = samples & 0xFFF
    packed = np.stack([pairs[:, 0] & 0xFF, pairs[:, 0] >> 8 | (pairs[:, 1] >> 8) << 4, pairs[:, 1] & 0xFF], axis=1)
    return packed.astype(np.uint8).tobytes()[: bytes_needed(212, samples.size)]


def checksum(samples: NDArray[np.int64]) -> int:
    """Sum of the samples as a signed 16-bit number, as headers state it."""
    return (int(samples.sum()) + 0x8000) % 0x10000 - 0x8000
