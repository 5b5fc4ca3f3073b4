"""A recording that was streamed while its model was levelled, swapped and rolled back: what the page is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from physioedge.report.matrix import NOBODY_SAID
from physioedge.report.streamed import WITHHELD
from physioedge.signals.recording import Recording
from physioedge_runtime.adaptation.adapting import TrialEnd
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.adaptation.own_signal import Levelled
from physioedge_runtime.result import Result

GLOBAL, LEVELLED, TRIAL, CONFIRMED, REVERTED, ROLLED_BACK = (
    "global", "levelled", "on trial", "confirmed", "reverted", "rolled back"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Change:
    """What serves from here on.

    Attributes
    ----------
    what : str
        ``global``, ``levelled``, ``on trial``, ``confirmed``, ``reverted`` or ``rolled back``.
    at_s : float
        Signal that had been pushed.
    index : int
        Results that had come.
    adapter_id : str
        What results name from now on.
    bias : bool
        Whether a level is kept for it.
    """

    what: str
    at_s: float
    index: int
    adapter_id: str
    bias: bool


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """From one change to the next, or to the end: `windows` results that name `adapter_id`."""

    what: str
    start_s: float
    end_s: float
    adapter_id: str
    bias: bool
    windows: int


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The same windows under different adapters.

    Attributes
    ----------
    labels : tuple of str
        Of the contract.
    truth : tuple of str or None
        Annotated class of each window.
    said : mapping of str to tuple of str or None
        By what served, each window's label; None where it was withheld.
    """

    labels: tuple[str, ...]
    truth: tuple[str | None, ...]
    said: Mapping[str, tuple[str | None, ...]]

    def rows(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Annotated class, what served, and how many windows got each label or none; unannotated windows as ``-``."""
        pairs = {who: Counter(zip(self.truth, said, strict=True)) for who, said in self.said.items()}
        classes = [c for c in (*self.labels, *sorted(self._others()), None) if c in set(self.truth)]
        columns = (*self.labels, None)
        return [
            (c or NOBODY_SAID, who, tuple(pairs[who][c, one] for one in columns)) for c in classes for who in self.said
        ]

    def columns(self) -> tuple[str, ...]:
        """Of `rows`."""
        return (*self.labels, WITHHELD)

    def counts(self, who: str) -> dict[str, int]:
        """Windows by label, and those withheld."""
        found = Counter(label or WITHHELD for label in self.said[who])
        return {name: found[name] for name in self.columns()}

    def agreement(self, who: str) -> tuple[int, int]:
        """Windows called as annotated, and windows with a label whose annotated class is one of the labels."""
        pairs = [(t, s) for t, s in zip(self.truth, self.said[who], strict=True) if t in self.labels and s is not None]
        return sum(truth == said for truth, said in pairs), len(pairs)

    def _others(self) -> set[str]:
        return {truth for truth in self.truth if truth is not None and truth not in self.labels}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A condition that went to a host, and the signed adapter that came back.

    Attributes
    ----------
    condition : Condition
        All that was sent of the person.
    sent : bytes
        The condition as it was sent.
    url : str
    answer_bytes : int
        Of the signed adapter.
    host_ms : float
        From sending to the last byte of the answer.
    at_s : float
        Signal that had been pushed by then.
    signal_bytes : int
        Of that signal, as 32-bit samples; of a recording played over again, once.
    """

    condition: Condition
    sent: bytes
    url: str
    answer_bytes: int
    host_ms: float
    at_s: float
    signal_bytes: int

    @property
    def parts(self) -> tuple[int, int]:
        """Bytes of text, and of numbers."""
        text = self.sent.index(b"\n") + 1
        return text, len(self.sent) - text


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What became of the adapter that came.

    Attributes
    ----------
    adapter_id, generator : str
        Its name, and how what made it works, both as it says itself.
    stage_ms, swap_ms : float
        Verifying it and writing it to the store; beginning the trial there and using it.
    swap_s : float
        Signal that had been pushed when it was swapped in.
    ended : TrialEnd or None
        None where the recording ended first.
    rollback_ms : float or None
        Of the forced rollback; None where there was nothing left to roll back.
    compared : Compared
        Windows under it.
    lost : int
        Windows from the swap to the end that a stream without the swap judged and this one did not, or otherwise.
    windows : int
        Windows of that stream from the swap to the end.
    back_alike, back : int
        Windows after it was taken away that are exactly those of a stream without the swap, and all of them.
    """

    adapter_id: str
    generator: str
    stage_ms: float
    swap_ms: float
    swap_s: float
    ended: TrialEnd | None
    rollback_ms: float | None
    compared: Compared
    lost: int
    windows: int
    back_alike: int
    back: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """How one such recording is spoken of.

    Attributes
    ----------
    title : str
        Of its section.
    opening : str
        What stands before it on a console.
    noun : str
        What the bundle judges, more than one: ``beats``.
    worth : str
        What the generator is worth over many people, as measured.
    source : str
        Where the recording is from, and its licence; empty where that is said already.
    over_time : str
        Label whose probability is drawn over the whole recording; empty for no such plot.
    """

    title: str
    opening: str
    noun: str
    worth: str
    source: str = ""
    over_time: str = ""


@dataclass(frozen=True, kw_only=True)
class Personal:
    """The whole of it.

    Attributes
    ----------
    part : Part
    recordings : mapping of sensor to Recording
        As often as they were played, one after the other; the leading one first.
    passes : int
        How often.
    plan : ChangePlan
        The bundle's.
    results : tuple of Result
    truth : tuple of str or None
        Annotated class of each.
    changes : tuple of Change
        The first is the beginning.
    levelled : Levelled
    rest : Compared
        Windows between levelling and the moment to ask a host.
    asked, tried : Asked, Tried or None
        None where no host was asked, or no adapter tried.
    skipped : str
        Why not; empty where it was.
    signal_s, wall_s : float
        Signal that was streamed, and how long all of it took.
    """

    part: Part
    recordings: Mapping[str, Recording]
    passes: int
    plan: ChangePlan
    results: tuple[Result, ...]
    truth: tuple[str | None, ...]
    changes: tuple[Change, ...]
    levelled: Levelled
    rest: Compared
    asked: Asked | None
    tried: Tried | None
    skipped: str
    signal_s: float
    wall_s: float

    @property
    def recording(self) -> Recording:
        """Of the leading sensor."""
        return next(iter(self.recordings.values()))

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the contract."""
        return self.rest.labels

    @property
    def pass_s(self) -> float:
        """Length of the recording played once."""
        return self.recording.duration_s / self.passes

    def stretches(self) -> list[Stretch]:
        """What served when."""
        stops = [(change.at_s, change.index) for change in self.changes[1:]]
        stops.append((self.signal_s, len(self.results)))
        return [
            Stretch(
                what=change.what,
                start_s=change.at_s,
                end_s=end_s,
                adapter_id=change.adapter_id,
                bias=change.bias,
                windows=stop - change.index,
            )
            for change, (end_s, stop) in zip(self.changes, stops, strict=True)
        ]
