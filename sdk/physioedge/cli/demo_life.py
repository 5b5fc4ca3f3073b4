"""A recording played again and again into a stream that is personalised, and into twins that are left as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from physioedge.cli.annotated import annotated
from physioedge.report.personalised import GLOBAL, Change, Compared
from physioedge.signals.recording import Recording
from physioedge_runtime import Bundle, Result, Stream
from physioedge_runtime.adaptation.adapting import Adaptation, TrialEnd
from physioedge_runtime.adaptation.condition import EMBEDDING
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine import Engine

CHUNK_S = 0.25


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
    bundle : Bundle
    engine : Engine
        Of the bundle, with slots; all streams share it.
    recording : Recording
    passes : int
        How often it is played.
    store : AdapterStore
        Empty.
    tick : callable
        Told how much signal was pushed.

    Attributes
    ----------
    recording : Recording
        All passes, annotations too.
    pass_s : float
        Length of one.
    """

    def __init__(
        self, bundle: Bundle, engine: Engine, recording: Recording, passes: int, store: AdapterStore,
        tick: Callable[[float], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._bundle, self._engine, self._tick = bundle, engine, tick
        self.recording, self.passes, self.pass_s = repeated(recording, passes), passes, recording.duration_s
        self.stream = self._opened()
        self.adaptation = Adaptation.of(bundle, self.stream, store)
        self.results: list[Result] = []
        self.changes: list[Change] = []
        self._twins: list[Twin] = []
        self._at = 0  # samples pushed
        self.changed(GLOBAL)

    @property
    def at_s(self) -> float:
        """Signal pushed so far."""
        return self._at / self.recording.fs_hz

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
        step = max(1, round(CHUNK_S * self.recording.fs_hz))
        stop = min(round(until_s * self.recording.fs_hz), self.recording.samples.shape[1])
        while self._at < stop:
            chunk = self.recording.samples[:, self._at : min(self._at + step, stop)]
            self._at += chunk.shape[1]
            found = self.stream.push(chunk)
            self.results += found
            for twin in self._twins:
                twin.results += twin.stream.push(chunk)
            ended = self.adaptation.step(found)
            self._tick(self.at_s)
            if ended is not None:
                return ended
        return None

    def lives_on(self) -> None:
        """Stream one chunk more."""
        self.lives(self.at_s + CHUNK_S)

    def ends(self) -> None:
        """The last results; once more gives no others."""
        self.results += self.stream.flush()
        for twin in self._twins:
            twin.results += twin.stream.flush()

    def compared(self, own: str, mine: Sequence[Result], others: Mapping[str, Twin]) -> Compared:
        """Some of the results beside those of twins for the same beats; own ones last."""
        truth, _ = annotated(self.recording, mine)
        said = {name: _labels_at(twin.results, mine) for name, twin in others.items()}
        said[own] = tuple(result.label for result in mine)
        known = (None,) * len(mine) if truth is None else truth
        return Compared(labels=self.stream.contract.labels, truth=known, said=said)

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
        return Stream(
            self._bundle,
            fs_hz=self.recording.fs_hz,
            units=self.recording.units,
            resample="polyphase",
            channels=self.recording.channels,
            engine=self._engine,
            collect=EMBEDDING,
        )


def repeated(recording: Recording, times: int) -> Recording:
    """A recording played several times over, with its annotations."""
    notes, length = recording.annotations, recording.samples.shape[1]
    if notes is not None:
        at = np.concatenate([notes.sample + i * length for i in range(times)])
        notes = replace(notes, sample=at, symbol=notes.symbol * times, note=notes.note * times)
    return replace(recording, samples=np.tile(recording.samples, (1, times)), annotations=notes)


def _labels_at(results: Sequence[Result], wanted: Sequence[Result]) -> tuple[str | None, ...]:
    labels = {result.t_anchor_s: result.label for result in results}
    return tuple(labels.get(result.t_anchor_s) for result in wanted)
