"""A recording played into a stream that is personalised, and into twins that are left as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from physioedge.cli.demo_course import Course
from physioedge.cli.feeding import pushes
from physioedge.report.personalised import GLOBAL, Change, Compared
from physioedge_runtime import Result, Stream
from physioedge_runtime.adaptation.adapting import Adaptation, TrialEnd
from physioedge_runtime.adaptation.condition import EMBEDDING
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine import Engine

CHUNK_S = 0.25
_EPSILON_S = 1e-6


@dataclass
class Twin:
    """A stream that goes on from result `index` without the change that was made there."""

    stream: Stream
    index: int
    results: list[Result] = field(default_factory=list)


class Life:
    """One stream, its adapters, and what came.

    Parameters
    ----------
    course : Course
    engine : Engine
        Of its bundle, with slots; all streams share it.
    store : AdapterStore
        Empty.
    tick : callable
        Told how much signal was pushed.

    Attributes
    ----------
    at_s : float
        Signal pushed so far.
    beside : Twin or None
        The stream that a trial is judged beside.
    """

    def __init__(
        self, course: Course, engine: Engine, store: AdapterStore, tick: Callable[[float], None] = lambda _: None
    ) -> None:
        self.course, self._engine, self._tick = course, engine, tick
        self.stream = self._opened()
        self.adaptation = Adaptation.of(course.bundle, self.stream, store)
        self.results: list[Result] = []
        self.changes: list[Change] = []
        self.beside: Twin | None = None
        self.at_s = 0.0
        self._twins: list[Twin] = []
        self._coming = pushes(course.recordings, CHUNK_S)
        self._next = next(self._coming, None)
        self.changed(GLOBAL)

    def twin(self) -> Twin:
        """A stream in the state of this one, to go on beside it; call it just before a change."""
        twin = Twin(self._opened(), len(self.results))
        twin.stream.restore(self.stream.snapshot())
        self._twins.append(twin)
        return twin

    def changed(self, what: str) -> None:
        """Note that something else serves from here on."""
        bias = self.adaptation.store.centring is not None
        self.changes.append(
            Change(what=what, at_s=self.at_s, index=len(self.results), adapter_id=self.stream.adapter_id, bias=bias)
        )

    def lives(self, until_s: float) -> TrialEnd | None:
        """Stream up to then, or until a trial has ended."""
        while self._next is not None and self._next.until_s <= until_s + _EPSILON_S:
            push = self._next
            self._next = next(self._coming, None)
            found = self.stream.push(push.chunk, push.t_s, push.sensor)
            self.results += found
            beside: list[Result] = []
            for twin in self._twins:
                told = twin.stream.push(push.chunk, push.t_s, push.sensor)
                twin.results += told
                beside = told if twin is self.beside else beside
            ended = self.adaptation.step(found, beside)
            self.at_s = max(self.at_s, push.until_s)
            self._tick(self.at_s)
            if ended is not None:
                return ended
        return None

    def lives_on(self) -> bool:
        """Stream one chunk of every sensor more; False where there is none left."""
        if self._next is None:
            return False
        self.lives(max(self.at_s + CHUNK_S, self._next.until_s))  # later where a recording has a gap
        return True

    def ends(self) -> None:
        """The last results; once more gives no others."""
        self.results += self.stream.flush()
        for twin in self._twins:
            twin.results += twin.stream.flush()

    def compared(self, own: str, mine: Sequence[Result], others: Mapping[str, Twin]) -> Compared:
        """Some of the results beside those of twins for the same beats; own ones last."""
        said = {name: _labels_at(twin.results, mine) for name, twin in others.items()}
        said[own] = tuple(result.label for result in mine)
        return Compared(labels=self.stream.contract.labels, truth=self.course.truth(mine), said=said)

    def apart_from(self, twin: Twin) -> int:
        """Windows since a twin was made that one of the two has and the other has not."""
        ours, theirs = ([r.t_anchor_s for r in side] for side in (self.results[twin.index :], twin.results))
        repeated = len(ours) - len(set(ours)) + len(theirs) - len(set(theirs))
        return len(set(ours) ^ set(theirs)) + repeated

    def alike(self, twin: Twin, first: int) -> int:
        """Results from `first` on that are exactly a twin's, the adapter's name too."""
        theirs = {result.t_anchor_s: result for result in twin.results}
        return sum(theirs.get(result.t_anchor_s) == result for result in self.results[first:])

    def _opened(self) -> Stream:
        recordings = self.course.recordings
        return Stream(
            self.course.bundle,
            fs_hz={name: one.fs_hz for name, one in recordings.items()},
            units={name: one.units for name, one in recordings.items()},
            resample=dict.fromkeys(recordings, "polyphase"),
            engine=self._engine,
            collect=EMBEDDING,
        )


def _labels_at(results: Sequence[Result], wanted: Sequence[Result]) -> tuple[str | None, ...]:
    labels = {result.t_anchor_s: result.label for result in results}
    return tuple(labels.get(result.t_anchor_s) for result in wanted)
