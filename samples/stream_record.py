"""Stream a recording through a bundle, as an app would stream a sensor: python samples/stream_record.py [RECORD].

Needs the base install only (numpy, onnxruntime, a signature library). Without an argument it takes the recording and
the bundle that ship with the runtime.
"""

from __future__ import annotations

import sys
from pathlib import Path

import physioedge_runtime
from physioedge.signals.read import read_recording
from physioedge_runtime import Bundle, Stream

ASSETS = Path(physioedge_runtime.__file__).parent / "assets"


def main(record: Path, bundle_path: Path) -> None:
    """Print one line a beat."""
    recording = read_recording(record, channels=["MLII"])
    print(recording.describe())  # rate and unit come from the file and are never guessed
    bundle = Bundle.open(bundle_path)  # signature and every digest are checked here
    chunk_samples = round(0.2 * recording.fs_hz)  # any size gives the same results
    with Stream(
        bundle,
        fs_hz=recording.fs_hz,
        units=recording.units,
        channels=recording.channels,
        resample="polyphase",  # the model wants 125 Hz; a conversion only happens when asked for
    ) as stream:
        for start in range(0, recording.samples.shape[1], chunk_samples):
            for result in stream.push(recording.samples[:, start : start + chunk_samples]):
                # label is None where the signal is too poor or the model too unsure: it abstains rather than guesses
                label = result.label or f"withheld ({', '.join(result.flags) or 'unsure'})"
                print(f"{result.t_anchor_s:8.2f} s  {label:<10}  quality {result.quality:.2f}")
        for result in stream.flush():
            print(f"{result.t_anchor_s:8.2f} s  {result.label}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ASSETS / "excerpt.npz", ASSETS / "arrhythmia.physio")
