"""What ``physioedge adapt`` saw withheld: where that is why windows are few, more of such signal does not help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from physioedge_runtime import Result, Stream
from physioedge_runtime.adaptation.adapting import Adaptation, TrialEnd
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.own_signal import Levelled, OwnSignal
from physioedge_runtime.adaptation.session import WAITING
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.errors import AdapterError, ConditionError, PhysioEdgeError

_STARTING = "warming_up"
"""That flag goes away by itself."""
_NAMED = 3
_LONG_S = 30.0
"""A heart beats in less."""
_DO = (
    "More of such a signal does not help: check --units, --fs-hz and --channel. `physioedge run` shows every window "
    "and its flags."
)


class CountingAdaptation(Adaptation):
    """As `Adaptation`; errors of too few windows say what was withheld, where that is half of what came or more.

    Attributes
    ----------
    counted, withheld : int
        Results so far, without those of a signal that had just begun; those of them that give no answer.
    flags : Counter of str
        Of the ones withheld.
    """

    def __init__(self, stream: Stream, store: AdapterStore, plan: ChangePlan, own: OwnSignal | None = None) -> None:
        super().__init__(stream, store, plan, own)
        self.counted = self.withheld = 0
        self.flags: Counter[str] = Counter()

    def step(self, results: Sequence[Result], beside: Sequence[Result] = ()) -> TrialEnd | None:
        """As `Adaptation.step`."""
        for result in results:
            if _STARTING not in result.flags:
                self.counted += 1
                if not result.judged:
                    self.withheld += 1
                    self.flags.update(result.flags)
        return super().step(results, beside)

    def level(self) -> Levelled:
        """As `Adaptation.level`."""
        told = super().level()
        if told.step != WAITING or told.error is None:
            return told
        return replace(told, error=self.explained(told.error))

    def explained(self, error: PhysioEdgeError) -> PhysioEdgeError:
        """An error of too few windows with why they are few; any other as it is."""
        if type(error) not in (AdapterError, ConditionError):  # of the kinds below them none is about windows
            return error
        if self.counted and 2 * self.withheld >= self.counted:
            flags = ", ".join(f"{flag} {count}" for flag, count in self.flags.most_common(_NAMED))
            why = f"{self.withheld} of {self.counted} windows withheld so far ({flags})"
        elif not self.counted and self.stream.contract.trigger.kind == "beat" and self.stream.now_s > _LONG_S:
            why = f"no beat found in {self.stream.now_s:.0f} s of signal"
        else:
            return error
        return type(error)(f"{error.came}, with {why}", error.expected, _DO)
