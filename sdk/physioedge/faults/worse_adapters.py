"""R6: adapters that are worse than the model they change, tried by the runtime's guard on people it has never met."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physioedge.datasets.registry import folder
from physioedge.evaluation.guard.candidates import kind_of
from physioedge.evaluation.guard.choosing import MOST_FALSE, TARGET, truth_of
from physioedge.evaluation.guard.fitted_here import trials_fitted_here
from physioedge.evaluation.guard.measuring import DEVICE, ONCE, devices, supply_rows
from physioedge.evaluation.guard.trials import Trial, trials
from physioedge.evaluation.personal.judged import JudgedBeats
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.generator.adapter_set import load_set
from physioedge.models import shipped
from physioedge_runtime.adaptation.guard import ChangePlan
from physioedge_runtime.errors import MissingExtra

ROW = Row(
    id="R6",
    what="adapters that cost a person 5 points of accuracy or more (foreign, wrong task's, overdone, noised, "
    "shuffled, opposed, random), and good ones, on trial under the default change plan; beside it, with ten confirmed "
    "beats",
    target="95 % of the harmful reverted, at most 5 % of the harmless",
)
PEOPLE = 22
"""All of DS2, for all tries."""
MIN_HARMFUL = 10
"""With fewer harmful candidates among those tried, a share of them reverted says nothing, and the row is not held."""
SET_FILE = "adapters.safetensors"
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
    enough = int(truth.harmful.sum()) >= min(MIN_HARMFUL, len(tried))
    few = () if enough else (f"fewer than {MIN_HARMFUL} did harm: what share of them is reverted says nothing",)
    return Outcome(
        tried=len(tried),
        lost=len(missed) + int((gone & truth.harmless).sum()),
        holds=enough and figures["harmful_reverted"] >= TARGET and figures["harmless_reverted"] <= MOST_FALSE,
        figures={**figures, "harmful": supply["harmful"]},
        notes=(
            f"candidates of {source}",
            f"{len({t.person for t in tried})} people, {len({t.variant for t in tried})} leads; "
            f"{int(truth.harmful.sum())} candidates did harm, {int(truth.harmless.sum())} did none",
            *few,
            f"not reverted though harmful: {len(missed)}, of the kinds {', '.join(kinds) or 'none'}",
            "many adapters do their harm after the trial, where no rule that stops looking can see it: "
            "docs/personalisation.md, The guard",
        ),
    )  # fmt: skip
