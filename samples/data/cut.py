"""Cut the sample records out of the original MIT-BIH files: python samples/data/cut.py FOLDER_OF_DATASETS.

Writes the three records of this folder and the excerpt in the runtime's assets. ADC values stay as they are; only the
headers' counts, first values and checksums change. Run twice, it writes the same bytes. The folder holds ``mitbih``
with the original files, directly or in ``mitbih/wfdb``.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from physioedge.datasets import mitbih
from physioedge.signals.wfdb import cut_wfdb

HERE = Path(__file__).parent
ASSETS = HERE.parents[1] / "device_runtime" / "physioedge_runtime" / "assets"
FS_HZ = 360
MINUTES = 13
RECORDS = ("100", "213", "232")  # normal rhythm; ventricular and fusion beats; atrial beats
EXCERPT, START_S, STOP_S = "233", 1010, 1100  # normal, ventricular and three atrial beats


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Arrays as .npz with fixed times in the archive, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue(), 8, 9)


def cut_excerpt(root: Path) -> None:
    """Write the excerpt that travels with the runtime."""
    whole = mitbih.load(EXCERPT, root).channel(mitbih.LEAD)
    start, stop = START_S * FS_HZ, STOP_S * FS_HZ
    notes = whole.annotations
    if notes is None:
        raise SystemExit(f"record {EXCERPT} has no annotations")
    inside = (notes.sample >= start) & (notes.sample < stop)
    arrays = {
        "samples": whole.samples[:, start:stop],
        "fs_hz": np.array(whole.fs_hz),
        "units": np.array(whole.units),
        "channels": np.array(whole.channels),
        "name": np.array(f"mitdb {EXCERPT}, {START_S} to {STOP_S} s"),
        "subject": np.array(f"mitbih:{EXCERPT}"),
        "ann_sample": notes.sample[inside] - start,
        "ann_symbol": np.array(notes.symbol)[inside],
        "ann_aux": np.array(notes.note)[inside],
    }
    write_npz(ASSETS / "excerpt.npz", arrays)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    originals = root / "mitbih" / "wfdb"
    for record in RECORDS:
        folder = originals if originals.is_dir() else originals.parent
        cut_wfdb(folder / record, HERE / record, start=0, stop=MINUTES * 60 * FS_HZ)
    cut_excerpt(root)
