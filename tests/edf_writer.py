"""EDF and BDF files for tests, written with edfio; EDF+D by moving the times of an EDF+ file."""

from __future__ import annotations

import edfio
import numpy as np

SECONDS, RECORD_S = 12, 2


def waves(fs_hz, seconds=SECONDS, hz=1.0):
    return np.sin(2 * np.pi * hz * np.arange(int(fs_hz * seconds)) / fs_hz)


def write(path, *, plus=True):
    """ECG at 250 Hz in mV twice, respiration at 25 Hz without a unit; data records of two seconds."""
    suffix = path.suffix
    signal = edfio.EdfSignal if suffix == ".edf" else edfio.BdfSignal
    limits = (-32768, 32767) if suffix == ".edf" else (-(1 << 23), (1 << 23) - 1)
    made = [
        signal(waves(250), 250, label="ECG", physical_dimension="mV", physical_range=(-2, 2), digital_range=limits),
        signal(-waves(250), 250, label="V5", physical_dimension="MV", physical_range=(-2, 2), digital_range=limits),
        signal(waves(25), 25, label="Resp", physical_range=(-2, 2), digital_range=limits),
    ]
    kind = edfio.Edf if suffix == ".edf" else edfio.Bdf
    notes = [edfio.EdfAnnotation(1.0, None, "sit")] if plus else None
    kind(made, patient=edfio.Patient(code="P07"), data_record_duration=RECORD_S, annotations=notes).write(path)
    return path


def discontinuous(path, late_s):
    """The same EDF+ file with its data records from the fourth on `late_s` later."""
    data = bytearray(path.read_bytes())
    data[192:197] = b"EDF+D"
    for record in range(3, SECONDS // RECORD_S):
        old, new = f"+{record * RECORD_S}\x14\x14".encode(), f"+{record * RECORD_S + late_s}\x14\x14".encode()
        at = data.index(old)
        spare = len(new) - len(old)
        data[at : at + len(new)] = new
        assert spare >= 0  # the annotation signal is padded with zeros
    path.write_bytes(data)
    return path
