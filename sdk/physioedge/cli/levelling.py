"""``physioedge adapt --level``: a bias from the first part of a recording, and what it changes of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from physioedge.cli.feeding import Push
from physioedge_runtime import Result, Stream
from physioedge_runtime.adaptation.adapting import Adaptation
from physioedge_runtime.adaptation.own_signal import LEVELLED, Levelled, named_bias
from physioedge_runtime.adaptation.session import NOT_ASKED


@dataclass(frozen=True, kw_only=True)
class LevelTold:
    """What happened.

    Attributes
    ----------
    step : str
        As `Levelled.step`; ``not asked`` where the recording was too short.
    serves : str
        Id of the adapter in use.
    how : str
        ``levelling`` or ``centring``; empty where the bundle offers neither.
    windows : int
        Windows that the bias was taken from.
    bias : mapping of str to float
        What serves from now on, by label or value.
    rest : int
        Windows after the bias was taken.
    changed : mapping of str to int
        How many of them have another label than without the bias, by ``old -> new``. None for values.
    reason : str
        Why there is no new bias.
    signal_s : float
        Signal that was streamed.
    """

    step: str
    serves: str
    how: str = ""
    windows: int = 0
    bias: Mapping[str, float] = field(default_factory=dict)
    rest: int = 0
    changed: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    signal_s: float = 0.0


def level_on(adaptation: Adaptation, fed: Iterator[Push], seconds: float, twin_of: Callable[[], Stream]) -> LevelTold:
    """Stream until `seconds`, level, and stream the rest beside a stream without the bias.

    Parameters
    ----------
    adaptation : Adaptation
    fed : iterator of Push
        The recording.
    seconds : float
        Signal before the bias is taken.
    twin_of : callable
        Makes a stream like the adaptation's, with its engine.
    """
    stream, at_s = adaptation.stream, 0.0
    if adaptation.own is None:  # more signal would not help
        return _told(adaptation.level(), signal_s=at_s)
    for push in fed:
        adaptation.step(stream.push(push.chunk, push.t_s, push.sensor))
        at_s = max(at_s, push.until_s)
        if at_s >= seconds:
            break
    else:
        reason = f"the recording ended after {at_s:g} s, before the {seconds:g} s of --seconds"
        return LevelTold(
            step=NOT_ASKED, serves=stream.adapter_id, bias=named_bias(adaptation.store), reason=reason, signal_s=at_s
        )
    outcome = adaptation.level()
    if outcome.step != LEVELLED:
        return _told(outcome, signal_s=at_s)
    rest, changed = 0, Counter[str]()
    with twin_of() as twin:
        _as_without_bias(twin, adaptation)
        for push in fed:
            given = push.chunk, push.t_s, push.sensor
            ours, theirs = stream.push(*given), twin.push(*given)
            adaptation.step(ours)
            rest, at_s = rest + len(ours), max(at_s, push.until_s)
            changed += _changes(theirs, ours)
        ours = stream.flush()
        rest, changed = rest + len(ours), changed + _changes(twin.flush(), ours)
    return _told(outcome, rest=rest, changed=dict(changed.most_common()), signal_s=at_s)


def lines_of(told: LevelTold) -> list[tuple[str, object]]:
    """Rows of what happened, one number each for labels and pairs of labels."""
    rows: list[tuple[str, object]] = [("step", told.step), ("serves", told.serves), ("how", told.how or "-")]
    rows.append(("windows", told.windows))
    rows += [(f"bias of {name}", f"{number:+.3f}") for name, number in told.bias.items()]
    rows += [("windows after", told.rest), ("labels changed", sum(told.changed.values()))]
    rows += [(f"  {pair}", count) for pair, count in told.changed.items()]
    return [*rows, *([("reason", told.reason)] if told.reason else []), ("signal s", told.signal_s)]


def _as_without_bias(twin: Stream, adaptation: Adaptation) -> None:
    """The twin goes on from where the stream is, with the same adapter and without the bias kept beside it."""
    twin.restore(adaptation.stream.snapshot())
    serving = adaptation.store.serving
    if serving is None:
        twin.set_adapter(None)
    else:
        twin.set_adapter(serving.arrays, serving.manifest.id)


def _changes(before: list[Result], after: list[Result]) -> Counter[str]:
    pairs = [(_said(old), _said(new)) for old, new in zip(before, after, strict=True)]
    return Counter(f"{old} -> {new}" for old, new in pairs if old != new)


def _said(result: Result) -> str:
    return result.label or "withheld"


def _told(outcome: Levelled, *, signal_s: float, rest: int = 0, changed: Mapping[str, int] | None = None) -> LevelTold:
    reason = "" if outcome.error is None else f"[{outcome.error.code}] {outcome.error}"
    return LevelTold(
        step=outcome.step, serves=outcome.adapter_id, how=outcome.how, windows=outcome.windows, bias=outcome.bias,
        rest=rest, changed=changed or {}, reason=reason, signal_s=signal_s,
    )  # fmt: skip
