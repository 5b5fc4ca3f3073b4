"""Cut the sample records out of the original files: python samples/data/cut.py FOLDER_OF_DATASETS.

Writes the three records of this folder, the two excerpts in the runtime's assets and the hour beside the weights. ADC
values stay as they are; only the headers' counts, first values and checksums change. Run twice, it writes the same
bytes. The folder holds ``mitbih`` with the original files, directly or in ``mitbih/wfdb``, and ``stress_predict``.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from physioedge.datasets import mitbih, stress_predict
from physioedge.signals.recording import Recording
from physioedge.signals.wfdb import cut_wfdb
from physioedge.tasks.stress import TASK

HERE = Path(__file__).parent
ASSETS = HERE.parents[1] / "device_runtime" / "physioedge_runtime" / "assets"
FS_HZ = 360
MINUTES = 13
RECORDS = ("100", "213", "232")  # normal rhythm; ventricular and fusion beats; atrial beats
EXCERPT, START_S, STOP_S = "233", 1010, 1100  # normal, ventricular and three atrial beats
HOUR = HERE.parents[1] / "weights" / "physioedge_weights" / "tiny" / "demo" / "wrist_hour.npz"
HOUR_OF = "S15"  # of 20 people nearest to their average, by accuracy under global models and under generated adapters
STEPS = {"ppg": 100, "acc": 64, "eda": 1_000_000, "temp": 100}  # a unit in the wristband's own steps
WRIST, WRIST_START_S, WRIST_STOP_S = "S31", 870, 1020  # a clear pulse on a still arm, 76 to 89 a minute


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


def stated(sensor: str, whole: Recording, t0_s: float) -> dict[str, np.ndarray]:
    """What an archive says of a sensor beside its samples."""
    said = {"fs_hz": whole.fs_hz, "units": whole.units, "channels": whole.channels, "t0_s": t0_s}
    return {f"{sensor}.{name}": np.array(value) for name, value in said.items()}


def cut_wrist(root: Path) -> None:
    """Write the wristband excerpt: pulse wave, movement, and the heart rate that the wristband itself made of them."""
    session = stress_predict.load(WRIST, root)
    clock_s = session.recordings["ppg"].t0_s + WRIST_START_S
    arrays = {"name": np.array(f"Stress-Predict {WRIST}, {WRIST_START_S} to {WRIST_STOP_S} s")}
    arrays["subject"] = np.array(session.subject)
    for sensor in ("ppg", "acc"):
        whole = session.recordings[sensor]
        first = round((clock_s - whole.t0_s) * whole.fs_hz)
        length = round((WRIST_STOP_S - WRIST_START_S) * whole.fs_hz)
        arrays |= {
            f"{sensor}.samples": whole.samples[:, first : first + length],
            **stated(sensor, whole, 0.0),
        }
    rate = session.events["hr"]
    inside = (rate.time_s >= clock_s) & (rate.time_s < clock_s + WRIST_STOP_S - WRIST_START_S)
    arrays |= {
        "rate.samples": rate.value[inside][None].astype(np.float32),
        "rate.fs_hz": np.array(1.0),
        "rate.units": np.array("bpm"),
        "rate.channels": np.array(("wristband",)),
        "rate.t0_s": np.array(float(rate.time_s[inside][0] - clock_s)),
    }
    write_npz(ASSETS / "wrist.npz", arrays)


def cut_hour(root: Path) -> None:
    """Write all that one person wore: four sensors as whole numbers, and where rest and stress begin."""
    session = stress_predict.load(HOUR_OF, root)
    clock_s = session.recordings["ppg"].t0_s
    arrays = {"name": np.array(f"Stress-Predict {HOUR_OF}, whole"), "subject": np.array(session.subject)}
    for sensor, steps in STEPS.items():
        whole = session.recordings[sensor]
        numbers = np.round(whole.samples.astype(np.float64) * steps)
        if not np.array_equal((numbers / steps).astype(np.float32), whole.samples):
            raise SystemExit(f"{HOUR_OF}: {sensor} is not in steps of 1/{steps}")
        small = np.abs(numbers).max() <= np.iinfo(np.int16).max
        arrays |= {
            f"{sensor}.samples": numbers.astype(np.int16 if small else np.int32),
            f"{sensor}.gain": np.full(len(numbers), float(steps)),
            f"{sensor}.baseline": np.zeros(len(numbers)),
            **stated(sensor, whole, whole.t0_s - clock_s),
        }
    told, fs_hz = stress_predict.labels(HOUR_OF, root), session.recordings["ppg"].fs_hz
    new = np.flatnonzero(np.diff(told.value, prepend=-1))
    end_s = told.end_s[-1] - clock_s  # from there on nobody says
    at_s = np.append(told.start_s[new] - clock_s, end_s)
    arrays |= {
        "ppg.ann_sample": np.round(at_s * fs_hz).astype(np.int64),
        "ppg.ann_symbol": np.array([*(TASK.labels[v] for v in told.value[new]), "-"]),
    }
    HOUR.parent.mkdir(exist_ok=True)
    write_npz(HOUR, arrays)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    originals = root / "mitbih" / "wfdb"
    for record in RECORDS:
        folder = originals if originals.is_dir() else originals.parent
        cut_wfdb(folder / record, HERE / record, start=0, stop=MINUTES * 60 * FS_HZ)
    cut_excerpt(root)
    cut_wrist(root)
    cut_hour(root)
