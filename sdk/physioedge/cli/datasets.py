"""``physioedge datasets``: which public recordings are used, under which licence, and which are here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from physioedge.cli.console import print_json, table
from physioedge.datasets import location, mitbih
from physioedge_runtime.errors import DatasetError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "datasets",
        help="tell which public recordings are used and which are here",
        description="List the public datasets this project reads. Nothing is downloaded: see docs/datasets.md.",
    )
    parser.add_argument("--data", type=Path, help=f"folder that holds the datasets (default: {location.VARIABLE}, "
                        "data, ../shared/data)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the list; 0 whether or not anything is here."""
    found = [describe_mitbih(args.data)]
    if args.json:
        print_json(found)
        return 0
    rows = [(d["name"], f"{d['records_here']} of {d['records']}", d["licence"], d["folder"] or "-") for d in found]
    print(table(("dataset", "records here", "licence", "folder"), rows))
    for entry in found:
        print(f"\n{entry['name']}: {entry['title']}\n  from   {entry['source']}\n  split  {entry['split']}")
        if entry["records_here"] < entry["records"]:
            print(
                f"  get    download it and name its parent folder with --data or {location.VARIABLE}; docs/datasets.md"
            )
    return 0


def describe_mitbih(root: Path | None) -> dict[str, Any]:
    """Facts on the MIT-BIH Arrhythmia Database and how much of it is on this machine."""
    try:
        folder: Path | None = location.find(mitbih.NAME, root)
    except DatasetError:
        folder = None
    here = [r for r in mitbih.ALL if folder and ((folder / f"{r}.npz").exists() or (folder / f"{r}.hea").exists())]
    return {
        "name": mitbih.NAME,
        "title": "MIT-BIH Arrhythmia Database: 48 half-hour ECGs of 47 people, 2 leads at 360 Hz, beats and rhythms",
        "licence": mitbih.LICENCE,
        "source": "https://physionet.org/content/mitdb/1.0.0/",
        "split": f"{len(mitbih.DS1)} records to fit (DS1), {len(mitbih.DS2)} to test (DS2), {len(mitbih.PACED)} paced "
        "left out",
        "folder": str(folder) if folder else None,
        "records": len(mitbih.ALL),
        "records_here": len(here),
        "missing": [r for r in mitbih.ALL if r not in here],
    }
