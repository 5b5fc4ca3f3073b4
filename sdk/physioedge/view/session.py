"""A session: the one thread that plays the feed, judges it, does what the page asks for, and tells."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from physioedge.view import shown
from physioedge.view.board import Board
from physioedge.view.feed import Feed, Piece
from physioedge.view.pace import Pace
from physioedge.view.person import ACTIONS, Person, Said
from physioedge_runtime.errors import PhysioEdgeError

LOG = logging.getLogger("physioedge.view")
TICK_S = 0.04
"""Wall time from one message to the next: pages move on smoothly in between."""
STEP_S = 1.0
"""Signal that is judged at once, at most."""
SPEEDS = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
_WAIT_S = 10.0


class Session:
    """Made and started once; `do` is for other threads.

    Parameters
    ----------
    person : Person
    feed : Feed
    board : Board
    speed : float
        Of a replay, to begin with.
    clock : callable
        Seconds, never backwards.
    """

    def __init__(
        self, person: Person, feed: Feed, board: Board, *, speed: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._person, self._feed, self.board = person, feed, board
        self._pace = Pace(speed, clock)
        self._latency = shown.Latency()
        self._asked: queue.Queue[tuple[str, float, Future[Said]]] = queue.Queue()
        self._stopping = threading.Event()
        self._at_s, self._judged, self._withheld = 0.0, 0, 0
        self._served: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._over, self._slow = False, False
        self._log: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._run, name="session of the page", daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and tell the pages."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_WAIT_S)
        self._feed.close()
        self._person.close()
        self.board.close()

    def do(self, action: str, value: float = 0.0) -> Said:
        """Have something done between two windows, and wait for it. From any thread.

        Parameters
        ----------
        action : str
            ``pause``, ``play``, ``speed``, or one of `ACTIONS`.
        value : float
            Of ``speed``.
        """
        if self._stopping.is_set():
            return Said(done=False, text="The session is over.")
        done: Future[Said] = Future()
        self._asked.put((action, value, done))
        try:
            return done.result(_WAIT_S)
        except TimeoutError:
            return Said(done=False, text="No answer: the session is busy, or over.")

    def _run(self) -> None:
        self._post([], [], [])
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._serve()
                self._tick(began)
            except Exception as error:
                LOG.exception("the session of the page failed")
                self._over = True
                self._post([], [], [f"Stopped by a fault of physioedge: {type(error).__name__}: {error}"])
            self._stopping.wait(max(0.0, TICK_S - (time.monotonic() - began)))

    def _tick(self, began: float) -> None:
        """Take what is due, for as long as one tick, and tell."""
        pieces: list[Piece] = []
        results: list[dict[str, Any]] = []
        happened = self._person.poll()
        while not self._over:
            due_s = min(self._pace.due_s, self._at_s + STEP_S)
            taken = self._feed.take(due_s)
            for piece in taken:
                results += self._judge(piece, happened)
            pieces += taken
            self._at_s = max([self._at_s, *map(self._end_of, taken)]) if self._feed.live else due_s
            if self._feed.ended:
                self._end(results, happened)
            elif not (taken and due_s < self._pace.due_s and time.monotonic() - began < TICK_S):
                break
        if not self._feed.live and not self._over:
            self._slow = self._pace.reached(self._at_s) or (self._slow and self._pace.due_s - self._at_s > STEP_S)
        self._post(pieces, results, happened)

    def _judge(self, piece: Piece, happened: list[str]) -> list[dict[str, Any]]:
        try:
            judged, more = self._person.push(piece)
        except PhysioEdgeError as error:  # a source that gives other channels than it said
            self._over = True
            happened.append(f"Stopped: [{error.code}] {error}")
            return []
        happened += more
        return self._count(judged)

    def _count(self, judged: Any) -> list[dict[str, Any]]:
        for one in judged:
            self._latency.add(one.result, one.work_ms)
            self._judged += one.result.judged
            self._withheld += not one.result.judged
        return [shown.result_of(one.result, self._feed.origin_s, one.work_ms) for one in judged]

    def _end(self, results: list[dict[str, Any]], happened: list[str]) -> None:
        self._over = True
        judged, more = self._person.flush()
        results += self._count(judged)
        happened += more
        error = self._feed.error
        what = "source" if self._feed.live else "recording"
        happened.append(f"The {what} has ended" + ("" if error is None else f": [{error.code}] {error}"))

    def _serve(self) -> None:
        """Do what was asked for since the last tick."""
        while True:
            try:
                action, value, done = self._asked.get_nowait()
            except queue.Empty:
                return
            said = self._do(action, value)
            if action in ACTIONS and said.done:
                self._log.append({"at_s": round(self._at_s, 2), "text": said.text})
            done.set_result(said)

    def _do(self, action: str, value: float) -> Said:
        if action in ACTIONS:
            return self._person.do(action)
        if self._feed.live:
            return Said(done=False, text="A live source sets its own pace.")
        if action == "pause":
            self._pace.hold()
        elif action == "play":
            self._pace.go()
        elif action == "speed" and value in SPEEDS:
            self._pace.set_speed(value)
        else:
            return Said(done=False, text=f"No such thing: {action!r}.")
        return Said(done=True, text="")

    def _end_of(self, piece: Piece) -> float:
        return float(piece.start_s + piece.chunk.shape[1] / self._feed.sensors[piece.sensor].fs_hz)

    def _post(self, pieces: list[Piece], results: list[dict[str, Any]], happened: list[str]) -> None:
        served = shown.adapter_of(self._person.store)
        self._log += [{"at_s": round(self._at_s, 2), "text": text} for text in happened]
        message: dict[str, Any] = {"state": self._state(served)}
        before, self._told = self._told, message["state"]
        if served != self._served:
            self._served = served
            message["served"] = {"at_s": round(self._at_s, 2), **served}
        if pieces:
            message["signal"] = [shown.piece_of(piece) for piece in pieces]
        if results:
            message["results"] = results
        if self._log:
            message["log"], self._log = self._log, []
        if len(message) == 1 and before == self._told:
            return  # held, or over: nothing is new
        self.board.post(message, at_s=self._at_s)

    def _state(self, served: dict[str, Any]) -> dict[str, Any]:
        return {
            "at_s": round(self._at_s, 3),
            "playing": self._pace.playing and not self._over,
            "over": self._over,
            "speed": 1.0 if self._feed.live else self._pace.speed,
            "slow": self._slow,
            "adapter": served,
            "asking": self._person.asking,
            "trial": self._person.trial(),
            "ready": self._person.readiness(),
            "judged": self._judged,
            "withheld": self._withheld,
            "latency": self._latency.told(),
        }
