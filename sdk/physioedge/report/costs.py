"""The cost ledger of personalisation: one table in ``docs/personalisation.md``, made of files that commands wrote.

``python -m physioedge.report.costs`` writes it between its marks; ``--check`` only says whether it is up to date. What
a file does not hold is left out of the table, and nothing in it is worked out but sums and ratios.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physioedge.results import Row, read

BEGIN, END = "<!-- costs: begin -->", "<!-- costs: end -->"
DOCUMENT = Path("docs/personalisation.md")
HISTORY = Path("weights/physioedge_weights/tiny/history.json")
_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Files of the table; each may be missing.

    Attributes
    ----------
    costs, host : mapping of (arm, group, metric) to Row
        ``results/costs.json`` and ``results/host.json``.
    demo : mapping
        The personal part of ``results/demo.json``.
    history : mapping
        Of the shipped backbone's pre-training.
    federated : mapping
        What federated averaging sent, of ``results/personalisation-*.json``.
    """

    costs: Mapping[tuple[str, str, str], Row]
    host: Mapping[tuple[str, str, str], Row]
    demo: Mapping[str, Any]
    history: Mapping[str, Any]
    federated: Mapping[str, int]


def sources(root: Path) -> Sources:
    """What lies in a checkout."""
    return Sources(
        costs=_rows(root / "results/costs.json"),
        host=_rows(root / "results/host.json"),
        demo=_values(root / "results/demo.json").get("personal", {}),
        history=_values(root / HISTORY),
        federated=next((sent for path in sorted((root / "results").glob("personalisation-*.json"))
                        if (sent := _values(path).get("federated"))), {}),
    )  # fmt: skip


def table(found: Sources) -> str:
    """The ledger, in Markdown; a line of words where there is nothing to tell."""
    lines = [*_once(found), *_person(found), *_training(found)]
    if not lines:
        return "Nothing measured yet."
    heads = ["| what | where | processor time | peak memory | bytes |", "|---|---|--:|--:|--:|"]
    return "\n".join([*heads, *lines, "", *_ratio(found)]).rstrip()


def put(text: str, made: str) -> str:
    """A document with the table between its marks; ValueError where it has none."""
    before, mark, rest = text.partition(BEGIN)
    _, close, after = rest.partition(END)
    if not mark or not close:
        raise ValueError(f"no {BEGIN} and {END} in the document")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def _once(found: Sources) -> list[str]:
    lines = []
    cost = found.history.get("cost")
    if cost:
        whole = cost["core_s"] / cost["steps"] * found.history["steps"]
        lines.append(_line(f"pre-training, {found.history['steps']} steps", "cloud, once", _time(whole)))
    for arm, words in (("global adapters", "global adapters, of folds and of everybody"), ("adapter set", "")):
        row = found.costs.get((arm, "once, cloud", "core_s"))
        count = found.costs.get((arm, "once, cloud", "adapters"))
        said = words or (f"adapter set, {count.value:.0f} adapters" if count else arm)
        if row:
            lines.append(_line(said, "cloud, once", _time(row.value)))
    for (arm, group, metric), row in found.costs.items():
        if group == "once, cloud" and metric == "core_s" and arm not in ("global adapters", "adapter set"):
            peak = found.costs.get((arm, group, "peak_rss_mb"))
            lines.append(_line(f"generator `{arm}`, its fit", "cloud, once", _time(row.value), _memory(peak)))
    return lines


def _person(found: Sources) -> list[str]:
    lines, demo = [], found.demo
    condition, adapter = demo.get("condition", {}), demo.get("adapter", {})
    if condition:
        said = f"condition, {condition['kind']}s of windows the device judges anyway"
        lines.append(_line(said, "device", "-", size=condition["bytes"]))
    for (arm, group, metric), row in found.host.items():
        if group == "generator alone, one by one" and metric == "cpu_ms_per_answer":
            lines.append(_line(f"generation by `{arm}`", "host", _time(row.value / 1e3)))
    if condition:
        lines.append(_line("request to signed answer", "host", _time(condition["host_ms"] / 1e3),
                           size=condition["answer_bytes"]))  # fmt: skip
    if adapter:
        lines.append(_line("adapter verified and staged", "device", _time(adapter["stage_ms"] / 1e3)))
        lines.append(_line("swap between two windows", "device", _time(adapter["swap_ms"] / 1e3)))
    for arm, words in (("fourier", "Fourier coefficients"), ("vera", "numbers of VeRA's vectors")):
        took, numbers, lost = (found.costs.get((arm, "one person", m)) for m in ("core_s", "numbers", "relative_error"))
        if took and numbers and lost:
            said = f"slots written out of {numbers.value:.0f} {words}, error {lost.value:.2f} of an adapter's length"
            lines.append(_line(said, "device", _time(took.value), size=2 * numbers.value))
    merge = found.costs.get(("merge", "one person", "core_s"))
    if merge:
        lines.append(_line("merging into the weights in float, before quantisation", "host", _time(merge.value)))
    return lines


def _training(found: Sources) -> list[str]:
    lines = []
    for arm, words in (("local", "local LoRA, labels of five minutes"), ("full", "every weight, the same labels")):
        row = found.costs.get((arm, "one person", "core_s"))
        if row:
            peak = found.costs.get((arm, "one person", "peak_rss_mb"))
            lines.append(_line(words, "device, in its place", _time(row.value), _memory(peak)))
    sent = found.federated
    if sent:
        words = f"federated averaging, {sent['rounds']} rounds with {sent['people']} people: down, and up"
        lines.append(_line(words, "device, in its place", "", size=sent["bytes_down"], more=sent["bytes_up"]))
    return lines


def _ratio(found: Sources) -> list[str]:
    local, demo = found.costs.get(("local", "one person", "core_s")), found.demo
    if not local or "adapter" not in demo or "condition" not in demo:
        return []
    asked_s = (demo["condition"]["host_ms"] + demo["adapter"]["stage_ms"] + demo["adapter"]["swap_ms"]) / 1e3
    return [f"From a condition in hand to the adapter in use: {_time(asked_s)}, 1/{local.value / asked_s:.0f} of local "
            f"LoRA training ({_time(local.value)} of {local.n} people)."]  # fmt: skip


def _line(
    what: str, where: str, took: str, memory: str = "", size: float | None = None, more: float | None = None
) -> str:
    sizes = ", ".join(f"{one:,.0f}" for one in (size, more) if one is not None)
    return f"| {what} | {where} | {took} | {memory} | {sizes} |"


def _time(seconds: float) -> str:
    if seconds >= _HOUR_S / 10:
        return f"{seconds / _HOUR_S:.2f} h"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


def _memory(row: Row | None) -> str:
    return "" if row is None else f"{row.value:.0f} MB"


def _values(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _rows(path: Path) -> dict[tuple[str, str, str], Row]:
    return {(row.arm, row.group, row.metric): row for row in read(path)} if path.exists() else {}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the table is written, or with ``--check`` up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="of the checkout")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    path = args.root / DOCUMENT
    text = path.read_text(encoding="utf-8")
    made = put(text, table(sources(args.root)))
    if args.check:
        stale = f"{path} is not what the files say: python -m physioedge.report.costs\n"
        sys.stdout.write("" if made == text else stale)
        return 0 if made == text else 1
    path.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
