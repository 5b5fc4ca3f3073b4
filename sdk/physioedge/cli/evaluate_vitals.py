"""``physioedge evaluate vitals``: forecasts and estimates of vital signs by every method, beside their rivals."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physioedge.evaluation.vitals.workers import Crew
    from physioedge.results import Row

NAME = "vitals"
FORECAST = "forecast"
ESTIMATES = ("ecg_rate", "ecg_age", "heart_rate", "blood_pressure", "ptt_rate", "ppg_age")
TASKS = (FORECAST, *ESTIMATES)
FIT, RIVALS, WRITE = "fit", "rivals", "write"
STAGES = (FIT, RIVALS, WRITE)


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options to those of ``evaluate``."""
    own = parser.add_argument_group("vitals")
    own.add_argument("--inputs", type=Path, metavar="FILE", help="windows in one file; made of the recordings where it "
                     "is not there. By default in the folder of unfinished work")  # fmt: skip
    own.add_argument("--base", type=Path, metavar="FILE", help="the forecaster that all methods start from; fitted "
                     "where it is not there")  # fmt: skip
    own.add_argument("--stages", default=",".join(STAGES), help=f"any of {','.join(STAGES)}: fits on the network; "
                     "rivals; the results file")  # fmt: skip
    own.add_argument("--steps", type=int, help="of a fit; by default the task's")
    own.add_argument("--batch", type=int, help="of a fit of forecasts")
    own.add_argument("--factors", help="learning rates that are tried, times each method's own; by default "
                     "0.333,1,3")  # fmt: skip
    own.add_argument("--rivals", metavar="LIST", help="of forecasts, where not all")
    own.add_argument("--series", default="", metavar="LIST", help="of forecasts, where not all")
    own.add_argument("--base-steps", type=int, help="of the forecaster's fit")
    own.add_argument("--base-batch", type=int, help="of the forecaster's fit")
    own.add_argument("--devices", default="cpu", metavar="LIST", help="one process each, such as cpu*2 or cuda*4,cpu*8")
    own.add_argument("--seconds", type=float, default=float("inf"), help="begin no fit later than this")
    own.add_argument("--chronos", type=Path, nargs="*", default=[], metavar="DIR", help="folders of Chronos weights")


def rows(args: argparse.Namespace) -> list[Row]:
    """Do what is missing and write ``vitals-<task>.json``."""
    return _forecast(args) if args.of_task == FORECAST else _estimate(args)


def _forecast(args: argparse.Namespace) -> list[Row]:
    from physioedge.evaluation.vitals import forecast, forecast_data
    from physioedge.evaluation.vitals.forecast_jobs import ARMS
    from physioedge.models import shipped
    from physioedge.pretraining.vitals import BaseFit, fit_base
    from physioedge.tasks.series import VITALS

    work = args.work / FORECAST
    inputs, base = args.inputs or work / "series.npz", args.base or work / "base.safetensors"
    if not inputs.exists():
        forecast_data.pack(inputs, tuple(VITALS), args.data)
    stages, crew = args.stages.split(","), _crew(args)
    if not base.exists():
        config = BaseFit(**_given(steps=args.base_steps, batch=args.base_batch))
        fit_base(
            args.backbone or shipped.backbone(), base, config, device=crew.devices[0], workers=len(crew.devices),
            tell=_say,
        )  # fmt: skip
    arms = tuple(args.arms.split(",")) if args.arms else ARMS
    factors = tuple(float(one) for one in args.factors.split(",")) if args.factors else None
    rivals = tuple(args.rivals.split(",")) if args.rivals else None
    plan = forecast.Plan(
        inputs=inputs, base=base, work=work, arms=arms, seeds=args.seeds, chronos=tuple(args.chronos),
        only=tuple(one for one in args.series.split(",") if one),
        **_given(steps=args.steps, batch=args.batch, factors=factors, rivals=rivals),
    )  # fmt: skip
    left = 0
    if FIT in stages:
        left += forecast.run(plan, crew, _say)
    if RIVALS in stages:
        left += forecast.run_rivals(plan, crew, _say)
    if left:
        _say(f"{left} left undone: run it again")
    return forecast.write(plan, args.out) if WRITE in stages else []


def _estimate(args: argparse.Namespace) -> list[Row]:
    from physioedge.evaluation.vitals import agreement, estimate, estimate_data
    from physioedge.models import shipped

    work = args.work / "estimate"
    together = args.of_task in estimate_data.PACKED
    inputs = args.inputs or work / ("windows.npz" if together else f"windows-{args.of_task}.npz")
    if not inputs.exists():
        estimate_data.pack(inputs, estimate_data.PACKED if together else (args.of_task,), args.data)
    arms = tuple(args.arms.split(",")) if args.arms else ()
    factors = tuple(float(one) for one in args.factors.split(",")) if args.factors else None
    plan = estimate.Plan(
        task=args.of_task, inputs=inputs, backbone=args.backbone or shipped.backbone(), work=work, seeds=args.seeds,
        arms=arms, **_given(steps=args.steps, factors=factors),
    )  # fmt: skip
    stages, left = args.stages.split(","), 0
    if FIT in stages:
        left = estimate.run(plan, _crew(args), _say)
    if left:
        _say(f"{left} left undone: run it again")
    if WRITE not in stages:
        return []
    rows = estimate.write(plan, args.out)
    agreement.draw(plan, args.out / f"vitals-{plan.task}.png")
    return rows


def _given(**options: Any) -> dict[str, Any]:
    """Those options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _crew(args: argparse.Namespace) -> Crew:
    from physioedge.evaluation.vitals.workers import Crew

    devices: list[str] = []
    for part in args.devices.split(","):
        name, _, count = part.partition("*")
        devices += [name] * int(count or 1)
    return Crew(devices=tuple(devices), until=time.time() + args.seconds)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
