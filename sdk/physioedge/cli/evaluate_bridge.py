"""``physioedge evaluate bridge``: what bridges between sensors are worth, beside their opponents."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physioedge.results import Row

NAME = "bridge"
PARTS, EXTRA = ("prepare", "fits", "table"), ("lag", "bundle")


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options to those of ``evaluate``."""
    own = parser.add_argument_group("bridge", f"--parts of it are {', '.join(PARTS)}; without --parts, all "
                                    "of these; lag and bundle when named")  # fmt: skip
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
    parts = wanted & {*PARTS, *EXTRA} or set(PARTS)
    names = tuple(args.directions.split(",")) if args.directions else tuple(DIRECTIONS)
    if "prepare" in parts:
        from physioedge.evaluation.bridge.prepare import prepare

        names = prepare(names, args.work, _backbone(args), args.data, _say)
    elif not args.directions:
        names = _there(args.work, names)
    if "fits" in parts:
        _fits(args, names, _some(args.ablations, plan.ABLATED, names), _some(args.carried, plan.CARRIED, names))
    if "lag" in parts:
        from physioedge.evaluation.bridge.lags import find_lags

        find_lags(args.work, names, _say)
    if "bundle" in parts:
        return _bundle(args, names[0])
    if "table" not in parts:
        return []
    from physioedge.datasets import mitbih
    from physioedge.evaluation.bridge.table import write_table
    from physioedge.evaluation.files import log_ds2

    made = write_table(args.work, args.out, names, args.seeds)
    if any(DIRECTIONS[name].store == mitbih.NAME for name in names):
        log_ds2(args.out, f"physioedge evaluate bridge --seeds {args.seeds}", f"{args.seeds} seeds of bridge")
    return made


def _there(work: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Directions whose pairs have been prepared."""
    from physioedge.bridge.directions import DIRECTIONS
    from physioedge_runtime.errors import EvaluationRefused

    found = tuple(name for name in names if (work / f"{DIRECTIONS[name].store}.npz").exists())
    if not found:
        raise EvaluationRefused(f"no pairs in {work.name}", "those of a direction", "Run --parts prepare first.")
    return found


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


def _bundle(args: argparse.Namespace, name: str) -> list[Row]:
    """Export the bridge of the table, verify it, and write ``bridge-bundle.json``."""
    from physioedge.bridge.directions import direction_of
    from physioedge.bridge.files import NOTE_FILE
    from physioedge.cli import main as command
    from physioedge.evaluation.bridge.bundled import SECTIONS, Case, write_bundle_rows
    from physioedge.evaluation.bridge.saved import write_saved
    from physioedge_runtime.bundle.signing import make_keys
    from physioedge_runtime.errors import EvaluationRefused

    folder, keys = args.work / "saved" / name, args.work / "keys"
    bundle = args.work / "saved" / f"{name}.physio"
    if not (folder / NOTE_FILE).exists():
        write_saved(args.work, name, _backbone(args), folder)
    if not keys.exists():
        make_keys(keys)
    exported = ["export", "--bridge", str(folder), "--bridge-work", str(args.work), "--weights", str(_backbone(args)),
                "--key", str(keys / "private.pem"), "--out", str(bundle)]  # fmt: skip
    steps = [] if bundle.exists() else [exported]
    for words in (*steps, ["verify", str(bundle), "--trust", str(keys / "public.pem")]):
        if command.main(words) != 0:
            raise EvaluationRefused(f"`physioedge {words[0]}` that did not hold", "one that does", "See its report.")
    case = Case(direction=direction_of(name), bridge=folder, bundle=bundle, trust=keys / "public.pem", work=args.work,
                backbone=_backbone(args))  # fmt: skip
    wanted = (args.arms or ",".join(SECTIONS)).split(",")
    sections = tuple(one for one in SECTIONS if one.split(",")[0] in wanted)
    return write_bundle_rows(case, args.out, f"physioedge evaluate bridge --parts bundle --directions {name}", sections)


def _some(said: str, usual: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    if said == "none":
        return ()
    return tuple(name for name in (said.split(",") if said else usual) if name in names)


def _backbone(args: argparse.Namespace) -> Path:
    from physioedge.models import shipped

    return args.backbone or shipped.backbone()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
