"""Export a signed int8 bundle: python samples/export_bundle.py [FOLDER].

Takes the weights, the global adapter and the recording that ship with the package, merges and quantises them, checks
torch, fp32 and int8 against each other, and writes the bundle and a report into FOLDER. Needs physioedge[export].
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from physioedge.adapters.lora.files import load_network
from physioedge.models import shipped
from physioedge.signals.read import read_recording
from physioedge.tasks.arrhythmia import contract_for
from physioedge_export.pipeline import export_bundle
from physioedge_export.request import Card, Destination, Windows
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import make_keys
from physioedge_runtime.signal.beats import detect_beats
from physioedge_runtime.signal.resample import resample
from physioedge_runtime.signal.windows import cut_windows

RECORD = shipped.BUNDLE.parent / "excerpt.npz"


def main(folder: Path, backbone_file: Path | None = None, adapter: Path | None = None) -> None:
    """Export, and open what came out as a device would."""
    backbone_file, adapter = backbone_file or shipped.backbone(), adapter or shipped.adapter_of("arrhythmia")
    network, lora, note, seen = load_network(backbone_file, adapter)  # merged in float, before quantisation
    contract = contract_for(note.backbone_digest, network.backbone.config, note.layout)

    recording = read_recording(RECORD)  # real windows: the parity check means nothing on noise
    samples = resample(recording.samples[:1], recording.fs_hz, contract.sensor.fs_hz)
    peaks = np.array([beat.sample for beat in detect_beats(samples[0], contract.sensor.fs_hz)])
    windows, _ = cut_windows(samples, peaks, contract.window)

    people = sorted({*seen.training_subjects, *note.training_subjects})
    card = Card(name="sample", version="1", model_card="# A sample\n", licence_text="Apache-2.0\n",
                provenance={"training_subjects": people})  # fmt: skip
    make_keys(folder / "keys")  # keep private.pem secret; devices get public.pem
    destination = Destination(bundle=folder / "sample.physio", signing_key=folder / "keys" / "private.pem")
    real = Windows(calibration={"ecg": windows}, golden={"ecg": windows[:8]})
    report = export_bundle(network, contract=contract, windows=real, card=card, destination=destination, adapter=lora)
    print(*report.answers, sep="\n")
    for row in report.agreement:
        print(f"{row.candidate}: same label as {row.reference} in {row.same_label:.1%} of {row.windows} windows")
    bundle = Bundle.open(destination.bundle, trust=folder / "keys" / "public.pem")
    print(f"{bundle.path} holds {', '.join(graph.file for graph in bundle.manifest.graphs)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "exported"))
