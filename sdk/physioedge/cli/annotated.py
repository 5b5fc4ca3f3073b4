"""What was written beside a recording, for each result of a stream of it."""

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


def in_force(
    recording: Recording, results: Sequence[Result], *, window_s: float, labels: Sequence[str]
) -> tuple[str | None, ...]:
    """Label of each result's window where an annotation holds until the next one; None where it changes in the window.

    Parameters
    ----------
    recording : Recording
        Its annotations' symbols are labels; before the first, and from any other symbol on, there is none.
    results : sequence of Result
        On the recording's own clock.
    window_s : float
        Length of a window: the task's own, which of a stream of several sensors is the longest one's.
    labels : sequence of str
    """
    notes = recording.annotations
    if notes is None or not len(notes.sample):
        return (None,) * len(results)
    changes_s = recording.t0_s + notes.sample / recording.fs_hz
    ends_s = np.array([result.t_end_s for result in results])
    first = np.searchsorted(changes_s, ends_s - window_s, side="right") - 1
    last = np.searchsorted(changes_s, ends_s, side="right") - 1
    held = (notes.symbol[i] if i >= 0 and i == j else None for i, j in zip(first, last, strict=True))
    return tuple(symbol if symbol in labels else None for symbol in held)
