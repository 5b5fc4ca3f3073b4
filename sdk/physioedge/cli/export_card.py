"""What an exported bundle says about itself: card, model card, licence, and who must not pass it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physioedge.cli.export import Exported
    from physioedge_export.request import Card

_NO_DEVICE = "Research software; not a medical device, and no substitute for a physician."
LISTED = 60
"""So many people are named in the model card; the manifest names all."""


def card(model: Exported, name: str, version: str) -> Card:
    """Everything a bundle says about itself."""
    from physioedge.tasks.cards import card_of
    from physioedge_export.request import Card

    note, seen = model.note, model.seen
    provenance = {
        "training_subjects": sorted({*seen.training_subjects, *note.training_subjects}),
        "datasets": sorted({*seen.datasets, *note.datasets}),
        "backbone": {"digest": note.backbone_digest, "objective": seen.objective, "details": seen.details},
        "adapter": {"task": note.task, "fit": note.fit},
    }
    return Card(
        name=name,
        version=version,
        model_card=_model_card(model, name),
        licence_text=licence_text(),
        provenance=provenance,
        task_info=dict(card_of(note.task).answers),
    )


def _model_card(model: Exported, name: str) -> str:
    """What it judges, on whom it was fitted, where it must not be trusted."""
    from physioedge.tasks.cards import card_of

    card, note, contract = card_of(model.note.task), model.note, model.contract
    units = {value.name: f", in {value.units}" for value in contract.values}
    lines = [f"# {name}", "", card.judges, _NO_DEVICE]
    lines += ["", "## Answers", "", *(f"- {key}: {text}{units.get(key, '')}." for key, text in card.answers.items())]
    lines += ["", "## Signals", ""]
    lines += [
        f"- {s.name}: {', '.join(s.channels)} in {s.units} at {s.fs_hz:g} Hz, {s.window_samples / s.fs_hz:g} s "
        f"after {s.context_samples / s.fs_hz:g} s of past."
        for s in contract.sensors
    ]
    if contract.trigger.kind == "hop":
        lines.append(f"- Judged every {contract.trigger.hop_samples / contract.sensor.fs_hz:g} s{_other_hop(model)}.")
    people = ", ".join(note.training_subjects)
    named = people if len(note.training_subjects) <= LISTED else "named in the manifest"
    lines += ["", "## Fitted on", ""]
    taught = note.fit.get("taught_people")
    by_teacher = f" A teacher labelled {taught} of them, see docs/personalisation.md." if taught else ""
    lines += [f"- The task: {', '.join(note.datasets)}, {len(note.training_subjects)} people: {named}.{by_teacher}"]
    lines += [f"- The backbone, without labels: {', '.join(model.seen.datasets)}, "
              f"{len(model.seen.training_subjects)} people, named in the manifest."]  # fmt: skip
    lines += ["", "## Limits", "", *(f"- {text}" for text in (*card.limits, *warnings(model))), ""]
    return "\n".join(lines)


def _other_hop(model: Exported) -> str:
    """Where the bundle's hop is not the task's: it must be a whole number of samples of every sensor."""
    hop_s = model.contract.trigger.hop_samples / model.contract.sensor.fs_hz
    wanted_s = model.module.TASK.hop_s
    return "" if abs(hop_s - wanted_s) < 1e-9 else f", the whole number of samples nearest to the task's {wanted_s:g} s"


def warnings(model: Exported) -> list[str]:
    """Sets that forbid to pass on what was fitted on them."""
    from physioedge.datasets.registry import NAMES, info

    used = sorted({*model.note.datasets, *model.seen.datasets} & set(NAMES))
    return [
        f"Weights fitted on {name} must not be passed on: {info(name).licence_note}"
        for name in used
        if not info(name).weights_shippable
    ]


def licence_text() -> str:
    """The licence that this distribution comes with."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        found = [file for file in files("physioedge") or [] if file.name == "LICENSE"]
    except PackageNotFoundError:
        found = []
    return found[0].read_text() if found else "Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0\n"
