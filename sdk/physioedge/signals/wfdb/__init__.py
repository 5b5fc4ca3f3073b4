"""WFDB records (PhysioNet's ``.hea``, ``.dat``, ``.atr``) with numpy alone, so that a device install can stream them.

One segment, formats 16, 24, 32, 61, 80, 160 and 212; signals of several rates are read, one rate for each recording.
Whatever else the standard allows is refused by name: a record is read rightly or not at all.
"""

from physioedge.signals.wfdb.read import read_digital, read_lanes, read_wfdb
from physioedge.signals.wfdb.write import cut_wfdb

__all__ = ["cut_wfdb", "read_digital", "read_lanes", "read_wfdb"]
