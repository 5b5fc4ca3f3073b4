"""Two runs side by side, and conditions that make a build fail.

A condition is ``METRIC[@ARM][/GROUP] OP [+|-]NUMBER[%]``: ``p50_ms>+10%`` (a tenth slower than in the old file),
``peak_rss_mb@ours_et_int8>+2`` (two MB more), ``speedup_over_ort_fp32@ours_int8<2.3`` (a plain limit, no old file
needed). Without an arm it is asked of all of ours, with ``@*`` of every arm.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from physioedge.bench.arms import TITLES
from physioedge.bench.metrics import METRICS
from physioedge.results import Row
from physioedge_runtime.errors import EvaluationRefused

_SYNTAX = re.compile(
    r"(?P<metric>\w+)(?:@(?P<arm>\w+|\*))?(?:/(?P<group>[\w.-]+))?\s*(?P<op>>=|<=|>|<)\s*"
    r"(?P<sign>[+-])?(?P<number>\d+(?:\.\d+)?)(?P<percent>%)?"
)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
_SMALL = 0.05
"""Change below which a figure without an interval is called neither better nor worse."""
Key = tuple[str, str, str]
"""Group, arm, metric."""


@dataclass(frozen=True)
class Condition:
    """A condition that fails a comparison.

    Attributes
    ----------
    text : str
        As it was written.
    metric, arm, group : str
        What it looks at; empty arm: all of ours; empty group: all.
    op : str
    limit : float
        A value, a difference in the metric's unit, or a share (0.1 for 10 %).
    kind : str
        ``value``, ``difference`` or ``share``.
    """

    text: str
    metric: str
    arm: str
    group: str
    op: str
    limit: float
    kind: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition a text states.

        Raises
        ------
        EvaluationRefused
            Not of the form, or a metric or arm that no run has.
        """
        match = _SYNTAX.fullmatch(text.strip())
        form = "METRIC[@ARM][/GROUP] then > < >= or <= then a number, such as p50_ms>+10% or speedup_over_ort_fp32<2.3"
        if match is None:
            raise EvaluationRefused(f"the condition {text!r}", form, "Write it so, in quotes.")
        if match["percent"] and not match["sign"]:
            raise EvaluationRefused(
                f"the condition {text!r} with % but no sign",
                "+10% or -10%, a change against the old run",
                "Give the sign; a share of 30 % is written 0.3.",
            )
        _known("metric", match["metric"], METRICS)
        if match["arm"] not in (None, "*"):
            _known("arm", match["arm"], TITLES)
        number = float(match["number"]) * (-1 if match["sign"] == "-" else 1)
        kind = "value" if not match["sign"] else "share" if match["percent"] else "difference"
        limit = number / 100 if kind == "share" else number
        return cls(text.strip(), match["metric"], match["arm"] or "", match["group"] or "", match["op"], limit, kind)

    @property
    def needs_old(self) -> bool:
        """Whether it speaks of a change."""
        return self.kind != "value"


@dataclass(frozen=True)
class Verdict:
    """One condition on one arm.

    Attributes
    ----------
    condition : Condition
    key : tuple of str
        Group, arm, metric.
    old : float or None
    new : float
    fired : bool
        The condition is met, so the comparison fails.
    in_noise : bool
        The 95 % intervals of old and new overlap.
    """

    condition: Condition
    key: Key
    old: float | None
    new: float
    fired: bool
    in_noise: bool

    def __str__(self) -> str:
        group, arm, metric = self.key
        was = "" if self.old is None else f", was {self.old:.4g}"
        noise = " (the 95 % intervals overlap: this may be noise, run again)" if self.in_noise and self.fired else ""
        state = "FAILED" if self.fired else "holds"
        return f"{state}  {self.condition.text}: {metric} of {arm} ({group}) is {self.new:.4g}{was}{noise}"


@dataclass(frozen=True)
class Change:
    """One figure in both runs."""

    key: Key
    unit: str
    old: float
    new: float
    in_noise: bool | None
    """Whether the intervals overlap; None where there are none."""

    @property
    def share(self) -> float | None:
        """Change relative to the old value."""
        return None if self.old == 0 else self.new / self.old - 1

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``noise`` or nothing to say."""
        better = METRICS[self.key[2]].better if self.key[2] in METRICS else ""
        if self.in_noise:
            return "noise"
        small = self.in_noise is None and self.share is not None and abs(self.share) < _SMALL
        if not better or small or self.new == self.old:
            return ""
        return "better" if (self.new < self.old) == (better == "lower") else "worse"


def same_machine(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two documents come from the same processor model with as many cores."""
    a, b = old.get("machine", {}), new.get("machine", {})
    return all(a.get(name) == b.get(name) for name in ("cpu", "cores", "arch"))


def changes(old: Sequence[Row], new: Sequence[Row], *, anywhere: bool) -> list[Change]:
    """Figures that both runs have, in the order of the new one.

    Parameters
    ----------
    old, new : sequence of Row
    anywhere : bool
        Only figures that mean the same on another processor.
    """
    before = _by_key(old)
    return [
        Change(key, row.unit, before[key].value, row.value, _overlap(before[key], row))
        for key, row in _by_key(new).items()
        if key in before and (not anywhere or _anywhere(row))
    ]


def judge(
    condition: Condition, old: Sequence[Row] | None, new: Sequence[Row], *, other_machine: bool = False
) -> list[Verdict]:
    """The condition on every arm it speaks of.

    Parameters
    ----------
    condition : Condition
    old : sequence of Row or None
        None without an old run.
    new : sequence of Row
    other_machine : bool
        The old run is another processor's, so only figures that mean the same there are compared.

    Raises
    ------
    EvaluationRefused
        The figure is missing in one of the runs, or cannot be compared: a condition that cannot be judged never holds.
    """
    rows = [row for row in new if _speaks_of(condition, row)]
    if not rows:
        have = sorted({row.arm for row in new if row.metric == condition.metric})
        raise _not_judged(condition, f"this run has {condition.metric} of {', '.join(have) or 'no arm'}")
    if not condition.needs_old:
        return [_verdict(condition, row, None) for row in rows]
    if old is None:
        raise _not_judged(condition, "it speaks of a change, and there is no old run: name one with --compare")
    if other_machine and not _anywhere(rows[0]):
        raise _not_judged(
            condition, "the old run is another machine's: use a ratio such as speedup_over_ort_fp32, or --any-machine"
        )
    before = _by_key(old)
    absent = [row.arm for row in rows if _key(row) not in before]
    if absent:
        raise _not_judged(condition, f"the old run has no {condition.metric} of {', '.join(absent)}")
    return [_verdict(condition, row, before[_key(row)]) for row in rows]


def _verdict(condition: Condition, row: Row, old: Row | None) -> Verdict:
    value = row.value
    if old is not None:
        value -= old.value
    if old is not None and condition.kind == "share":
        value = value / old.value if old.value else float("inf") * value if value else 0.0
    fired = _OPERATORS[condition.op](value, condition.limit)
    return Verdict(condition, _key(row), old.value if old else None, row.value, fired, bool(old and _overlap(old, row)))


def _speaks_of(condition: Condition, row: Row) -> bool:
    arm = condition.arm == "*" or row.arm == condition.arm or (not condition.arm and row.arm.startswith("ours"))
    return arm and row.metric == condition.metric and condition.group in ("", row.group)


def _anywhere(row: Row) -> bool:
    return row.metric in METRICS and METRICS[row.metric].anywhere


def _overlap(old: Row, new: Row) -> bool | None:
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return None
    return old.low <= new.high and new.low <= old.high


def _key(row: Row) -> Key:
    return row.group, row.arm, row.metric


def _by_key(rows: Sequence[Row]) -> dict[Key, Row]:
    return {_key(row): row for row in rows}


def _known(what: str, name: str, names: Mapping[str, Any]) -> None:
    if name not in names:
        near = get_close_matches(name, names, n=3) or list(names)
        raise EvaluationRefused(f"the {what} {name!r}", f"one such as {', '.join(near)}", "See docs/bench.md for all.")


def _not_judged(condition: Condition, why: str) -> EvaluationRefused:
    return EvaluationRefused(
        f"the condition {condition.text!r}", "one that can be judged", f"{why[0].upper()}{why[1:]}."
    )
