"""The published recipe as arms. All of them are given labels of the calibration: they are compared with ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.sets.alone import alone
from physioedge.adapters.sets.base import Base, Signals
from physioedge.adapters.sets.making import folds_of, global_folder, hash_seed
from physioedge.adapters.sets.people import Worn
from physioedge.evaluation.personal.asked import Asked, Floats, Own
from physioedge.generator.controls import derangement
from physioedge.generator.paper.fitting import PaperConfig, PaperGenerator, PaperSet, fit_paper, paper_size
from physioedge.models.frontend import Frontend
from physioedge.models.shapelets import stream_rows
from physioedge.shapelets.informative import Discovery, discover_informative, token_width, tokens_of

MOST = 33
"""Shapelets of a class that are looked for; arms take the best so many of them."""
PUBLIC_OF_EACH = 4
"""Windows of a class that every known person gives to the public shapelets."""
_DRAWS = 2
Tokens = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row of the table.

    Attributes
    ----------
    per_class : int
        Shapelets of a class.
    public : bool
        Ask with shapelets of everybody known in place of the person's own.
    shuffled : bool
        Ask with another judged person's.
    residual : bool
        Generate residuals, as our own generators do, in place of whole LoRAs.
    """

    per_class: int = 12
    public: bool = False
    shuffled: bool = False
    residual: bool = False


def ask_paper(asked: Asked, *, recipe: Recipe) -> Floats:
    """Residuals (person, width) by which the generator's LoRAs differ from the round's global adapter."""
    generator = _generator(asked, recipe)
    if recipe.public:
        told = np.repeat(_public(asked)[None], len(asked.subjects), axis=0)
    else:
        told = np.stack([_tokens(asked.each.base, s.calibration, s.calibration_target, seed=asked.seed)
                         for s in asked.subjects])  # fmt: skip
    if recipe.shuffled:
        names = [one.name for one in asked.subjects]
        other = derangement(np.array(names), seed=asked.seed)
        told = told[[names.index(other[name]) for name in names]]
    made = generator(_fewer(told, recipe.per_class), seed=asked.seed)
    return made if recipe.residual else made - asked.own_part()


def paper_set(asked: Asked, *, residual: bool) -> PaperSet:
    """Everybody's shapelets beside what was fitted for them; found once a set and kept in the work folder."""
    config, stretches = asked.config, asked.config.stretches
    rows = np.flatnonzero(np.isin(asked.found.person, asked.people.names))[::stretches]
    adapters, person = asked.found.adapters[rows], asked.found.person[rows]
    path = asked.work / f"paper-{asked.seed}-{asked.digest}.npz"
    with alone(asked.work, path.name):
        if not path.exists():
            made = [_of_row(asked, name, _number(person, i) % config.wearers) for i, name in enumerate(person.tolist())]
            part = path.with_suffix(".part.npz")
            np.savez(part, tokens=np.stack(made))
            part.replace(path)
    with np.load(path, allow_pickle=False) as file:
        tokens_of_rows = file["tokens"]
    whole = adapters if residual else adapters + np.stack(
        [_part(asked, name, _number(person, i) // config.wearers) for i, name in enumerate(person.tolist())]
    )  # fmt: skip
    return PaperSet(tokens=tokens_of_rows, whole=whole, person=person)


def _number(person: NDArray[np.str_], row: int) -> int:
    """Which of its person's rows a row is: wearers in order, one split after another."""
    return int((person[:row] == person[row]).sum())


def _part(asked: Asked, name: str, split: int) -> Floats:
    """The global adapter that a person's residuals of a split are taken around."""
    folds = folds_of(asked.people.names, asked.config, seed=asked.seed)
    mine = next(fold for fold in folds if fold.split == split and name in fold.held)
    key = f"part {mine.name}"
    if key not in asked.kept:
        asked.kept[key] = asked.part_of(global_folder(asked.folder, mine))
    found: Floats = asked.kept[key]
    return found


def _of_row(asked: Asked, name: str, wearer: int) -> Tokens:
    """Shapelets (draw, shapelet, width) of a wearer: of the beginning, as judged people show it, and of a random half.

    Frontends are the same in every adapter, so the round's own will do.
    """
    worn, end_s = asked.people.worn(name, wearer, seed=asked.seed), asked.found.details["config"]["stretch_s"][1]
    seed = hash_seed(name, wearer, asked.seed)
    middle_s = np.random.default_rng(seed).uniform(0.25, 0.75) * float(worn.time_s[-1])
    parts = (worn.time_s < end_s, np.abs(worn.time_s - middle_s) < 0.25 * worn.time_s[-1])
    return np.stack([_of(asked.each.base, worn.of(part), seed=seed) for part in parts[:_DRAWS]])


def _of(base: Base, worn: Worn, *, seed: int) -> Tokens:
    return _tokens(base, worn.signals, worn.target, seed=seed)


def _tokens(base: Base, signals: Signals, target: NDArray[np.int64], *, seed: int) -> Tokens:
    """Shapelets (shapelet, width) of labelled windows; all empty where there are none."""
    classes, known = len(base.log_prior), np.flatnonzero(target >= 0)
    config = Discovery(count=MOST * classes)
    rows = _streams(base)
    if not len(known):
        return np.zeros((MOST * classes, token_width(config.samples, classes, rows)), np.float32)
    series = _series(base, tuple(x[known] for x in signals))
    found = discover_informative(series, target[known], classes, config, seed=seed)
    return tokens_of(found, classes, rows, MOST)


def _streams(base: Base) -> int:
    """Rows of all streams."""
    config = base.network.network.backbone.config
    kinds = [config.modality(one.kind) for one in base.network.network.backbone.layout.streams(config)]
    return sum(kind.channels * len(kind.views) for kind in kinds)


def _series(base: Base, signals: Signals) -> list[NDArray[np.float32]]:
    """Every row of every stream as blocks read it, (window, sample) each."""
    layout, config = base.network.network.backbone.layout, base.network.network.backbone.config
    out = []
    with torch.no_grad():
        for one, x in zip(layout.sensors, signals, strict=True):
            modality = config.modality(one.kind)
            front = Frontend(modality, one.n_tokens)
            for part in torch.split(x, modality.channels, dim=1):
                rows = stream_rows(front(part), modality).numpy()
                out += [np.ascontiguousarray(rows[:, i]) for i in range(rows.shape[1])]
    return out


def _public(asked: Asked) -> Tokens:
    """Shapelets of everybody who may be learned from in this round."""
    if "public" not in asked.kept:
        some = []
        for name in asked.known:
            worn = asked.people.worn(name, 0, seed=asked.seed)
            rng = np.random.default_rng(hash_seed(name, 0, asked.seed))
            picked = [rng.permutation(np.flatnonzero(worn.target == c))[:PUBLIC_OF_EACH]
                      for c in range(len(asked.each.base.log_prior))]  # fmt: skip
            some.append(worn.of(np.concatenate(picked)))
        signals = tuple(torch.cat([one.signals[i] for one in some]) for i in range(len(some[0].signals)))
        target = np.concatenate([one.target for one in some])
        asked.kept["public"] = _tokens(asked.each.base, signals, target, seed=asked.seed)
    found: Tokens = asked.kept["public"]
    return found


def _fewer(tokens: Tokens, per_class: int) -> Tokens:
    """The best `per_class` of every class's `MOST`, (..., shapelet, width)."""
    *before, n, width = tokens.shape
    by_class = tokens.reshape(*before, n // MOST, MOST, width)[..., :per_class, :]
    return np.ascontiguousarray(by_class.reshape(*before, -1, width))


def _generator(asked: Asked, recipe: Recipe) -> PaperGenerator:
    key = f"paper {recipe.per_class} {recipe.residual}"
    if key not in asked.kept:
        found = paper_set(asked, residual=recipe.residual).without(asked.each.barred)
        found = PaperSet(tokens=_fewer(found.tokens, recipe.per_class), whole=found.whole, person=found.person)
        config = PaperConfig() if asked.device == "cpu" else paper_size(asked.device)
        asked.kept[key] = fit_paper(found, config, seed=asked.seed)
    generator: PaperGenerator = asked.kept[key]
    return generator


PAPER: Mapping[str, Own] = {
    name: partial(ask_paper, recipe=recipe)
    for name, recipe in {
        "paper": Recipe(),
        "paper_public": Recipe(public=True),
        "paper_shuffled": Recipe(shuffled=True),
        "paper_fewest": Recipe(per_class=2),
        "paper_most": Recipe(per_class=MOST),
        "paper_residual": Recipe(residual=True),
    }.items()
}
"""By their names in the table."""
