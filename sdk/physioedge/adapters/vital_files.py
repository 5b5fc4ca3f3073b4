"""Fitted estimators and forecasters on disk: the whole network, merged in float, and what it is for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.estimator import Estimator
from physioedge.models.forecaster import Forecaster, forecast_layout
from physioedge.models.layout import Layout
from physioedge_runtime.errors import AdapterError

WEIGHTS_FILE, NOTE_FILE = "vital.safetensors", "vital.json"
ESTIMATE, FORECAST = "estimate", "forecast"
_DO = "Fit it with `physioedge train vitals` or `physioedge train forecast`."


@dataclass(frozen=True, kw_only=True)
class VitalNote:
    """What a fitted network is for, and whom it has seen.

    Attributes
    ----------
    kind : str
        `ESTIMATE` or `FORECAST`.
    of : str
        The task, or the series.
    method : str
        How it was fitted; it is merged, so that this changes nothing any more.
    config : BackboneConfig
    layout : Layout
    n_values : int
        Of an estimator; 0 of a forecaster.
    n_facts : int
        Numbers of the person that an estimator knows beside the signal.
    backbone_digest : str
        Of what it was fitted from.
    training_subjects, datasets : tuple of str
        Of the fit and of the intervals' calibration.
    seen : mapping
        Whom and what the weights before the fit had seen: ``training_subjects``, ``datasets``, ``objective``.
    fit : mapping
        Steps, seed, people kept for the intervals.
    """

    kind: str
    of: str
    method: str
    config: BackboneConfig
    layout: Layout
    n_values: int = 0
    n_facts: int = 0
    backbone_digest: str
    training_subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    seen: dict[str, Any]
    fit: dict[str, Any] = field(default_factory=dict)


def save_vital(folder: Path, network: Estimator | Forecaster, note: VitalNote) -> None:
    """Write arrays in float32 and then, in one step, the note: where that is, the arrays are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().float().contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
    values = {**asdict(note), "config": note.config.to_dict(), "layout": note.layout.to_dict()}
    part = folder / f"{NOTE_FILE}.part"
    part.write_text(json.dumps(values, indent=1) + "\n")
    part.replace(folder / NOTE_FILE)


def load_vital(folder: Path) -> tuple[Estimator | Forecaster, VitalNote]:
    """Inverse of `save_vital`; the network in evaluation mode.

    Raises
    ------
    AdapterError
        Files are missing or damaged, or do not belong together.
    """
    try:
        values = json.loads((folder / NOTE_FILE).read_text())
        lists = {name: tuple(values[name]) for name in ("training_subjects", "datasets")}
        shapes = {"config": BackboneConfig.from_dict(values["config"]), "layout": Layout.from_dict(values["layout"])}
        note = VitalNote(**{**values, **lists, **shapes})
        network = bare(note)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise AdapterError(
            f"{folder.name} ({type(error).__name__}: {str(error)[:200]})", f"{NOTE_FILE} and {WEIGHTS_FILE}", _DO
        ) from error
    return network.eval(), note


def bare(note: VitalNote) -> Estimator | Forecaster:
    """The network of a note, without what was fitted.

    Raises
    ------
    ValueError
        Of a kind that is none of the two.
    """
    if note.kind == FORECAST:
        return Forecaster(Backbone(note.config, forecast_layout()))
    if note.kind != ESTIMATE:
        raise ValueError(f"kind {note.kind!r}")
    return Estimator(Backbone(note.config, note.layout), note.n_values, note.n_facts)
