"""R6: adapters that are worse than the model they change, tried by the runtime's guard on people it has never met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from physioedge.datasets.registry import folder
from physioedge.evaluation.guard.candidates import kind_of
from physioedge.evaluation.guard.choosing import MOST_FALSE, TARGET, Truth, truth_of
from physioedge.evaluation.guard.fitted_here import trials_fitted_here
from physioedge.evaluation.guard.measuring import DEVICE, ONCE, devices, supply_rows
from physioedge.evaluation.guard.trials import Trial, trials
from physioedge.evaluation.personal.judged import JudgedBeats
from physioedge.faults.row import Outcome, Row, Setting, beyond_chance
from physioedge.generator.adapter_set import SET_FILE, load_set
from physioedge.models import shipped
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.errors import MissingExtra

ROW = Row(
    id="R6",
    what="adapters that cost a person 5 points of accuracy or more (foreign, wrong task's, overdone, noised, "
    "shuffled, opposed, random), and good ones, on trial under the default change plan; beside it, with ten confirmed "
    "beats",
    target="95 % of the harmful reverted, at most 5 % of the harmless",
    known="a guard sees the windows of a trial, and a good part of the harm comes with beats that the trial does not "
    "have: no rule that stops looking can see it. Of what is there to see, label shares, margins, entropy and drift of "
    "embeddings tell that an adapter changed something, not that it was wrong to: whatever catches more of the harmful "
    "reverts more of the good. Ten confirmed beats tell the two apart, and find nearly all of the harm that "
    "shows in the trial. docs/personalisation.md, The guard, has the figures of 43 people",
)
CAUGHT, FALSE = 0.7, 0.07
"""What results/guard.md has of the default plan on DS2, a little less: shares reverted of the harmful, the harmless."""
PEOPLE = 22
"""All of DS2, for all tries."""
MIN_HARMFUL = 10
"""With fewer harmful candidates among those tried, a share of them reverted says nothing, and the row is not held."""
SEED = 0
"""Folder of the set under ``--sets``."""


def trial(setting: Setting) -> Outcome:
    """Try every candidate on some people of DS2: of an adapter set, or of what ships and is fitted here.

    Raises
    ------
    MissingExtra
        MIT-BIH or the shipped weights are not here, or a folder of adapter sets was named and holds none.
    """
    if folder("mitbih") is None:
        raise MissingExtra("no MIT-BIH", "its recordings", "See `physioedge datasets`.")
    people, work = setting.tries(PEOPLE), setting.work / "trials"
    on = JudgedBeats(shipped.backbone(), None)
    if setting.sets is None:
        tried = trials_fitted_here(on, work, people=people, seed=SEED, say=lambda line: None)
        return judged(tried, "the shipped global adapter and generator, and residuals fitted here on these people")
    place = setting.sets / str(SEED)
    if not (place / SET_FILE).exists():
        raise MissingExtra(
            f"no adapter set in {place}", "--sets DIR with one folder a seed, as `train adapters` writes it",
            "Make it: physioedge train adapters --out DIR/0 --seed 0 (most of an hour); or leave --sets out.",
        )  # fmt: skip
    found = load_set(place / SET_FILE)
    tried = trials(on, place, found, ONCE, work, seed=SEED, say=lambda line: None, people=people)
    return judged(tried, "an adapter set")


def judged(tried: Sequence[Trial], source: str) -> Outcome:
    """What came of trials, by the runtime's own guard and its default plan; `source` says of what candidates are."""
    truth, each = truth_of(tried), devices(tried, ChangePlan())
    gone, figures = each[DEVICE], {}
    for arm, by in each.items():
        name = arm.removeprefix(DEVICE)
        for what, among in (("harmful", truth.harmful), ("harmless", truth.harmless), ("helpful", truth.helpful)):
            figures[f"{what}_reverted{name}"] = float(by[among].mean()) if among.any() else 0.0
    missed = np.flatnonzero(truth.harmful & ~gone)
    kinds = sorted({kind_of(tried[i].candidate) for i in missed})
    supply = {row.metric: row.value for row in supply_rows(ONCE, tried)}
    afraid = gone & truth.harmless
    enough = int(truth.harmful.sum()) >= min(MIN_HARMFUL, len(tried))
    few = () if enough else (f"fewer than {MIN_HARMFUL} did harm: what share of them is reverted says nothing",)
    return Outcome(
        tried=len(tried),
        lost=len(missed) + int(afraid.sum()),
        holds=enough and figures["harmful_reverted"] >= TARGET and figures["harmless_reverted"] <= MOST_FALSE,
        figures={**figures, "harmful": supply["harmful"]},
        notes=(
            f"candidates of {source}",
            f"{len({t.person for t in tried})} people, {len({t.variant for t in tried})} leads; "
            f"{int(truth.harmful.sum())} candidates did harm, {int(truth.harmless.sum())} did none",
            *few,
            f"not reverted though harmful: {len(missed)}, of the kinds {', '.join(kinds) or 'none'}",
        ),
        worse=tuple(_worse(truth, len(missed), int(afraid.sum()))),
    )  # fmt: skip


def _worse(truth: Truth, missed: int, afraid: int) -> Iterator[str]:
    """In what a guard does worse than is known of it."""
    harmful, harmless = int(truth.harmful.sum()), int(truth.harmless.sum())
    if beyond_chance(missed, harmful, 1 - CAUGHT):
        yield f"{missed} of {harmful} harmful adapters were confirmed, known is {1 - CAUGHT:.0%}"
    if beyond_chance(afraid, harmless, FALSE):
        yield f"{afraid} of {harmless} harmless adapters were reverted, known is {FALSE:.0%}"
