"""WFDB records for tests, written without the reader's own code: 16-bit samples and a header as PhysioNet has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_record(
    record: Path,
    signals: Sequence[tuple[str, str, float, NDArray[np.float64]]],
    fs_hz: float,
    comments: Sequence[str] = (),
) -> None:
    """Write ``<record>.hea`` and ``<record>.dat``; each signal is its description, unit, gain and values."""
    digital = np.stack([np.rint(np.nan_to_num(values, nan=0.0) * gain) for _, _, gain, values in signals])
    digital[np.stack([np.isnan(values) for *_, values in signals])] = -32768  # how the format says missing
    columns = digital.astype("<i2")
    lines = [f"{record.name} {len(signals)} {fs_hz:g} {columns.shape[1]}"]
    for (name, unit, gain, _), row in zip(signals, columns, strict=True):
        total = int(row.astype(np.int64).sum()) & 0xFFFF
        checksum = total - 0x10000 if total & 0x8000 else total
        lines.append(f"{record.name}.dat 16 {gain:g}(0)/{unit} 16 0 {row[0]} {checksum} 0 {name}")
    lines += [f"#{comment}" for comment in comments]
    record.with_suffix(".hea").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8", newline="")
    record.with_suffix(".dat").write_bytes(columns.T.tobytes())


def write_marks(path: Path, marks: Sequence[tuple[int, int, str]]) -> None:
    """Write annotations as (sample, code, note), in the order given: later ones may lie before earlier ones."""
    words, now = bytearray(), 0
    for sample, code, note in marks:
        step, now = sample - now, sample
        words += (59 << 10).to_bytes(2, "little")  # SKIP, then a 32-bit step, high half first
        words += (step >> 16 & 0xFFFF).to_bytes(2, "little") + (step & 0xFFFF).to_bytes(2, "little")
        words += (code << 10).to_bytes(2, "little")
        if note:
            text = note.encode()
            words += (63 << 10 | len(text)).to_bytes(2, "little") + text + b"\0" * (len(text) % 2)
    path.write_bytes(bytes(words) + b"\0\0")
