"""On the board: the packed arms through the same measurement, and a results file of the same form.

Only the standard library, numpy and onnxruntime are there; the bundles are opened by the digest pinned when they were
packed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.bench.arms import Arm
from physioedge.bench.document import document, rows_in, write
from physioedge.bench.measure import measure
from physioedge.bench.measured import Bench, LeftOut
from physioedge.bench.preset import Subject
from physioedge.bench.work import Work
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import PhysioEdgeError

RECORD, CEILINGS, PACK = "record.npz", "ceilings", "pack.json"


def board(folder: Path, argv: Sequence[str]) -> int:
    """Measure what is packed and write the file; 0 when it ran, 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="run.py", description="Measure the models in this folder on this machine.")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="rounds of 20 inferences (default 40)")
    parser.add_argument("--out", type=Path, default=Path("board.json"), metavar="FILE", help="default board.json")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    packed = json.loads((folder / PACK).read_text(encoding="utf-8"))
    runs, checks = [], {}
    try:
        for part in packed["subjects"]:
            bench = measure(
                subject_in(folder, part),
                folder / RECORD,
                rounds=args.rounds,
                progress=_progress,
                ceilings=folder / CEILINGS,
            )
            bench, checks[bench.group] = refused(bench, part["expected"])
            runs.append((part["task"], part["digest"], bench))
    except PhysioEdgeError as error:
        _progress("")
        sys.stderr.write(f"error[{error.code}]: {error}\n")
        return 1
    _progress("")
    speed = document(f"run.py --rounds {args.rounds}", runs, commit=packed["commit"])
    for group, found in checks.items():
        speed["groups"][group]["checks"] = found
    write(args.out, speed)
    sys.stdout.write(summary(speed, args.out))
    return 0 if speed["rows"] else 1


def subject_in(folder: Path, part: Mapping[str, Any]) -> Subject:
    """A packed model as the measurement takes it."""
    arms = [Arm(**{**arm, "path": str(folder / arm["path"])}) for arm in part["arms"]]
    own = folder / part["bundle"]
    return Subject(
        bundle=Bundle.open(own, trust=part["trust"]),
        group=part["group"],
        weights=part["weights"],
        arms=arms,
        left_out=[LeftOut(arm=arm, reason=reason) for arm, reason in part["left_out"].items()],
        windows=np.load(folder / part["windows"], allow_pickle=False),
        source=part["source"],
        work=Work(**part["work"]) if part["work"] else None,
    )


def refused(bench: Bench, expected: Mapping[str, Any]) -> tuple[Bench, dict[str, dict[str, float]]]:
    """The run without arms whose logits are not those of the machine that packed it, and every arm's difference.

    Parameters
    ----------
    bench : Bench
    expected : mapping
        For each arm ``logits`` of the first windows and ``limit``, the largest difference.
    """
    checks, gone = {}, []
    for name, measured in bench.measured.items():
        if name not in expected:
            continue
        wanted, limit = np.array(expected[name]["logits"]), float(expected[name]["limit"])
        found = np.array(measured.logits)[: len(wanted)]
        difference = float(np.abs(found - wanted[: len(found)]).max())
        checks[name] = {"difference": difference, "limit": limit}
        if not difference <= limit:
            off = f"logits off by {difference:.3g} from those of the machine that packed it"
            gone.append(LeftOut(arm=name, reason=f"refused: {off}, where at most {limit:.3g} is right"))
    names = {left.arm for left in gone}
    kept = {name: measured for name, measured in bench.measured.items() if name not in names}
    return replace(bench, measured=kept, left_out=[*bench.left_out, *gone]), checks


def summary(speed: Mapping[str, Any], out: Path) -> str:
    """What is printed at the end."""
    lines = []
    for group, facts in speed["groups"].items():
        lines.append(f"{group}:")
        lines += [
            f"  {row.arm:<16} {row.value:9.3f} ms median"
            for row in rows_in(dict(speed))
            if row.group == group and row.metric == "p50_ms"
        ]
        lines += [f"  left out: {arm}: {reason}" for arm, reason in facts["left_out"].items()]
        lines += [f"  {sentence}" for sentence in facts["answer"]]
    return "\n".join(
        [*lines, f"Written: {out}. Bring it back: physioedge bench --read {out.name} --html board.html", ""]
    )


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
    elif text:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
