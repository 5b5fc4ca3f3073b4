"""A live page on a free port, and a browser to look at it with."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physioedge.cli import view as command
from physioedge.cli.main import build_parser
from physioedge.cli.view_ask import asking
from physioedge.cli.view_feed import opened
from physioedge.view import shown
from physioedge.view.board import Board
from physioedge.view.serving import PageServer
from physioedge.view.session import SPEEDS, Session
from synthetic_ecg import synthetic_ecg

CHROMIUM = "PHYSIOEDGE_CHROMIUM"
"""Names the browser, where it is not found by itself."""


def two_channels(path: Path, *, fs_hz: float = 250.0, duration_s: float = 120.0) -> Path:
    """An .npz of a two-channel ECG that nobody had."""
    first, _ = synthetic_ecg(fs_hz, duration_s, rr_s=0.75, seed=3)
    second = np.roll(0.6 * first, 3) + 0.1 * np.sin(np.arange(first.shape[1]) / fs_hz)
    np.savez(
        path, samples=np.concatenate([first, second]).astype(np.float32), fs_hz=fs_hz, units="mV",
        channels=["MLII", "V5"], name="made up", subject="nobody",
    )  # fmt: skip
    return path


@contextmanager
def session_of(*arguments: str) -> Iterator[Session]:
    """A session as `physioedge view` makes it, not started."""
    args = build_parser("view").parse_args(["view", "--no-open", "--port", "0", *arguments])
    bundle = command._bundle(args)
    ask = asking(args, bundle)
    with opened(args, bundle.contract) as (feed, title), command._store(args, bundle, ask) as store:
        person = command._person(args, bundle, feed.sensors, store, ask)
        board = Board(shown.about(bundle, feed, title=title, speeds=SPEEDS, cannot=person.cannot()))
        yield Session(person, feed, board, speed=args.speed)


@contextmanager
def served(session: Session) -> Iterator[PageServer]:
    """The page of a session; both have stopped when the block ends."""
    told = threading.Event()
    server = PageServer(session, port=0, ready=lambda _: told.set())
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert told.wait(20)
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def chromium() -> str:
    """Path of a Chromium; skips where there is none, or nothing to drive it with."""
    if find_spec("playwright") is None:
        pytest.skip("playwright, which drives the browser, is not installed (extra dev)")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get(CHROMIUM) or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no Chromium on this machine: apt install chromium, or name one in {CHROMIUM}")
    return found


@contextmanager
def browsing() -> Iterator[Any]:
    """A headless browser."""
    path = chromium()
    from playwright.sync_api import Error, sync_playwright

    # as root, as in containers, Chromium refuses its own sandbox; it opens nothing here but this project's page
    root = hasattr(os, "geteuid") and not os.geteuid()
    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        except Error as error:
            if root:
                raise
            pytest.skip(f"{path} does not start for this user: {str(error).splitlines()[0]}")
        try:
            yield browser
        finally:
            browser.close()
