"""Put candidates on trial: what the model says before, during and after a trial, of real people's windows.

The first five minutes are before the trial, as on a device that asks then; the next windows are the trial, one after
the other; the rest, evenly, says what the candidate is worth. The network runs in batches, in place of the int8 graph
window by window: the two give the same label to 99.8 of 100 windows (results/engines.md), where a harmful adapter
changes five or more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Base
from physioedge.adapters.sets.making import SetConfig
from physioedge.adapters.sets.people import Worn
from physioedge.adapters.sets.residual import LabelledWindows, ResidualFit, fit_residual
from physioedge.adapters.sets.wearers import first_lead, second_lead
from physioedge.evaluation.guard.candidates import Floats, Known, candidates, kind_of
from physioedge.evaluation.guard.drift import drifts
from physioedge.evaluation.personal.judged import CALIBRATION_S, JudgedBeats, Round, rounds
from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.regression import compacted, fit_krr
from physioedge.models import shipped
from physioedge.tasks import arrhythmia
from physioedge_export.merge import read_adapter

TRIAL = 300
"""Windows of a trial that are kept; a guard may decide sooner."""
AFTER = 300
RANK = 16
"""Of the generator, as of the one that ships."""
OTHER_TASK = "heart_rate"
"""Whose shipped adapter is put on trial for arrhythmia."""
WEARERS = {"lead 1": 0, "lead 2": 1}
"""Virtual wearers of a set that show a recording as it is."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One candidate tried on one person.

    Attributes
    ----------
    person, variant, candidate : str
    before : float64 (n_before, class)
        Logits of the model in use, before the trial.
    beside : float64 (n_trial, class)
        The same model's on the windows of the trial.
    during : float64 (n_trial, class)
        The candidate's on them.
    target : int64 (n_trial,)
        Classes; -1 where a window has none. Only rules that are given labels look at them.
    called : int64 (3, n_after)
        Classes after the trial: true, by the model in use, by the candidate.
    drift : float64 (3, n_trial)
        How far the candidate has moved the embeddings by each window of the trial: `physioedge.evaluation.guard.drift`.
    """

    person: str
    variant: str
    candidate: str
    before: Floats
    beside: Floats
    during: Floats
    target: NDArray[np.int64]
    called: NDArray[np.int64]
    drift: Floats

    @property
    def gain(self) -> float:
        """Change of accuracy after the trial; what a guard cannot see."""
        true, old, new = self.called
        return float((new == true).mean() - (old == true).mean())


Say = Callable[[str], None]


def trials(
    judged: JudgedBeats,
    folder: Path,
    found: AdapterSet,
    group: str,
    work: Path,
    *,
    seed: int,
    say: Say,
    people: int | None = None,
) -> list[Trial]:
    """All trials of a group, ``DS1 folds`` or ``DS2``; finished people come from their files in `work`.

    Parameters
    ----------
    judged : JudgedBeats
    folder : Path
        Of ``physioedge train adapters``, with the global adapters.
    found : AdapterSet
        Its set.
    group : str
    work : Path
    seed : int
        Of what is drawn.
    say : callable
        Given a line for each person.
    people : int, optional
        At most so many of each round.
    """
    made: list[Trial] = []
    for each in rounds(judged, folder, SetConfig(), (group,), seed=seed):
        known = found.without(each.barred)
        generate = compacted(fit_krr(known), RANK)
        here = Trying(judged=judged, each=each, found=found, known=known, generate=generate, seed=seed)
        made += here.trials(each.names[:people], work, say)
    return made


@dataclass(frozen=True, kw_only=True)
class Trying:
    """People tried around one global adapter, and what candidates are taken from.

    Attributes
    ----------
    judged : JudgedBeats
    each : Round
    found : AdapterSet
        Residuals of the people themselves, as far as there are any.
    known : AdapterSet
        Those of others: nobody is taken for a foreign person to themselves.
    generate : callable
        Conditions to residuals.
    seed : int
        Of what is drawn.
    """

    judged: JudgedBeats
    each: Round
    found: AdapterSet
    known: AdapterSet
    generate: Callable[[Floats], Floats]
    seed: int

    @cached_property
    def origin(self) -> str:
        """Digest of whom candidates are taken from."""
        said = hashlib.sha256(" ".join(self.each.names).encode())
        for part in (self.found, self.known):
            said.update(" ".join(part.person).encode() + part.adapters.tobytes() + part.conditions.tobytes())
        return said.hexdigest()[:8]

    def file(self, name: str, variant: str) -> str:
        """Name of a person's file."""
        return f"{self.seed}-{self.each.group}-{name}-{variant}-{self.origin}.npz".replace(" ", "")

    def trials(self, names: Sequence[str], work: Path, say: Say, variants: Sequence[str] | None = None) -> list[Trial]:
        """All trials of people, or those of some variants; finished ones come from their files in `work`."""
        made: list[Trial] = []
        for name in names:
            for variant in self.judged.variants if variants is None else variants:
                path = work / self.file(name, variant)
                if not _whole(path):
                    _save(path, self.tried(name, variant))
                    say(f"{self.each.group}, {name}, {variant}")
                made += _read(path, name, variant)
        return made

    def tried(self, name: str, variant: str) -> dict[str, NDArray[Any]]:
        """All candidates of a person, as arrays of a file."""
        before, trial, after = parts_of(self.judged, name, variant)
        base, names = self.each.base, self.each.names
        embedding = base.embed(before.signals)
        other = parts_of(self.judged, names[(names.index(name) + 1) % len(names)], variant)[0]
        own, other_lead = _own(self.found, base, before, name, variant)
        told = Known(
            own=own, other_lead=other_lead, foreign=_foreign(self.known, name, variant, self.seed),
            generated=self.generate(base.features(embedding))[0],
            misdirected=self.generate(base.features(base.embed(other.signals)))[0], wrong_task=of_another_task(base),
        )  # fmt: skip
        residuals = candidates(told, f"{name}-{variant}", seed=self.seed)
        beside = base.embed(trial.signals)
        during = [base.embed(trial.signals, r) for r in residuals.values()]
        return {
            "before": base.logits(embedding), "beside": base.logits(beside), "target": trial.target,
            "true": after.target, "old": _called(base, after, None), "candidates": np.array(list(residuals)),
            "during": np.stack([base.logits(one) for one in during]),
            "drift": np.stack([drifts(embedding, beside, one) for one in during]),
            "new": np.stack([_called(base, after, r) for r in residuals.values()]),
        }  # fmt: skip


def of_another_task(base: Base) -> Floats:
    """What the shipped adapter of heart rate has in the places of the slots: A is the same in every task's layers."""
    arrays = read_adapter(shipped.adapter_of(OTHER_TASK))
    parts = []
    for slot in base.network.slots:
        b = arrays.pairs[f"backbone.{slot.name.removesuffix('.B')}"].b
        parts.append(np.asarray(b.T, np.float64).ravel())
    return np.concatenate(parts)


def _save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def parts_of(judged: JudgedBeats, name: str, variant: str) -> tuple[Worn, Worn, Worn]:
    """A person's windows before, in and after the trial; none after begins before its last judged instant."""
    wearer = first_lead() if variant == "lead 1" else second_lead()
    worn = judged.beats.seen(judged.beats.record(name), wearer)
    cut = judged.beats.cut
    before_s = (cut.input_samples - arrhythmia.LOOKAHEAD_SAMPLES) / judged.beats.fs_hz
    later = np.flatnonzero(worn.time_s >= CALIBRATION_S)
    trial, rest = later[:TRIAL], later[TRIAL:]
    end_s = worn.time_s[trial[-1]] if len(trial) else CALIBRATION_S
    rest = rest[(worn.target[rest] >= 0) & (worn.time_s[rest] - before_s >= end_s)]
    after = rest[np.linspace(0, len(rest) - 1, min(AFTER, len(rest))).round().astype(np.int64)]
    return worn.of(worn.time_s < CALIBRATION_S), worn.of(trial), worn.of(after)


def _own(found: AdapterSet, base: Base, before: Worn, name: str, variant: str) -> tuple[Floats, Floats | None]:
    """The set's residuals of the person on this lead and on the other; of somebody not in it, one fitted here.

    That is fitted on the labels of the windows before the trial, and there is none of the other lead.
    """
    if name in found.person:
        mine = [_of(found, name, wearer) for wearer in WEARERS.values()]
        return (mine[0], mine[1]) if variant == "lead 1" else (mine[1], mine[0])
    kept = before.of(before.target >= 0)
    known = LabelledWindows(log_prior=base.log_prior, signals=kept.signals, target=kept.target, seed=0)
    fitted = fit_residual(base.network, known, ResidualFit())
    return fitted.astype(np.float64), None


def _foreign(known: AdapterSet, name: str, variant: str, seed: int) -> Floats:
    """Other people's residuals of the same lead, in an order of the person's own."""
    others = [one for one in np.unique(known.person) if one != name]
    order = np.random.default_rng((seed, int(name))).permutation(others)
    return np.stack([_of(known, one, WEARERS[variant]) for one in order])


def _of(found: AdapterSet, name: str, wearer: int) -> Floats:
    """The residual of a person's `wearer`-th virtual wearer: rows of a person are by wearer, then by stretch."""
    rows = found.adapters[found.person == name]
    stretches = len(rows) // int(found.details["config"]["wearers"])
    return np.asarray(rows[wearer * stretches])


def _called(base: Base, worn: Worn, residual: Floats | None) -> NDArray[np.int64]:
    return np.asarray(base.logits(base.embed(worn.signals, residual)).argmax(1))


def _whole(path: Path) -> bool:
    """Whether a file is there, and neither damaged nor one of an earlier release with less in it."""
    if not path.exists():
        return False
    try:
        with path.open("rb") as held, np.load(held, allow_pickle=False) as file:
            kinds = {kind_of(str(one)) for one in file["candidates"]}
            return all(len(file[key]) for key in file.files) and "drift" in file.files and "wrong_task" in kinds
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return False


def _read(path: Path, name: str, variant: str) -> Iterator[Trial]:
    with np.load(path, allow_pickle=False) as file:
        arrays: Mapping[str, NDArray[Any]] = {key: file[key] for key in file.files}
    for number, candidate in enumerate(arrays["candidates"]):
        yield Trial(
            person=name, variant=variant, candidate=str(candidate), before=arrays["before"], beside=arrays["beside"],
            during=arrays["during"][number], target=arrays["target"],
            called=np.stack([arrays["true"], arrays["old"], arrays["new"][number]]), drift=arrays["drift"][number],
        )  # fmt: skip
