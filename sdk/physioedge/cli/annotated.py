"""What cardiologists wrote beside a recording, for each result of a stream of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physioedge.signals.recording import Recording
from physioedge_runtime import Result


def annotated(recording: Recording, results: Sequence[Result]) -> tuple[tuple[str | None, ...] | None, tuple[str, ...]]:
    """Annotated class of each result, and the classes of beats without one; None without annotations."""
    from physioedge.datasets.mitbih import AAMI
    from physioedge.evaluation.beats import MATCH_S, match

    notes = recording.annotations
    beats = (
        []
        if notes is None
        else [(int(at), AAMI[s]) for at, s in zip(notes.sample, notes.symbol, strict=True) if s in AAMI]
    )
    if not beats:
        return None, ()
    found = np.array([round(r.t_anchor_s * recording.fs_hz) for r in results], np.int64)
    partner = match(found, np.array([at for at, _ in beats], np.int64), MATCH_S * recording.fs_hz)
    truth: list[str | None] = [None] * len(results)
    missed = []
    for (_, name), i in zip(beats, partner, strict=True):
        if i < 0:
            missed.append(name)
        else:
            truth[i] = name
    return tuple(truth), tuple(missed)
