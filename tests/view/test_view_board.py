"""The board: what a page that comes later is told."""

from __future__ import annotations

import asyncio
from typing import Any

from physioedge.view.board import KEPT_LINES, KEPT_S, Board


def first_of(board: Board) -> dict[str, Any]:
    """What a new page is told first."""

    async def told() -> dict[str, Any]:
        async with board.looking() as (first, _):
            return first

    return asyncio.run(told())


def test_what_happened_outlives_the_signal() -> None:
    """At 60 times life a page would lose it within a second of wall time."""
    board, line = Board({"title": "t"}), {"at_s": 5.0, "text": "Levelled"}
    board.post({"state": {"n": 1}, "signal": ["old"], "log": [line]}, at_s=5.0)
    assert first_of(board)["log"] == [line] and first_of(board)["past"] == [{"signal": ["old"]}]
    board.post({"state": {"n": 2}, "signal": ["new"]}, at_s=5.0 + 2 * KEPT_S)
    first = first_of(board)
    assert first["log"] == [line] and first["past"] == [{"signal": ["new"]}] and first["state"] == {"n": 2}


def test_so_many_lines_are_kept_and_no_more() -> None:
    board = Board({})
    for number in range(KEPT_LINES + 7):
        board.post({"log": [{"at_s": float(number), "text": ""}]}, at_s=float(number))
    assert [line["at_s"] for line in first_of(board)["log"]] == [float(n) for n in range(7, KEPT_LINES + 7)]
