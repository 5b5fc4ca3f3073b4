"""Progress: silent for what is short, one line on a terminal, few lines elsewhere, and a time left that is right."""

from __future__ import annotations

import io
import logging
import re
import time

import pytest

from physioedge.cli.progress import LINE_S, Expected, Progress, Spoken, Staged, said


class Screen(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def now():
    return [100.0]


def shown(now: list[float], *, terminal: bool, seconds: float, steps: int = 1000) -> str:
    screen = Screen(terminal)
    with Progress("streaming", total=50.0, out=screen, clock=lambda: now[0]) as progress:
        for step in range(steps):
            now[0] += seconds / steps
            progress.at(50.0 * (step + 1) / steps)
    return screen.getvalue()


def test_what_is_short_says_nothing(now):
    assert shown(now, terminal=True, seconds=0.9) == "" and shown(now, terminal=False, seconds=29.0) == ""


def test_a_terminal_has_one_line_that_goes_away(now):
    text = shown(now, terminal=True, seconds=10.0)
    assert "\n" not in text and text.endswith("\r\033[K") and 40 <= text.count("\r") <= 60
    left = [int(found) for found in re.findall(r"about (\d+) s left", text)]
    assert left == sorted(left, reverse=True) and left[0] in (8, 9) and left[-1] == 0


def test_elsewhere_a_line_now_and_then(now):
    lines = shown(now, terminal=False, seconds=300.0).splitlines()
    assert len(lines) in (9, 10) and lines[0] == f"streaming: 10%, about {(300 - LINE_S) / 60:.0f} min left"
    assert "\r" not in "".join(lines)


def test_nothing_known_is_not_guessed(now):
    screen = Screen(True)
    progress = Progress("loading", total=3.0, out=screen, clock=lambda: now[0])
    now[0] += 5.0
    progress.at(0.0, "exporting")
    assert screen.getvalue() == "\r\033[Kexporting: 0%"
    assert Progress("x", total=0.0, out=screen)._share(0.0) == 1.0


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (89.4, "89 s"), (600.0, "10 min"), (9000.0, "2.5 h")])
def test_times_for_people(seconds, words):
    assert said(seconds) == words


def test_stages_of_a_log_are_shown_and_the_log_is_as_before(monkeypatch):
    screen, logger = Screen(True), logging.getLogger("made.up")
    monkeypatch.setattr("sys.stderr", screen)
    with Staged("made.up"):
        logger.info("merged graphs", extra={"stage": 0, "stages": 2})
        logger.info("a detail")
        logger.info("slots graphs", extra={"stage": 1, "stages": 2})
    text = screen.getvalue()
    assert text.startswith("\r\033[Kmerged graphs: 0%") and "slots graphs: 33%" in text and "detail" not in text
    assert text.endswith("\r\033[K") and logger.handlers == [] and logger.level == logging.NOTSET


def test_rounds_have_a_time_left_and_other_words_have_none(monkeypatch):
    screen = Screen(True)
    monkeypatch.setattr("sys.stderr", screen)
    spoken = Spoken()
    spoken("loading ours_int8")
    spoken("round 1 of 60")
    spoken._rounds._began_s -= 10.0
    spoken._rounds._next_s -= 10.0
    spoken("round 31 of 60")
    assert screen.getvalue().endswith("\r\033[Kround 31 of 60: 50%, about 10 s left")
    spoken("")
    assert screen.getvalue().endswith("\r\033[K")


def test_what_is_in_one_piece_is_shown_until_it_ends(monkeypatch):
    screen = Screen(True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("physioedge.cli.progress.REWRITE_S", 0.01)
    with Expected("compiling", 100.0) as progress:
        progress._began_s -= 25.0
        progress._next_s = 0.0
        while "compiling: 25%, about 75 s left" not in screen.getvalue():
            time.sleep(0.01)
    assert screen.getvalue().endswith("\r\033[K") and not progress._thread.is_alive()
