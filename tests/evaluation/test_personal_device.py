"""Levelling on the device, by figures: what is paired and what is pooled."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.evaluation.personal.device import ARMS, Pair, device_rows


def pair(record: str, without: list[int], with_bias: list[int], scored: int) -> Pair:
    """Beats of N called N, and of V called V; the rest withheld."""
    counts = np.zeros((2, 3, 3))
    counts[0, 0, 0], counts[0, 2, 2] = without
    counts[1, 0, 0], counts[1, 2, 2] = with_bias
    return Pair(
        record=record, windows=100, counts=counts, right=np.trace(counts, axis1=1, axis2=2), scored=scored
    )  # fmt: skip


def value(rows, arm, metric, group="g"):
    return next(row for row in rows if (row.arm, row.group, row.metric) == (arm, group, metric))


def test_beats_are_pooled_people_are_averaged_and_differences_paired():
    rows = device_rows([pair("a", [50, 0], [90, 0], 100), pair("b", [800, 100], [800, 100], 1000)], "g")
    assert value(rows, ARMS[0], "right_share").value == pytest.approx(950 / 1100)
    assert value(rows, ARMS[1], "right_share").value == pytest.approx(990 / 1100)
    assert value(rows, ARMS[0], "mean_right_share").value == pytest.approx((0.5 + 0.9) / 2)
    gain = value(rows, ARMS[1], "mean_right_share", f"g:minus:{ARMS[0]}")
    assert gain.value == pytest.approx(0.2) and gain.low == 0.0 and gain.high == pytest.approx(0.4)
    assert value(rows, ARMS[0], "coverage").value == pytest.approx(950 / 1100)
    assert value(rows, ARMS[1], "sensitivity:V").value == 1.0


def test_withheld_beats_are_not_right_and_not_covered():
    rows = device_rows([pair("a", [10, 0], [5, 0], 20), pair("b", [10, 0], [5, 0], 20)], "g")
    assert value(rows, ARMS[1], "coverage").value == 0.25
    assert value(rows, ARMS[1], "accuracy").value == 1.0
    gain = value(rows, ARMS[1], "right_share", f"g:minus:{ARMS[0]}")
    assert (gain.value, gain.low, gain.high) == (-0.25, -0.25, -0.25)
