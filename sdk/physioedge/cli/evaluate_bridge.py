"""``physioedge evaluate bridge``: what bridges between sensors are worth, beside their opponents."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physioedge.results import Row

NAME = "bridge"
PARTS = ("prepare", "fits", "table")


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options to those of ``evaluate``."""
    own = parser.add_argument_group("bridge", f"--parts of it are {', '.join(PARTS)}; without --parts, all")
    own.add_argument("--directions", default="", help="see docs/bridge.md; by default all whose recordings are here")
    own.add_argument("--ablations", default="", help="directions whose bridge is ablated; 'none' for none")
    own.add_argument("--carried", default="", help="directions in which centring and adapters are tried through the "
                     "bridge; 'none' for none")  # fmt: skip
    own.add_argument("--trial-thin", type=int, default=1, help="every so-manieth window only: for a trial")
    own.add_argument("--trial-steps", type=int, help="at most so many steps a fit: for a trial")
    own.add_argument("--fits-limit-s", type=float, help="begin no fit later than so many seconds after the start")
    own.add_argument("--activations", type=Path, help="folder for them, a GB or so; by default inside --work")


def rows(args: argparse.Namespace) -> list[Row]:
    """Prepare, fit what is missing, and write ``bridge.json`` with its page; as --parts says."""
    from physioedge.bridge.directions import DIRECTIONS
    from physioedge.evaluation.bridge import plan

    wanted = set(args.parts.split(","))
    parts = wanted & set(PARTS) or set(PARTS)
    names = tuple(args.directions.split(",")) if args.directions else tuple(DIRECTIONS)
    if "prepare" in parts:
        from physioedge.evaluation.bridge.prepare import prepare

        names = prepare(names, args.work, _backbone(args), args.data, _say)
    if "fits" in parts:
        _fits(args, names, _some(args.ablations, plan.ABLATED, names), _some(args.carried, plan.CARRIED, names))
    if "table" not in parts:
        return []
    from physioedge.datasets import mitbih
    from physioedge.evaluation.bridge.table import write_table
    from physioedge.evaluation.files import log_ds2

    made = write_table(args.work, args.out, names, args.seeds)
    if any(DIRECTIONS[name].store == mitbih.NAME for name in names):
        log_ds2(args.out, f"physioedge evaluate bridge --seeds {args.seeds}", f"{args.seeds} seeds of bridge")
    return made


def _fits(args: argparse.Namespace, names: tuple[str, ...], ablated: tuple[str, ...], carried: tuple[str, ...]) -> None:
    from dataclasses import replace

    from physioedge.bridge.config import BridgeConfig
    from physioedge.evaluation.bridge import plan
    from physioedge.evaluation.bridge.fits import Place
    from physioedge.evaluation.bridge.run import Wanted, run

    config = BridgeConfig() if args.trial_steps is None else replace(BridgeConfig(), steps=args.trial_steps)
    place = Place(work=args.work, backbone=_backbone(args), device=args.device, thin=args.trial_thin,
                  scratch=args.activations or args.work / "activations")  # fmt: skip
    arms = tuple(args.arms.split(",")) if args.arms else plan.MAIN
    run(
        place,
        Wanted(directions=names, arms=arms, seeds=args.seeds, ablations=ablated, carried=carried, config=config),
        args.work, workers=args.workers, limit_s=args.fits_limit_s, tell=_say,
    )  # fmt: skip


def _some(said: str, usual: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    if said == "none":
        return ()
    return tuple(name for name in (said.split(",") if said else usual) if name in names)


def _backbone(args: argparse.Namespace) -> Path:
    from physioedge.models import shipped

    return args.backbone or shipped.backbone()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
