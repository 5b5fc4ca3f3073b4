"""Where a stream's time goes besides the engine: own time by module and number of calls, for each result.

``python benchmarks/profile_stream.py [--chunk-s 0.25]`` on the shipped recording. cProfile's own cost is in the times,
so read the shares; `physioedge bench` has the true total.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
from collections import Counter
from pathlib import Path

from physioedge.cli.console import SHIPPED_BUNDLE, SHIPPED_RECORD
from physioedge.signals.read import read_recording
from physioedge_runtime import Bundle, Stream


def main() -> int:
    """Profile and print; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunk-s", type=float, default=0.25)
    parser.add_argument("--passes", type=int, default=5)
    args = parser.parse_args()
    bundle = Bundle.open(SHIPPED_BUNDLE)
    recording = read_recording(SHIPPED_RECORD, channels=bundle.contract.sensor.channels)
    step = max(1, round(args.chunk_s * recording.fs_hz))
    chunks = [recording.samples[:, i : i + step] for i in range(0, recording.samples.shape[1], step)]
    stream = Stream(
        bundle, fs_hz=recording.fs_hz, units=recording.units, resample="polyphase", channels=recording.channels
    )
    profile, results = cProfile.Profile(), 0
    for _ in range(args.passes):
        profile.enable()
        for chunk in chunks:
            results += len(stream.push(chunk))
        results += len(stream.flush())
        profile.disable()
    seconds: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for (file, _, name), (_, n, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        where = "/".join(Path(file).parts[-2:]) if "physioedge_runtime" in file else "numpy and built-in calls"
        where = "the engine" if "engine" in file or "run_with_iobinding" in name else where
        seconds[where] += own
        calls[where] += n
    lines = [f"{results} results, pushes of {args.chunk_s:g} s; for each result:"]
    for where, own in seconds.most_common(12):
        lines.append(f"{1e6 * own / results:8.1f} us {calls[where] / results:8.1f} calls  {where}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
