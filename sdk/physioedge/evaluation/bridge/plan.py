"""Every fit of the table, the ablations and the heat map, by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from physioedge.bridge.config import BridgeConfig
from physioedge.bridge.directions import Direction
from physioedge.bridge.module import Positions

BRIDGE, FULL, FIXED, RANDOM, POSITION = "bridge", "bridge_full", "fixed", "random", "position"
TRIED = "tried"
"""Marks the fits that settings are chosen from."""
KD, KD_LORA, CONTRAST, ORACLE = "kd", "kd_lora", "kd_contrast", "oracle"
DIRECT, CEILING, CHANCE = "direct", "ceiling", "chance"
FROZEN = (DIRECT, CEILING, CHANCE)
"""Nothing is fitted for them."""
DISTILLED = (KD, KD_LORA, CONTRAST)
MAIN = (BRIDGE, KD, CONTRAST, KD_LORA, FULL, FIXED, RANDOM, ORACLE)
UNSCORED = (BRIDGE, KD, CONTRAST, FULL)
"""Of directions that nobody has labelled."""
ABLATED = ("lead_to_lead_beats", "ecg_to_ppg_rate")
CARRIED = ("lead_to_lead_beats",)
RANKS, PROTOTYPES = (1, 2, 4, 16, 32), (2, 4, 8, 32, 64)
SHARES = (0.05, 0.1, 0.25, 0.5)
DRAWS, LONGER = (0.0, 1.0), 1600
"""Classes drawn alike, or as often as they are; four times as many steps at most."""
SEEDS_OF_ABLATIONS, SEEDS_OF_POSITIONS, SEEDS_OF_CHOICES = (0, 1, 2), (0, 1, 2), (0, 1)
CHOICES: Mapping[str, tuple[tuple[tuple[str, Any], ...], ...]] = {
    BRIDGE: tuple(
        (("centred", centred), ("learning_rate", rate)) for centred in (True, False) for rate in (3e-3, 1e-2, 3e-2)
    ),
    FULL: tuple((("whole_learning_rate", rate),) for rate in (3e-4, 1e-3, 3e-3)),
    KD: tuple((("full_learning_rate", rate),) for rate in (1e-4, 3e-4)),
}
"""Settings chosen for each direction before anything is judged: see `chosen`."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fits of one kind, of several seeds at once, by all that shapes them beside the direction's data.

    Attributes
    ----------
    direction, arm : str
    fold : int
    seeds : tuple of int
    positions : Positions or None
        None for those that are selected, and for students.
    changed : tuple of (name, value)
        Settings of `BridgeConfig` that differ from the direction's.
    """

    direction: str
    arm: str
    fold: int
    seeds: tuple[int, ...]
    positions: Positions | None = None
    changed: tuple[tuple[str, Any], ...] = ()

    def key(self, seed: int) -> str:
        """Name of one seed's fit in the file of finished ones."""
        parts = [self.direction, self.arm, str(self.fold), str(seed)]
        if self.positions is not None:
            parts.append(f"{self.positions.new}-{self.positions.old}")
        return "/".join([*parts, *(f"{name}={value}" for name, value in self.changed)])

    @property
    def keys(self) -> list[str]:
        """Of every seed."""
        return [self.key(seed) for seed in self.seeds]

    def config(self, base: BridgeConfig) -> BridgeConfig:
        """Settings of this fit."""
        return replace(base, **{name: value for name, value in self.changed if name != TRIED})


def fixed_positions(n_layers: int) -> tuple[Positions, ...]:
    """Early, in the middle and late in both models."""
    return tuple(Positions(new=layer, old=layer) for layer in (1, n_layers // 2, n_layers - 1))


def random_positions(n_layers: int, direction: str, fold: int, seed: int) -> Positions:
    """Drawn from all."""
    rng = np.random.default_rng((seed, fold, *direction.encode()))
    return Positions(new=int(rng.integers(n_layers + 1)), old=int(rng.integers(n_layers + 1)))


def main_fits(direction: Direction, fold: int, n_layers: int, seeds: int, arms: Sequence[str]) -> Iterator[Fit]:
    """Every arm of one fold of a direction."""
    for arm in arms:
        fit = Fit(direction=direction.name, arm=arm, fold=fold, seeds=tuple(range(seeds)))
        if arm == FIXED:
            yield from (replace(fit, positions=place) for place in fixed_positions(n_layers))
        elif arm == RANDOM:
            for seed in range(seeds):
                place = random_positions(n_layers, direction.name, fold, seed)
                yield replace(fit, seeds=(seed,), positions=place)
        else:
            yield fit


def choice_fits(direction: Direction, fold: int, arms: Sequence[str]) -> Iterator[Fit]:
    """Every candidate of every choice."""
    for arm, candidates in CHOICES.items():
        if arm in arms:
            for changed in candidates:
                yield Fit(direction=direction.name, arm=arm, fold=fold, seeds=SEEDS_OF_CHOICES,
                          changed=(*changed, (TRIED, True)))  # fmt: skip


def chosen(direction: str, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings with which held-out people of the pairs are told most as the old model tells them; no label is used.

    The loss is the bridge's own too for one that is fully connected; contrastive distillation takes that of ``kd``.
    """
    out: dict[str, Any] = {}
    for arm, candidates in CHOICES.items():
        best, kept = -1.0, {}
        for changed in candidates:
            ending = "/".join(f"{name}={value}" for name, value in (*changed, (TRIED, True)))
            found = [r["held_agreement"] for key, r in records.items()
                     if key.startswith(f"{direction}/{arm}/") and key.endswith(f"/{ending}")]  # fmt: skip
            if found and float(np.mean(found)) > best:
                best, kept = float(np.mean(found)), dict(changed)
        out |= kept
    return out


def ablation_fits(direction: Direction, fold: int, n_layers: int) -> Iterator[Fit]:
    """Rank, prototypes, share of the pairs, loss, draws, steps; and every pair of positions, in the first fold."""
    changes: list[tuple[str, Any]] = [("rank", rank) for rank in RANKS]
    changes += [("prototypes", count) for count in PROTOTYPES]
    changes += [("share", share) for share in SHARES]
    changes += [("centred", value) for value in (False, True)]
    changes += [("draw_power", value) for value in DRAWS] + [("steps", LONGER)]
    for change in changes:
        yield Fit(direction=direction.name, arm=BRIDGE, fold=fold, seeds=SEEDS_OF_ABLATIONS, changed=(change,))
    for share in SHARES:
        change = ("share", share)
        yield Fit(direction=direction.name, arm=KD, fold=fold, seeds=SEEDS_OF_ABLATIONS, changed=(change,))
    if fold == 0:
        layers = range(n_layers + 1)
        for new, old in itertools.product(layers, layers):
            place = Positions(new=new, old=old)
            yield Fit(direction=direction.name, arm=POSITION, fold=0, seeds=SEEDS_OF_POSITIONS, positions=place)


def settings(config: BridgeConfig) -> dict[str, Any]:
    """Settings as plain values, for the results file."""
    return asdict(config)
