"""``physioedge train vitals`` and ``train forecast``: fit an estimator or a forecaster that `export --vital` ships."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

VITALS, FORECAST = "vitals", "forecast"


def register(what: Any) -> None:
    """Adds both commands to those of ``train``."""
    vitals = what.add_parser(VITALS, help="fit an estimator of values with intervals, see docs/vitals.md")
    vitals.add_argument("--task", required=True, help="ecg_rate, ecg_age, heart_rate, blood_pressure, ptt_rate or "
                        "ppg_age")  # fmt: skip
    vitals.add_argument("--facts", action="store_true", help="let it know age and sex beside the signal")
    vitals.add_argument("--backbone", type=Path, help="weights file; by default the shipped one")
    forecast = what.add_parser(FORECAST, help="fit a forecaster of a vital sign, see docs/vitals.md")
    forecast.add_argument("--series", required=True, help="such as heart_rate_wrist")
    forecast.add_argument("--base", type=Path, required=True, metavar="FILE", help="the forecaster it starts from; "
                          "`evaluate vitals --task forecast` makes one")  # fmt: skip
    forecast.add_argument("--batch", type=int, default=16)
    for each in (vitals, forecast):
        each.add_argument("--method", default="lora", help="lora, dora, bitfit, ln_tuning, vera, fourierft, ia3, "
                          "qlora_int8, qlora_4bit, full or probe")  # fmt: skip
        each.add_argument("--factor", type=float, default=1.0, help="times the method's learning rate; rates that were "
                          "chosen are in results/vitals-*.json")  # fmt: skip
        each.add_argument("--steps", type=int, help="by default as many as for the tables")


def vitals(args: argparse.Namespace) -> int:
    """Exit code: 0 when the estimator is written."""
    from physioedge.adapters.estimating import RATES, EstimateFit
    from physioedge.evaluation.vitals import estimate_data
    from physioedge.evaluation.vitals.estimate import STEPS
    from physioedge.evaluation.vitals.shipping import fitted_estimate
    from physioedge.models import shipped

    _known(args.method, tuple(RATES))
    _known(args.task, estimate_data.TASKS)
    windows = args.out / "windows.npz"
    if not windows.exists():
        estimate_data.pack(windows, (args.task,), args.data)
    data = estimate_data.load(windows, args.task)
    config = EstimateFit(steps=args.steps or STEPS[args.task], factor=args.factor)
    made = fitted_estimate(
        args.task, data, args.backbone or shipped.backbone(), args.method, config, seed=args.seed, facts=args.facts
    )
    return _saved(args.out, *made)


def forecast(args: argparse.Namespace) -> int:
    """Exit code: 0 when the forecaster is written."""
    from physioedge.adapters.forecasting import LEARNING_RATES, ForecastFit
    from physioedge.evaluation.vitals import forecast_data
    from physioedge.evaluation.vitals.shipping import fitted_forecast

    _known(args.method, tuple(LEARNING_RATES))
    packed = args.out / "series.npz"
    if not packed.exists():
        forecast_data.pack(packed, (args.series,), args.data)
    config = ForecastFit(steps=args.steps or 120, batch=args.batch, factor=args.factor)
    data = forecast_data.load(packed, args.series)
    return _saved(args.out, *fitted_forecast(data, args.base, args.method, config, seed=args.seed))


def _saved(out: Path, network: Any, note: Any) -> int:
    from physioedge.adapters.vital_files import NOTE_FILE, save_vital

    save_vital(out, network, note)
    kept = len(note.fit["kept_for_intervals"])
    print(f"{note.of} by {note.method}, {len(note.training_subjects)} people, {kept} of them for the intervals: "
          f"{out / NOTE_FILE}")  # fmt: skip
    return 0


def _known(name: str, names: tuple[str, ...]) -> None:
    from physioedge_runtime.errors import EvaluationRefused

    if name not in names:
        raise EvaluationRefused(repr(name), f"one of {', '.join(names)}", "Name one of them.")
