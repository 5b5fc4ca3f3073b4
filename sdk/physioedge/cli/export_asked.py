"""What the options of ``physioedge export`` ask for, and what it prints, whatever kind of model is exported."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from physioedge.cli.console import print_json

if TYPE_CHECKING:
    from physioedge_export.forms import Choice
    from physioedge_export.report import ExportReport


def listed(text: str | None) -> tuple[str, ...]:
    """Names of an option, which a comma parts; each once."""
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


def merged_choice(args: argparse.Namespace) -> Choice:
    """Graphs of a model that has no slots: bridges and vitals."""
    from physioedge_export.forms import Choice

    return Choice(
        targets=listed(args.target) or ("onnx",), adapters=("merged",), precisions=listed(args.precision),
        scheme=args.scheme, fallback=tuple(name for name in listed(args.fallback) if name == "merged"),
        float_budget_bytes=1000 * args.float_budget,
    )  # fmt: skip


def tell(report: ExportReport, args: argparse.Namespace, **more: Any) -> None:
    """The report, for people or as JSON; `more` stands beside it in JSON alone."""
    if args.json:
        print_json(report.to_dict() | more)
    else:
        print(report.summary())
        print(f"Bundle {args.out}, {report.bundle_bytes} bytes; report in {args.report or args.out.parent}")


def tell_merged(report: ExportReport, args: argparse.Namespace, kind: str) -> int:
    """As `tell`, and which options are not made for this kind; exit code of the command."""
    tell(report, args)
    if args.firmware or args.steps:
        print(f"--firmware and --steps are not made for {kind}", file=sys.stderr)
    return 0 if report.holds else 1
