"""Rows of a personalisation table, put in order: what kind each arm is of, and which row answers which question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from physioedge.results import Row

REFERENCE = "global"
"""The arm that knows nothing of the person."""
CEILING = "local"
"""The arm whose lead over `REFERENCE` is the gap to close: it has the labels of the first five minutes."""
DECIDING = {"mean_accuracy": "mean accuracy", "macro_f1": "macro-F1"}
"""Metrics that arms are compared by, and what they are called."""

OWN_SIGNAL = ("centring_half", "centring", "levelling", "bn", "prior", "pseudo_prototypes", "entropy", "shot")
LABELLED = ("kshot_prototypes", "local_kshot", "local", "full")
FEDERATED = "fedavg"
"""The same adapter for everybody, averaged over people whose signals stay at home."""
PAPER = "paper"
"""First word of arms of the published recipe, which are told classes of the calibration."""
OWN_ROW = "own"
"""First word of arms that are the judged person's own residual, fitted with every class of the recording."""
CONTROLS = ("shuffled", "null", "foreign", "random", "noised")
"""First words of arms that are told nothing of the person, or another's; the last two ask no generator."""
STEPS = ("centring", "levelling")
KINDS = (
    "nothing of the person",
    "own signal, no generator",
    "generated",
    "generated, then a step on the device",
    "control",
    "generated from labelled windows",
    "ceiling, with labels",
)
"""In the order of the page."""
GENERATED = KINDS[2:5]
_BETWEEN = ":minus:"


def kind_of(arm: str) -> str:
    """One of `KINDS`; an arm that is neither listed here nor a control is a generator's."""
    if arm == REFERENCE or arm.partition("_")[0] == FEDERATED:
        return KINDS[0]
    if arm.partition("_")[0] == PAPER:
        return KINDS[5]
    if arm in OWN_SIGNAL:
        return KINDS[1]
    if arm in LABELLED or arm.partition("_")[0] == OWN_ROW:
        return KINDS[6]
    if arm.partition("_")[0] in CONTROLS:
        return KINDS[4]
    return KINDS[3] if arm.rpartition("_")[2] in STEPS else KINDS[2]


def in_order(arms: Sequence[str]) -> list[str]:
    """By kind; listed arms as they are listed, the others as they come."""
    listed = (*OWN_SIGNAL, *LABELLED)

    def place(arm: str) -> tuple[int, int]:
        return KINDS.index(kind_of(arm)), listed.index(arm) if arm in listed else 0

    return sorted(arms, key=place)


def decided(row: Row) -> bool:
    """Whether the interval of a difference excludes zero."""
    return row.low is not None and row.high is not None and (row.low > 0 or row.high < 0)


@dataclass(frozen=True, kw_only=True)
class Group:
    """What was measured on one group of people.

    Attributes
    ----------
    name : str
        ``DS2, lead 1``.
    values : mapping of (arm, metric) to Row
    differences : mapping of (other arm, arm, metric) to Row
        The arm less the other arm, paired.
    """

    name: str
    values: Mapping[tuple[str, str], Row]
    differences: Mapping[tuple[str, str, str], Row]

    @property
    def arms(self) -> list[str]:
        """In the order of the page."""
        return in_order(list(dict.fromkeys(arm for arm, _ in self.values)))

    @property
    def classes(self) -> list[str]:
        """Whose sensitivity was measured."""
        metrics = dict.fromkeys(metric for _, metric in self.values)
        return [metric.partition(":")[2] for metric in metrics if metric.startswith("sensitivity:")]

    def against(self, other: str) -> list[str]:
        """Arms with a difference from `other` in a deciding metric, in the order of the page."""
        found = dict.fromkeys(arm for known, arm, metric in self.differences if known == other and metric in DECIDING)
        return in_order(list(found))

    def gap(self, metric: str) -> float | None:
        """By how much `CEILING` is better than `REFERENCE`; None where it is not, or where one was not measured."""
        low, high = self.values.get((REFERENCE, metric)), self.values.get((CEILING, metric))
        if low is None or high is None or high.value <= low.value:
            return None
        return high.value - low.value

    def closed(self, arm: str, metric: str) -> float | None:
        """The share of the gap an arm closes, below zero where it makes things worse; None without a gap."""
        gap, row = self.gap(metric), self.values.get((arm, metric))
        return None if gap is None or row is None else (row.value - self.values[REFERENCE, metric].value) / gap


def groups_of(rows: Sequence[Row]) -> list[Group]:
    """The groups of a results file, in its order."""
    values: dict[str, dict[tuple[str, str], Row]] = {}
    differences: dict[str, dict[tuple[str, str, str], Row]] = {}
    for row in rows:
        name, between, other = row.group.partition(_BETWEEN)
        if between:
            differences.setdefault(name, {})[other, row.arm, row.metric] = row
        else:
            values.setdefault(name, {})[row.arm, row.metric] = row
    return [Group(name=name, values=found, differences=differences.get(name, {})) for name, found in values.items()]
