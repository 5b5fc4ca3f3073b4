"""What `physioedge evaluate arrhythmia` writes: one function a part, each with its own file under ``results/``."""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

import numpy as np

from physioedge import results
from physioedge.adapters.beats import BeatFit
from physioedge.adapters.lora.files import load_network
from physioedge.datasets import mitbih
from physioedge.evaluation import engines, lived
from physioedge.evaluation.arms import refuse_overlap
from physioedge.evaluation.beats import BeatScore, fibrillation, score
from physioedge.evaluation.folds import choose
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.plots import table
from physioedge.evaluation.report import Plan, fitted_rows
from physioedge.models.shipped import BUNDLE, adapter_of, backbone
from physioedge.results import Row
from physioedge.tasks.arrhythmia import NAME
from physioedge_runtime import Bundle
from physioedge_runtime.engine import load_engine
from physioedge_runtime.errors import EvaluationRefused
from physioedge_runtime.signal.beats import detect_beats
from physioedge_runtime.signal.resample import resample

TABLE = ("accuracy", "macro_f1", "sensitivity:S", "ppv:S", "sensitivity:V", "ppv:V", "kappa", "ece")


def write_choices(args: argparse.Namespace) -> list[Row]:
    """``arrhythmia-choices.json``: candidates on folds of DS1."""
    names = args.candidates.split(",")
    rows = choose(names, BeatFit(), args.backbone or backbone(), args.work, args.data, args.workers)
    command = f"physioedge evaluate arrhythmia --parts choose --candidates {args.candidates}"
    results.write(args.out / "arrhythmia-choices.json", command, rows)
    return rows


def write_arms(args: argparse.Namespace) -> list[Row]:
    """``arrhythmia.json`` with its table and plot: every arm on DS2; the run is logged."""
    plan = Plan(
        arms=tuple(args.arms.split(",")), seeds=args.seeds, backbone=args.backbone or backbone(), twin=args.twin,
        config=BeatFit(), work=args.work, data=args.data, workers=args.workers, taught=args.taught,
    )  # fmt: skip
    rows = fitted_rows(plan, args.out / "arrhythmia.png")
    command = f"physioedge evaluate arrhythmia --parts arms --arms {args.arms} --seeds {args.seeds}"
    command += " --taught FILE" if args.taught else ""
    results.write(args.out / "arrhythmia.json", command, rows)
    text = "\n\n".join(
        f"## {group}\n\n{table(rows, group, TABLE)}"
        for group in dict.fromkeys(row.group for row in rows if not row.group.startswith("subject:"))
    )
    (args.out / "arrhythmia.md").write_text(f"# Arrhythmia\n\nMade by `{command}`.\n\n{text}\n")
    log_ds2(args.out, command, f"{plan.seeds} seeds of {args.arms}")
    return rows


def write_shipped(args: argparse.Namespace) -> list[Row]:
    """``arrhythmia-shipped.json``: the bundle on annotated beats, one by one, and as lived."""
    bundle = Bundle.open(args.bundle or BUNDLE, trust=args.trust)
    seen = tuple(bundle.manifest.provenance["training_subjects"])
    refuse_overlap(seen, tuple(mitbih.subject_of(record) for record in mitbih.DS2))
    classifier, _, note, _ = load_network(args.backbone or backbone(), adapter_of(NAME))
    if note.backbone_digest != bundle.contract.backbone_digest:
        raise EvaluationRefused(
            f"a bundle on backbone {bundle.contract.backbone_digest[:12]}",
            f"one on {note.backbone_digest[:12]}, whose weights are here to compare with",
            "Name the bundle that was exported from these weights.",
        )
    engine = load_engine(bundle)
    answers = [lived.annotated_logits(bundle, engine, classifier, record, args.data) for record in mitbih.DS2]
    rows = lived.shipped_rows(answers)
    streamed = [lived.live(bundle, record, engine, args.data) for record in mitbih.DS2]
    rows += lived.lived_rows(streamed, "global_int8")
    command = "physioedge evaluate arrhythmia --parts shipped"
    results.write(args.out / "arrhythmia-shipped.json", command, rows, bundle=bundle.digest)
    log_ds2(args.out, command, f"bundle {bundle.digest[:12]}")
    return rows


def write_beats(args: argparse.Namespace) -> list[Row]:
    """``beats.json``: the R-peak detector on DS1 (where it was tuned), DS2 and all 44 records."""
    scores = {record: _beat_score(record, args.data) for record in (*mitbih.DS1, *mitbih.DS2)}
    rows = []
    for group, records in (("DS1", mitbih.DS1), ("DS2", mitbih.DS2), ("all44", (*mitbih.DS1, *mitbih.DS2))):
        rows += _beat_rows(group, [scores[record] for record in records])
    for record, one in scores.items():
        rows += _beat_rows(f"subject:{record}", [one])
    command = "physioedge evaluate arrhythmia --parts beats"
    results.write(args.out / "beats.json", command, rows)
    log_ds2(args.out, command, "detector")
    return rows


def write_engines(args: argparse.Namespace) -> list[Row]:
    """``engines.json``: every graph of the bundle on the same windows of the test records; labels are not looked at."""
    bundle = Bundle.open(args.bundle or BUNDLE, trust=args.trust)
    windows = engines.real_windows(bundle.contract, mitbih.DS2, args.data)
    found = engines.outputs_of(bundle, windows)
    rows = engines.agreement_rows(found)
    command = "physioedge evaluate arrhythmia --parts engines --bundle BUNDLE"
    results.write(args.out / "engines.json", command, rows, bundle=bundle.digest)
    (args.out / "engines.md").write_text(engines.page(rows, command), encoding="utf-8")
    return rows


def _beat_score(record: str, data: Path | None) -> BeatScore:
    recording = mitbih.load(record, data)
    lead = recording.channel(mitbih.LEAD)
    fs_hz = 125.0
    found = detect_beats(resample(lead.samples, lead.fs_hz, fs_hz)[0], fs_hz)
    detected = np.sort(np.array([round(beat.sample * recording.fs_hz / fs_hz) for beat in found], np.int64))
    annotated, _ = mitbih.beats(recording)
    spans = fibrillation(recording.annotations, recording.samples.shape[1]) if recording.annotations else []
    return score(detected, annotated, recording.fs_hz, spans)


def _beat_rows(group: str, scores: list[BeatScore]) -> list[Row]:
    rows = []
    for metric, missed in (("sensitivity", "false_negatives"), ("ppv", "false_positives")):
        pairs = np.array([[(s.true_positives, s.true_positives + getattr(s, missed)) for s in scores]], float)
        value, low, high = subject_bootstrap(pairs, lambda sums: sums[..., 0] / sums[..., 1])
        single = len(scores) == 1
        rows.append(
            Row(
                task="r_peaks",
                arm="detector",
                group=group,
                metric=metric,
                unit="1",
                value=value,
                low=None if single else low,
                high=None if single else high,
                n=len(scores),
                seeds=1,
            )
        )
    return rows


def log_ds2(out: Path, command: str, what: str) -> None:
    """Append to ``ds2-log.json``: every run that looked at the labels of DS2."""
    path = out / "ds2-log.json"
    entries = json.loads(path.read_text()) if path.exists() else []
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    entries.append({"date": today, "commit": results.commit(), "task": NAME, "command": command, "what": what})
    path.write_text("[\n" + ",\n".join(" " + json.dumps(entry) for entry in entries) + "\n]\n")
