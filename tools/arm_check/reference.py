"""Real windows to compare on, and what this machine makes of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import physioedge_runtime
from arm_check import guest
from arm_check.commands import run
from arm_check.emulator import environment
from physioedge.bench.windows import real_windows
from physioedge.signals.read import read_recording
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import RecordError

GUEST = Path(guest.__file__)
RUNTIME = Path(physioedge_runtime.__file__).parents[1]
STREAM_S = 20.0


def windows_of(bundle: Bundle, recordings: Sequence[Path], wanted: int) -> NDArray[np.float32]:
    """Windows (window, channel, sample) spread evenly over recordings, and over the length of each.

    Raises
    ------
    RecordError
        The recordings have fewer.
    """
    share = -(-wanted // len(recordings))
    chosen = []
    for path in recordings:
        found = real_windows(bundle, path)[0]
        chosen.append(found[np.unique(np.linspace(0, len(found) - 1, share).round().astype(int))])
    windows: NDArray[np.float32] = np.concatenate(chosen)[:wanted]
    if len(windows) < wanted:
        raise RecordError(f"{len(windows)} windows", f"{wanted}", "Ask for fewer with --windows, or add --record.")
    return windows


def write_inputs(path: Path, bundle: Bundle, recordings: Sequence[Path], wanted: int) -> int:
    """Write what `guest` reads: windows, and the beginning of the first recording for a stream; how many windows."""
    windows = windows_of(bundle, recordings, wanted)
    recording = read_recording(recordings[0], channels=bundle.contract.sensor.channels)
    samples = recording.samples[:, : round(STREAM_S * recording.fs_hz)]
    np.savez(path, windows=windows, samples=samples, fs_hz=recording.fs_hz, units=recording.units)
    return len(windows)


def run_here(bundle: Path, inputs: Path, out: Path) -> dict[str, Any]:
    """What `guest` finds on this machine.

    Raises
    ------
    PhysioEdgeError
        It failed.
    """
    run(
        [sys.executable, GUEST, bundle, inputs, out],
        what="the check on this machine",
        do="See the message; the engines are built with: physioedge engines build",
        env=environment([RUNTIME]),
    )
    return read(out)


def read(path: Path) -> dict[str, Any]:
    """What `guest` wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
