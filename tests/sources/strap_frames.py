"""Frames of a Polar strap, built by the layout of its specification."""

from __future__ import annotations

import struct


def ecg_frame(t_ns, microvolts):
    return (
        b"\x00"
        + struct.pack("<Q", t_ns)
        + b"\x00"
        + b"".join(int(v).to_bytes(3, "little", signed=True) for v in microvolts)
    )


def acc_frame(t_ns, rows):
    return b"\x02" + struct.pack("<Q", t_ns) + b"\x01" + b"".join(struct.pack("<3h", *row) for row in rows)
