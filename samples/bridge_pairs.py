"""Two sensors of one person to pairs for a bridge: python samples/bridge_pairs.py [FILE].

Takes both leads of the recordings beside this file, checks that they belong together, shows that a lead that is two
seconds late is refused, and writes a store of pairs for: physioedge train bridge --from ecg --to ecg_other --pairs
FILE. Needs physioedge[train]. The recordings are of the test half of their set: fit on your own.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from physioedge.bridge.alignment import check_alignment
from physioedge.bridge.directions import direction_of
from physioedge.bridge.pairs import UNKNOWN, PairStore, Strip, save_store
from physioedge.bridge.training import lag_between
from physioedge.signals.read import read_recording
from physioedge_runtime.errors import DatasetError
from physioedge_runtime.signal.beats import detect_beats
from physioedge_runtime.signal.resample import resample

FS_HZ, PAST_S, AFTER_S = 125.0, 10.0, 0.6
DATA = Path(__file__).parent / "data"


def strip_of(name: str) -> Strip:
    """Both leads at the rate that models take, and a window for every beat that is found; labels of none."""
    recording = read_recording(DATA / f"{name}.hea")
    leads = resample(recording.samples, recording.fs_hz, FS_HZ)
    end = np.array([beat.sample for beat in detect_beats(leads[0], FS_HZ)], np.int64) + round(AFTER_S * FS_HZ) + 1
    end = end[(end > PAST_S * FS_HZ) & (end <= leads.shape[1])]
    return Strip(
        record=name, subject=name, signals={"ecg": leads[:1], "ecg_other": leads[1:2]},
        ends={"ecg": end, "ecg_other": end}, targets={"beats": np.full(len(end), UNKNOWN)},
        judged=np.zeros(len(end), np.bool_),
    )  # fmt: skip


def late(strip: Strip, late_s: float) -> Strip:
    """The same with the second lead behind its time."""
    moved = np.roll(strip.signals["ecg_other"], round(late_s * FS_HZ), axis=1)
    return replace(strip, signals={**strip.signals, "ecg_other": moved})


def main(path: Path) -> None:
    """Check and write."""
    direction = direction_of("lead_to_lead_beats")
    strips = tuple(strip_of(name) for name in ("100", "213", "232"))
    store = PairStore(name="sample", strips=strips)
    found = lag_between(store, direction)
    check_alignment(found, tolerance_s=direction.tolerance_s)
    print(f"together within {abs(found.lag_s):.2f} s, confidence {found.confidence:.3f}")
    moved = PairStore(name="sample", strips=tuple(late(strip, 2.0) for strip in strips))
    try:
        check_alignment(lag_between(moved, direction), tolerance_s=direction.tolerance_s)
    except DatasetError as refused:
        print(f"refused: {refused}")
    save_store(path, store, {"ecg": 0.005, "ecg_other": 0.005})
    print(f"{len(store.subject)} pairs of {len(strips)} people in {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "pairs.npz"))
