"""``physioedge export``: weights to a signed bundle, with a report."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioedge.cli.console import SHIPPED, print_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from physioedge.models.config import BackboneConfig
    from physioedge.models.heads import Classifier
    from physioedge.signals.recording import Recording
    from physioedge_export.merge import LoraAdapter
    from physioedge_export.request import Windows
    from physioedge_runtime.bundle.contract import Contract

GOLDEN_WINDOWS = 8
PER_RECORD = 24
BACKBONE_FILE = "backbone.safetensors"
TASK_INFO = {"N": "normal beats (AAMI N)", "S": "supraventricular ectopic beats", "V": "ventricular ectopic beats"}


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export", help="turn weights into a signed bundle, with a report", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("--weights", default=SHIPPED, metavar="DIR", help="backbone's folder or file, or 'shipped'")
    parser.add_argument("--adapter", default=SHIPPED, metavar="DIR", help="global adapter's folder, or 'shipped'")
    parser.add_argument("--task", default="arrhythmia", choices=("arrhythmia",))
    parser.add_argument("--target", default="onnx", metavar="LIST", help="onnx, executorch, or both with a comma")
    parser.add_argument("--adapters", default="merged,slots", metavar="LIST", help="merged, slots, or both")
    parser.add_argument("--precision", default="int8", metavar="LIST", help="int8, fp32, or both")
    parser.add_argument("--scheme", default="dynamic", choices=("dynamic", "static", "static-qdq", "static-qoperator"))
    parser.add_argument("--fallback", default="merged,slots", metavar="LIST", help="forms of adapters that also come "
                        "as a static int8 ONNX graph, for devices whose dynamic kernels are wrong; '' for "
                        "none")  # fmt: skip
    parser.add_argument("--keep-float", default="", metavar="LIST", help="more layers that stay in fp32 (ONNX)")
    parser.add_argument("--windows", type=Path, metavar="PATH", help="real windows: see below")
    parser.add_argument("--key", type=Path, required=True, metavar="PEM", help="private signing key")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bundle")
    parser.add_argument("--report", type=Path, metavar="DIR", help="for the report; beside the bundle by default")
    parser.add_argument("--name", help="name of the bundle; by default the task")
    parser.add_argument("--version", dest="bundle_version", default="1", help="version of the bundle")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


_EPILOG = """--windows takes a recording (any format `physioedge run` reads; its beats are detected), an .npz file with
windows `signal` (window, 1, sample) in the contract's rate and unit, or the folder that holds the dataset mitbih; by
default the dataset is looked for where `physioedge datasets` says. Exit code 1 when a stage is out of tolerance."""


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when the bundle is written and every stage agrees."""
    from physioedge_export.build import Choice
    from physioedge_export.pipeline import export_bundle
    from physioedge_export.quantize import KEEP_FLOAT
    from physioedge_export.request import Card, Destination

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision's absence concerns nobody here
    classifier, adapter, contract, provenance = _model(args.weights, args.adapter)
    name = args.name or args.task
    card = Card(
        name=name,
        version=args.bundle_version,
        model_card=_model_card(name, provenance),
        licence_text=_licence(),
        provenance=provenance,
        task_info=TASK_INFO,
    )
    report = export_bundle(
        classifier,
        contract=contract,
        windows=_windows(args.windows, contract, classifier.backbone.config),
        card=card,
        destination=Destination(bundle=args.out, signing_key=args.key, report=args.report),
        adapter=adapter,
        choice=Choice(
            targets=_list(args.target),
            adapters=_list(args.adapters),
            precisions=_list(args.precision),
            scheme=args.scheme,
            fallback=_list(args.fallback),
            keep_float=(*KEEP_FLOAT, *_list(args.keep_float)),
        ),
    )
    if args.json:
        print_json(report.to_dict())
    else:
        print(report.summary())
        print(f"Bundle {args.out}, {report.bundle_bytes} bytes; report in {args.report or args.out.parent}")
    return 0 if report.holds else 1


def _list(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _model(weights: str, adapter_folder: str) -> tuple[Classifier, LoraAdapter, Contract, dict[str, Any]]:
    """The network with its adapter merged in float, the adapter, its contract, and whom the weights have seen."""
    from physioedge.adapters.lora.files import merged_classifier
    from physioedge.models.checkpoint import load_backbone
    from physioedge.tasks.arrhythmia import contract_for

    path, folder = _places(weights, adapter_folder)
    backbone, seen, digest = load_backbone(path / BACKBONE_FILE if path.is_dir() else path)
    classifier, adapter, note = merged_classifier(backbone, digest, folder)
    provenance = {
        "training_subjects": sorted({*seen.training_subjects, *note.training_subjects}),
        "datasets": sorted({*seen.datasets, *note.datasets}),
        "backbone": {"digest": digest, "objective": seen.objective, "details": seen.details},
        "adapter": {"task": note.task, "fit": note.fit},
    }
    return classifier, adapter, contract_for(backbone.config, digest), provenance


def _places(weights: str, adapter: str) -> tuple[Path, Path]:
    """Where backbone and adapter lie; those that ship with the package by their name."""
    if SHIPPED not in (weights, adapter):
        return Path(weights), Path(adapter)
    from physioedge.models.shipped import ARRHYTHMIA_ADAPTER, BACKBONE

    found = BACKBONE if weights == SHIPPED else Path(weights)
    return found, ARRHYTHMIA_ADAPTER if adapter == SHIPPED else Path(adapter)


def _windows(path: Path | None, contract: Contract, config: BackboneConfig) -> Windows:
    from physioedge_export.request import Windows

    found = _windows_of_dataset(path, config) if path is None or path.is_dir() else _windows_of_file(path, contract)
    golden = found[_spread(len(found), GOLDEN_WINDOWS)]
    return Windows(calibration=found, golden=golden)


def _windows_of_dataset(root: Path | None, config: BackboneConfig) -> NDArray[np.float32]:
    """Windows of every record that may be fitted on, spread over its length."""
    import numpy as np

    from physioedge.datasets import mitbih
    from physioedge.tasks.arrhythmia import load_records

    found = [record.windows(config)[0] for record in load_records(mitbih.FIT, config.fs_hz, root)]
    return np.concatenate([windows[_spread(len(windows), PER_RECORD)] for windows in found])


def _windows_of_file(path: Path, contract: Contract) -> NDArray[np.float32]:
    import numpy as np

    from physioedge.signals.read import read_recording
    from physioedge_runtime.errors import RecordError

    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as file:
                if "signal" in file.files:
                    return np.asarray(file["signal"], np.float32)
        except (OSError, ValueError) as error:
            raise RecordError(f"{path} ({error})", "an .npz archive", "Check the file.") from error
    found = windows_of_recording(read_recording(path), contract)
    if not len(found):
        needed_s = contract.window.input_samples / contract.sensor.fs_hz
        raise RecordError(f"{path} without a whole window", f"beats with {needed_s:.1f} s around them", "Take more.")
    return found


def windows_of_recording(recording: Recording, contract: Contract) -> NDArray[np.float32]:
    """Windows (window, 1, sample) around the detected beats of a recording, at the contract's rate.

    Raises
    ------
    UnitMismatch, ChannelMismatch
        The recording is not in the contract's unit, or lacks its channel.
    """
    import numpy as np

    from physioedge_runtime.errors import UnitMismatch
    from physioedge_runtime.signal.beats import detect_beats
    from physioedge_runtime.signal.resample import resample
    from physioedge_runtime.signal.windows import cut_windows

    sensor = contract.sensor
    if recording.units != sensor.units:
        raise UnitMismatch(f"{recording.name} in {recording.units}", sensor.units, "Convert the recording.")
    lead = recording.channel(sensor.channels[0])
    samples = resample(lead.samples, lead.fs_hz, sensor.fs_hz)
    anchors = np.array([beat.sample for beat in detect_beats(samples[0], sensor.fs_hz)], np.int64)
    return cut_windows(samples, anchors, contract.window)[0]


def _spread(n: int, wanted: int) -> list[int]:
    """Indices spread evenly over n things, all of them where there are fewer than wanted."""
    return sorted({round(i * (n - 1) / max(1, wanted - 1)) for i in range(wanted)}) if n else []


def _model_card(name: str, provenance: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"# {name}",
            "",
            "Judges every heart beat of a single-lead ECG: normal (N), supraventricular (S) or ventricular (V).",
            "Research software; not a medical device, and no substitute for a physician.",
            "",
            f"- Fitted on: {', '.join(provenance['datasets'])}, {len(provenance['training_subjects'])} people.",
            f"- People seen: {', '.join(provenance['training_subjects'])}.",
            "- Known limits: lead MLII of adults; fusion and paced beats are not among its classes.",
            "",
        ]
    )


def _licence() -> str:
    from importlib.metadata import PackageNotFoundError, files

    try:
        found = [file for file in files("physioedge") or [] if file.name == "LICENSE"]
    except PackageNotFoundError:
        found = []
    return found[0].read_text() if found else "Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0\n"
