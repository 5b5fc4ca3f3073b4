"""Labels that hold until the next annotation, for the windows of a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge.cli.annotated import in_force
from physioedge.signals.recording import Annotations, Recording
from physioedge_runtime import Result

FS_HZ, LABELS = 4.0, ("rest", "stress")


def recording(notes: list[tuple[int, str]], t0_s: float = 0.0) -> Recording:
    told = Annotations(
        sample=np.array([at for at, _ in notes], np.int64), symbol=tuple(s for _, s in notes), note=("",) * len(notes)
    )
    return Recording(samples=np.zeros((1, 4000), np.float32), fs_hz=FS_HZ, units="a.u.", channels=("BVP",), name="r",
                     subject="s", t0_s=t0_s, annotations=told)  # fmt: skip


def ending(t_s: float) -> Result:
    return Result(t_start_s=t_s - 30, t_end_s=t_s, t_anchor_s=t_s, label=None, probability=0.0, probabilities=(),
                  quality=0.0, flags=(), adapter="global", t_emitted_s=t_s)  # fmt: skip


def held(notes: list[tuple[int, str]], *ends_s: float, t0_s: float = 0.0) -> tuple[str | None, ...]:
    return in_force(recording(notes, t0_s), [ending(t) for t in ends_s], window_s=60.0, labels=LABELS)


def test_a_label_holds_until_the_next_one() -> None:
    notes = [(40, "rest"), (400, "stress"), (800, "-")]  # 10 s, 100 s, 200 s
    assert held(notes, 65, 75, 99, 130, 165, 190, 230, 900) == (
        None, "rest", "rest", None, "stress", "stress", None, None
    )  # fmt: skip


def test_the_clock_is_the_recordings_own() -> None:
    assert held([(0, "rest")], 1060.0, 1059.0, t0_s=1000.0) == ("rest", None)


@pytest.mark.parametrize("notes", [[], [(0, "N"), (100, "V")]])
def test_without_such_labels_nothing_is_said(notes: list[tuple[int, str]]) -> None:
    assert held(notes, 60.0, 120.0) == (None, None)


@given(
    st.lists(st.tuples(st.integers(0, 3999), st.sampled_from([*LABELS, "-"])), max_size=8),
    st.lists(st.integers(1, 1000), max_size=8),
)
def test_it_is_what_is_written_for_every_sample(notes: list[tuple[int, str]], ends_s: list[int]) -> None:
    notes = sorted(dict(notes).items())
    written: list[str | None] = [None] * 4001
    for at, symbol in notes:
        written[at:] = [symbol if symbol in LABELS else None] * (4001 - at)
    marks = {at for at, _ in notes}
    for end_s, found in zip(ends_s, held(notes, *ends_s), strict=True):
        first, last = round((end_s - 60) * FS_HZ), round(end_s * FS_HZ)
        whole = first >= 0 and not marks & set(range(first + 1, last + 1))
        assert found == (written[first] if whole else None)
