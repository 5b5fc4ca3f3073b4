"""Whether an adapter on trial may stay, told from unlabelled windows of the same person, and better with a few labels.

The change plan bounds what an adapter may change of the results. A guard compares the results of a trial with those
before it or, where a second stream runs beside the trial, with what the model in use says of the same windows. Without
labels it sees that an adapter changed something, never that it was right to; where somebody confirms a few of the
windows that the two call otherwise, it sees that as well. ``docs/adapter.md`` says what each finds and what it cannot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, pstdev

from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.compared import Kept, Pairs
from physioedge_runtime.result import Result

WAIT, CONFIRM, REVERT = "wait", "confirm", "revert"
MAX_LOSS = 0.02
"""Accuracy that confirmed labels may speak against a candidate: of all windows, those that it seems to get wrong."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a guard says of a trial.

    Attributes
    ----------
    decision : str
        ``wait``, ``confirm`` (nothing speaks against the adapter) or ``revert``.
    reason : str
        Why, with the numbers and their bounds.
    windows_before, windows_during : int
        Judged windows that it is based on.
    """

    decision: str
    reason: str
    windows_before: int
    windows_during: int


class Guard:
    """Compares results under the adapter on trial with those before it. Never raises for what a signal does.

    Parameters
    ----------
    plan : ChangePlan

    Attributes
    ----------
    confirmed, trial : str or None
        Ids of the adapters compared; results under other ones are ignored. Where nobody named them, they are those of
        the first results.
    seconds : float
        Length of the trial so far, in time of signal.
    answers : int
        So many confirmed labels are waited for, of windows that the candidate and the model in use call otherwise, or
        of all where these are fewer; 0, the default, where nobody is there to confirm any.
    """

    def __init__(self, plan: ChangePlan) -> None:
        self.plan = plan
        self.answers = 0
        self.begin(None)

    def begin(self, adapter_id: str | None) -> None:
        """Forget everything; results from now on are expected under this adapter."""
        self.confirmed: str | None = adapter_id
        self._before = Kept(self.plan.max_windows)
        self.tries(None)

    def tries(self, adapter_id: str | None) -> None:
        """A trial of this adapter begins; what was seen before it stays."""
        self.trial: str | None = adapter_id
        self._during = Kept(self.plan.max_windows)
        self._pairs = Pairs(self.plan.max_windows)
        self.seconds = 0.0
        self._last_s: float | None = None

    def settled(self, confirmed: bool) -> None:
        """The trial is over: its results are the ones to compare with from now on, or they are dropped."""
        if confirmed:
            self.confirmed, self._before = self.trial, self._during
        self.tries(None)

    @property
    def ready(self) -> bool:
        """Whether enough is known to judge a trial by."""
        return self._before.judged >= self.plan.min_windows

    @property
    def windows_before(self) -> int:
        """Judged windows before the trial that are kept."""
        return self._before.judged

    def before(self, results: Iterable[Result]) -> None:
        """Results under the confirmed adapter; one without label and values counts as withheld."""
        for result in results:
            self.confirmed = result.adapter if self.confirmed is None else self.confirmed
            if result.adapter == self.confirmed:
                self._before.add(result)

    def during(self, results: Iterable[Result], now_s: float | None = None) -> None:
        """Results of the trial; and the time on the stream's clock, which goes on where there are no results."""
        for result in results:
            if self.trial is None and result.adapter != self.confirmed:
                self.trial = result.adapter
            if result.adapter == self.trial:
                self._during.add(result)
                self._pairs.add(result, candidate=True)
                if now_s is None:
                    self._passes(result.t_emitted_s)
        if now_s is not None:
            self._passes(now_s)

    def beside(self, results: Iterable[Result]) -> None:
        """What the model in use says of the windows of the trial; the trial is then judged by these."""
        for result in results:
            if result.adapter == self.confirmed:
                self._pairs.add(result, candidate=False)

    def asks(self) -> list[float]:
        """Judged instants of windows worth a confirmed label: over the whole trial, never more than are waited for.

        None before the trial has its windows: the first that differ are not like all that do.
        """
        if len(self._pairs) < self.plan.min_windows:
            return []
        return self._pairs.open_questions(self.answers - self._pairs.told.answered)

    def told(self, t_anchor_s: float, label: str | None) -> bool:
        """A confirmed label of a window of the trial; False where it is none that both have judged.

        None where nobody can tell: another window is asked about, as long as there is one. With fewer answers than are
        waited for, and questions left open, the bounds of the plan hold beside what labels say.
        """
        return self._pairs.tell(t_anchor_s, label)

    def verdict(self) -> Verdict:
        """What is to be done about the trial now."""
        plan, before, during = self.plan, self._before, self._during
        withheld = self._withheld_more()
        if withheld > plan.max_withheld_increase:
            said = f"share of withheld results changed by {withheld:+.3f} (at most {plan.max_withheld_increase:+g})"
            return self._verdict(REVERT, said)
        waits = len(during) < plan.max_windows and self.seconds <= plan.max_seconds
        if self._paired:
            few, had = len(self._pairs) < plan.min_windows, f"{len(self._pairs)} windows judged by both"
        else:
            few = min(before.judged, during.judged) < plan.min_windows
            had = f"{before.judged} judged windows before and {during.judged} in the trial of {plan.min_windows} each"
        if few:
            if waits:
                return self._verdict(WAIT, had)
            return self._verdict(REVERT, f"{had}, after {len(during)} results and {self.seconds:.0f} s")
        if self._paired and self.asks() and waits:
            return self._verdict(WAIT, f"{self._pairs.told.answered} of {self.answers} confirmed labels")
        if self._paired:
            told = self._pairs.told
            checks = _told(self._pairs) if self.answers and told.answered else []
            if not checks or (told.answered < self.answers and (told.answered < told.asked or self.asks())):
                checks += _beside(plan, self._pairs)
        else:
            checks = [*_labels(plan, before, during), *_values(plan, before, during)]
        broken = [said for holds, said in checks if not holds]
        if broken:
            return self._verdict(REVERT, "; ".join(broken))
        return self._verdict(CONFIRM, "; ".join(said for _, said in checks))

    @property
    def _paired(self) -> bool:
        """Whether labels are compared window by window; values never are."""
        return self._pairs.used and bool(self._before.label_shares)

    def _withheld_more(self) -> float:
        """By how much the share of withheld results grew; 0 while too little is known.

        Beside the model in use it is the share of the very same windows: bad signal is withheld under either.
        """
        least, before, during = self.plan.min_windows, self._before, self._during
        if self._pairs.used:
            return self._pairs.withheld_change if self._pairs.seen >= least else 0.0
        return during.withheld_share - before.withheld_share if min(len(before), len(during)) >= least else 0.0

    def _verdict(self, decision: str, reason: str) -> Verdict:
        counts = {"windows_before": self._before.judged, "windows_during": self._during.judged}
        return Verdict(decision=decision, reason=reason, **counts)

    def _passes(self, now_s: float) -> None:
        """A clock that is turned back, as by `Stream.reset`, adds nothing and takes nothing away."""
        if math.isfinite(now_s):
            self.seconds += 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
            self._last_s = now_s


_Check = tuple[bool, str]


def _labels(plan: ChangePlan, before: Kept, during: Kept) -> list[_Check]:
    """Label shares and margins; nothing for a model that gives values."""
    old, new = before.label_shares, during.label_shares
    if not old:
        return []
    shift = math.fsum(abs(old.get(label, 0.0) - new.get(label, 0.0)) for label in {*old, *new}) / 2
    change = during.margin - before.margin
    least = plan.min_margin_change
    return [
        (shift <= plan.max_label_shift, f"label shares moved by {shift:.3f} (at most {plan.max_label_shift:g})"),
        (change >= least, f"mean margin changed by {change:+.3f} (at least {least:+g})"),
    ]


def _beside(plan: ChangePlan, pairs: Pairs) -> list[_Check]:
    """The same bounds, window by window: no change of the person in the trial is taken for the adapter's."""
    share, change, least = pairs.differing_share, pairs.margin_change, plan.min_margin_change
    return [
        (share <= plan.max_label_shift, f"{share:.3f} of windows called otherwise (at most {plan.max_label_shift:g})"),
        (change >= least, f"mean margin {change:+.3f} beside the model in use (at least {least:+g})"),
    ]


def _told(pairs: Pairs) -> list[_Check]:
    """Where there are labels, they alone count: a candidate may be right to change much, and to be less sure."""
    told, share = pairs.told, pairs.differing_share
    gain = share * (told.new_right - told.old_right) / told.answered
    said = (
        f"{told.new_right} of {told.answered} confirmed windows right, {told.old_right} by the model in use, "
        f"{share:.3f} of all called otherwise: {gain:+.3f} accuracy (at least {-MAX_LOSS:+g})"
    )
    return [(gain >= -MAX_LOSS, said)]


def _values(plan: ChangePlan, before: Kept, during: Kept) -> list[_Check]:
    """Mean and deviation of every value; a value that never moved before may not move at all."""
    checks = []
    for i, (old, new) in enumerate(zip(before.values, during.values, strict=True)):
        size = max(pstdev(old), 1e-6 * max(1.0, abs(fmean(old))))
        for what, moved in (("mean", fmean(new) - fmean(old)), ("deviation", pstdev(new) - pstdev(old))):
            said = f"{what} of value {i} moved by {moved / size:+.2f} deviations (at most {plan.max_shift:g})"
            checks.append((abs(moved) <= plan.max_shift * size, said))
    return checks
