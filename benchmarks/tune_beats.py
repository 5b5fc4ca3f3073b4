"""One-at-a-time search over the beat detector's constants, on the records of DS1 only.

Run from the repository root: ``python benchmarks/tune_beats.py [--data FOLDER]``. Each line is one change to the
shipped constants with the pooled errors over DS1; nothing of DS2 is looked at here.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from physioedge.datasets import mitbih
from physioedge.evaluation.beats import BeatScore, fibrillation, pooled, score
from physioedge_runtime.signal.beats import BeatConfig, detect_beats
from physioedge_runtime.signal.resample import resample

FS_HZ = 125.0
TRIED: dict[str, tuple[float, ...]] = {
    "band_low_hz": (4.0, 6.0),
    "band_high_hz": (15.0, 22.0, 26.0),
    "integration_half_s": (0.056, 0.088),
    "threshold": (0.22, 0.26, 0.35),
    "searchback_threshold": (0.4, 0.6),
    "searchback_rr": (1.5, 1.8),
    "t_wave_s": (0.3, 0.4),
    "t_wave_slope": (0.4, 0.6),
    "floor_mv_per_s": (0.7, 1.4),
}


def errors(config: BeatConfig, signals: list[tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]]) -> BeatScore:
    """Pooled score of one set of constants."""
    scores = []
    for lead, annotated, excluded in signals:
        found = [round(b.sample * mitbih.FS_HZ / FS_HZ) for b in detect_beats(lead, FS_HZ, config)]
        scores.append(score(np.array(found, np.int64), annotated, mitbih.FS_HZ, excluded))
    return pooled(scores)


def main() -> None:
    """Print one line for each change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="folder that holds mitbih")
    root = parser.parse_args().data
    signals = []
    for record in mitbih.DS1:
        recording = mitbih.load(record, root)
        assert recording.annotations is not None
        lead = resample(recording.channel(mitbih.LEAD).samples, recording.fs_hz, FS_HZ)[0]
        spans = fibrillation(recording.annotations, recording.samples.shape[1])
        signals.append((lead, mitbih.beats(recording)[0], spans))
    variants = [("shipped", BeatConfig())]
    variants += [(f"{k}={v:g}", replace(BeatConfig(), **{k: v})) for k, values in TRIED.items() for v in values]  # type: ignore[arg-type]
    for name, config in variants:
        result = errors(config, signals)
        print(  # noqa: T201
            f"{name:28s} Se {result.sensitivity:.5f} +P {result.precision:.5f} "
            f"missed {result.false_negatives} extra {result.false_positives}",
            flush=True,
        )


if __name__ == "__main__":
    main()
