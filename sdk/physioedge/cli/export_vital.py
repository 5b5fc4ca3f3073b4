"""``physioedge export --vital``: an estimator or a forecaster as a signed bundle with intervals and units."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from physioedge.cli.export_asked import merged_choice, tell_merged

if TYPE_CHECKING:
    from physioedge.adapters.vital_files import VitalNote
    from physioedge_export.request import Card, Windows
    from physioedge_runtime.bundle.contract import Contract


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options to those of ``export``."""
    own = parser.add_argument_group("vitals", "a bundle of values with intervals, now or ahead: docs/vitals.md")
    own.add_argument("--vital", type=Path, metavar="DIR", help="what `train vitals` or `train forecast` wrote; --task "
                     "is not needed")  # fmt: skip
    own.add_argument("--age", type=float, metavar="YEARS", help="of the person, where the estimator knows of it")
    own.add_argument("--sex", choices=("M", "F"), help="of the person, where the estimator knows of it")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when the bundle is written and every stage agrees, 2 when options do not go together."""
    from physioedge.adapters.vital_files import load_vital
    from physioedge.datasets.facts import Facts
    from physioedge.evaluation.vitals.shipping import with_person
    from physioedge.models.estimator import Estimator
    from physioedge_export.pipeline import export_bundle
    from physioedge_export.request import Destination

    network, note = load_vital(args.vital)
    told = args.age is not None or args.sex is not None
    if isinstance(network, Estimator) and note.n_facts:
        network = with_person(network, Facts(age_years=args.age, sex=args.sex).row())
    elif told:
        print("--age and --sex: this network knows nothing but the signal", file=sys.stderr)
        return 2
    contract = contract_of(note)
    report = export_bundle(
        network,
        contract=contract,
        windows=windows_for(args.windows, note, contract),
        card=_card(args, note, contract),
        destination=Destination(bundle=args.out, signing_key=args.key, report=args.report),
        choice=merged_choice(args),
    )
    return tell_merged(report, args, "vitals")


def contract_of(note: VitalNote) -> Contract:
    """What the bundle takes and gives, its intervals' ends named."""
    from physioedge.adapters.vital_files import FORECAST
    from physioedge.tasks.vital_contracts import forecast_contract, interval_contract
    from physioedge.tasks.windowed import task_module

    if note.kind == FORECAST:
        return forecast_contract(note.of, note.config, note.backbone_digest)
    return interval_contract(task_module(note.of).TASK, note.layout, note.config, note.backbone_digest)


def windows_for(path: Path | None, note: VitalNote, contract: Contract) -> Windows:
    """Real windows of the people fitted on, or of a file; see `physioedge.cli.export_windows`.

    Raises
    ------
    DatasetError
        Recordings of nobody the network has seen.
    """
    import numpy as np

    from physioedge.adapters.forecasting import spans_of
    from physioedge.adapters.lora.files import TaskNote
    from physioedge.adapters.vital_files import FORECAST
    from physioedge.cli.export_windows import GOLDEN_WINDOWS, WINDOWS, export_windows, of_file, spread
    from physioedge.models.forecaster import CONTEXT_STEPS
    from physioedge.pretraining.vitals import SPAN
    from physioedge.tasks.series import stretches
    from physioedge.tasks.windowed import task_module
    from physioedge_export.request import Windows
    from physioedge_runtime.errors import DatasetError

    if note.kind != FORECAST:
        like = TaskNote(
            task=note.of, layout=note.layout, backbone_digest=note.backbone_digest, datasets=note.datasets,
            training_subjects=note.training_subjects, fit=note.fit,
        )  # fmt: skip
        return export_windows(path, task_module(note.of), like, contract, note.config)
    (sensor,) = contract.sensors
    if path is not None and not path.is_dir():
        found = of_file(path, contract)[sensor.name]
    else:
        spans = [spans_of(one.values, SPAN // 2)[:, None, :CONTEXT_STEPS] for one in stretches(note.of, SPAN, path)
                 if one.subject in note.training_subjects]  # fmt: skip
        if not spans:
            raise DatasetError(f"series {note.of} of nobody it was fitted on", "some of them", "Name the folder.")
        every = np.concatenate(spans)
        found = every[spread(len(every), WINDOWS)]
    golden = spread(len(found), GOLDEN_WINDOWS)
    return Windows(calibration={sensor.name: found}, golden={sensor.name: found[golden]})


def _card(args: argparse.Namespace, note: VitalNote, contract: Contract) -> Card:
    from physioedge.cli.export_card import licence_text
    from physioedge.tasks.vital_cards import limits_of, words_of
    from physioedge_export.request import Card

    name, seen = args.name or f"{note.of}-{note.method}", note.seen
    answers = {value.name: f"{words_of(note.of, value.name)}, in {value.units}" for value in contract.values}
    kept = len(note.fit.get("kept_for_intervals", ()))
    lines = [
        f"# {name}", "", "Research software; not a medical device, and no substitute for a physician.", "",
        "## Answers", "", *(f"- {key}: {text}." for key, text in answers.items()), "", "## Signals", "",
        *(f"- {s.name}: {', '.join(s.channels)} in {s.units} at {s.fs_hz:g} Hz." for s in contract.sensors), "",
        "## Fitted on", "",
        f"- {', '.join(note.datasets)}, {len(note.training_subjects)} people by {note.method}; {kept} of them were "
        "kept for the intervals.",
        f"- Before that: {', '.join(seen['datasets'])}, {len(seen['training_subjects'])} people, named in the "
        "manifest.", "", "## Limits", "", *(f"- {text}" for text in limits_of(note.of, kept)), "",
    ]  # fmt: skip
    provenance = {
        "training_subjects": sorted({*seen["training_subjects"], *note.training_subjects}),
        "datasets": sorted({*seen["datasets"], *note.datasets}),
        "backbone": {"digest": note.backbone_digest, "objective": seen["objective"]},
        "adapter": {"task": note.of, "method": note.method, "fit": note.fit},
    }
    return Card(
        name=name, version=args.bundle_version, model_card="\n".join(lines), licence_text=licence_text(),
        provenance=provenance, task_info=answers,
    )  # fmt: skip
