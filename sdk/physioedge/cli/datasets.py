"""``physioedge datasets``: which public recordings are used, their licences and splits, and which are here."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

from physioedge.cli.console import print_json, table
from physioedge.datasets import location, registry, splits
from physioedge_runtime.errors import DatasetError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "datasets",
        help="tell which public recordings are used and which are here",
        description="List the public datasets this project reads. Nothing is downloaded: see docs/datasets.md.",
    )
    parser.add_argument("name", nargs="*", metavar="NAME", help="tell everything about these sets (default: list all)")
    parser.add_argument("--data", type=Path, help=f"folder that holds the datasets (default: {location.VARIABLE}, "
                        "data, ../shared/data)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the list; 0 whether or not anything is here."""
    found = [describe(name, args.data) for name in args.name or registry.names()]
    if args.json:
        print_json(found)
        return 0
    if args.name:
        print("\n\n".join(_details(entry) for entry in found))
        return 0
    columns = ("dataset", "records here", "sensors", "people to fit + judge", "licence", "folder")
    print(table(columns, [_row(entry) for entry in found]))
    problems = [f"{entry['name']}: {entry['problem']}" for entry in found if entry["problem"]]
    absent = [entry["name"] for entry in found if entry["records_here"] < entry["records"]]
    for line in problems:
        print(f"\n{line}")
    if absent:
        print(f"\nNot or not all here: {', '.join(absent)}. Where to get them: physioedge datasets NAME, or "
              f"docs/datasets.md; name the parent folder with --data or {location.VARIABLE}.")  # fmt: skip
    return 0


def describe(name: str, root: Path | None) -> dict[str, Any]:
    """Facts on a dataset, its split, and how much of it is on this machine.

    Raises
    ------
    DatasetError
        No set of that name.
    """
    module, info, folder = registry.dataset(name), registry.info(name), registry.folder(name, root)
    records: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    problem = None
    if folder is not None:
        try:
            records, people = module.records(root), module.subjects(root)
        except DatasetError as error:
            problem = str(error)
    wanted = getattr(module, "RECORDS", None)
    return {
        "name": info.name,
        "title": info.title,
        "licence": info.licence,
        "licence_note": info.licence_note,
        "citation": info.citation,
        "source": info.source,
        "get": info.get,
        "modalities": list(info.modalities),
        "tasks": list(info.tasks),
        "hours": info.hours,
        "evaluation_only": info.evaluation_only,
        "weights_shippable": info.weights_shippable,
        "excerpts_shippable": info.excerpts_shippable,
        "traps": list(info.traps),
        "folder": str(folder) if folder else None,
        "problem": problem,
        "records": info.records,
        "records_here": len(records),
        "subjects": info.subjects,
        "subjects_here": len(people) if info.subjects is not None else None,
        "missing": None if wanted is None else [record for record in wanted if record not in records],
        "split": _split(name),
    }


def _split(name: str) -> dict[str, Any]:
    if name not in registry.NAMES:  # of another package, which splits its people itself
        none = {"kind": "none", "amount": 0, "why": "no stored split"}
        counts = dict.fromkeys(("pretrain", "evaluate", "excluded", "folds"), 0)
        return {"version": 0, "rule": "no stored split", **counts, "calibration": none}
    split = splits.load_split(name)
    part = split.calibration
    return {
        "version": split.version,
        "rule": split.rule,
        "pretrain": len(split.people(split.pretrain)),
        "evaluate": len(split.people(split.evaluate)),
        "excluded": len(split.excluded),
        "folds": len(split.folds),
        "calibration": {"kind": part.kind, "amount": part.amount, "why": part.why},
    }


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    split = entry["split"]
    return (
        entry["name"],
        f"{entry['records_here']} of {entry['records']}",
        " ".join(entry["modalities"]),
        f"{split['pretrain']} + {split['evaluate']}" + (f" in {split['folds']} folds" if split["folds"] else ""),
        entry["licence"] + (", evaluation only" if entry["evaluation_only"] else ""),
        entry["folder"] or "-",
    )


def _details(entry: dict[str, Any]) -> str:
    split, calibration = entry["split"], entry["split"]["calibration"]
    amount = "" if calibration["amount"] is None else f"{calibration['amount']:g} "
    people = "" if entry["subjects_here"] is None else f", {entry['subjects_here']} of {entry['subjects']} people"
    facts = [
        ("here", f"{entry['records_here']} of {entry['records']} records{people}; {entry['folder'] or 'no folder'}"),
        ("get", f"{entry['get'].rstrip('.')}; {entry['source']}"),
        ("licence", "; ".join(filter(None, (entry["licence"], entry["licence_note"])))),
        ("ship", f"weights: {_yes(entry['weights_shippable'])}, excerpts: {_yes(entry['excerpts_shippable'])}"),
        ("cite", entry["citation"]),
        ("tasks", ", ".join(entry["tasks"]) or "pre-training only"),
        ("split", f"version {split['version']}: {split['pretrain']} people to fit, {split['evaluate']} to judge in "
         f"{split['folds']} folds, {split['excluded']} left out. {split['rule']}"),
        ("calibrate", f"{amount}{calibration['kind']}: {calibration['why']}"),
        *(("trap", trap) for trap in entry["traps"]),
        *([("problem", entry["problem"])] if entry["problem"] else []),
    ]  # fmt: skip
    lines = [textwrap.fill(text, 118, initial_indent=f"  {key:<10}", subsequent_indent=" " * 12) for key, text in facts]
    return "\n".join([f"{entry['name']}: {entry['title']}", *lines])


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
