"""Generated adapters merged into bundles: what of their change survives int8, in ONNX and in ExecuTorch programs.

    python benchmarks/personal_export.py --people 6

For people of MIT-BIH's DS2 a device's condition is taken from five streamed minutes, the shipped generator makes an
adapter of it, and `physioedge export --generated` merges that three times: rounded to int8 whole, with q and v of every
block in float (ONNX alone), and in float. Labels are not looked at. Writes results/personal-export.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge import results
from physioedge.cli.main import main as command
from physioedge.datasets import mitbih
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.personal.conditions import by_device
from physioedge.generator.files import load_generator
from physioedge.models import shipped
from physioedge.results import Row
from physioedge.tasks.arrhythmia import NAME
from physioedge_export.adapters import write_adapter
from physioedge_runtime import Bundle
from physioedge_runtime.adaptation.manifest import AdapterManifest, Binding
from physioedge_runtime.bundle.signing import make_keys
from physioedge_runtime.engine import load_engine

WAYS = {
    "int8": ["--precision", "int8", "--target", "onnx,executorch"],
    "int8, q and v in float": ["--precision", "int8", "--target", "onnx", "--keep-float", "attention.q,attention.v"],
    "fp32": ["--precision", "fp32", "--target", "onnx,executorch"],
}
METRICS = ("correlation", "error", "same_label", "changed_label")


def main() -> int:
    """Exit code: 0 when the file is written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    people = [mitbih.DS2[i] for i in np.linspace(0, len(mitbih.DS2) - 1, args.people).round().astype(int)]
    with tempfile.TemporaryDirectory() as folder:
        found = [kept(record, Path(folder)) for record in people]
    rows = rows_of(found)
    said = f"python benchmarks/personal_export.py --people {args.people}"
    results.write(args.out / "personal-export.json", said, rows, bundle=Bundle.open(shipped.BUNDLE).digest)
    for row in rows:
        sys.stdout.write(f"{row.arm:55} {row.metric:15} {row.value:.4f} of {row.n}\n")
    return 0


def kept(record: str, folder: Path) -> dict[str, dict[str, float]]:
    """Of one person: figures by way and graph; ``refused`` is 1 where the export was refused."""
    bundle = Bundle.open(shipped.BUNDLE)
    if not (folder / "keys").exists():
        make_keys(folder / "keys")
        everybody(folder)
    condition = by_device(bundle, record, load_engine(bundle), None)
    generator = load_generator(shipped.generator_of(NAME))
    said = AdapterManifest(
        id=f"{generator.kind}-{record}", task=NAME, backbone_digest=generator.backbone_digest,
        binding=Binding(kind="any", id=""), counter=1, issued_s=1, expires_s=2,
        provenance={"generator": generator.kind},
    )  # fmt: skip
    file = folder / f"{record}.adapter"
    write_adapter(file, said, generator.generate([condition])[0], signing_key=folder / "keys" / "private.pem")
    out: dict[str, dict[str, float]] = {}
    for way, options in WAYS.items():
        place = folder / record / way.replace(" ", "-").replace(",", "")
        place.mkdir(parents=True)
        code = command([
            "export", *options, "--fallback", "", "--generated", str(file), "--host-trust", public(folder),
            "--beside", str(folder / "everybody.physio"), "--beside-trust", public(folder),
            "--key", str(folder / "keys" / "private.pem"), "--out", str(place / "one.physio"), "--shapelets", "none",
        ])  # fmt: skip
        out[way] = {"refused": float(code != 0)}
        if code == 0:
            for row in json.loads((place / "fidelity.json").read_text()):
                out[f"{way}: {row['graph']}"] = {metric: row[metric] for metric in METRICS}
        sys.stderr.write(f"{record}: {way} {'refused' if code else 'exported'}\n")
    return out


def public(folder: Path) -> str:
    """Path of the public key of this run."""
    return str(folder / "keys" / "public.pem")


def everybody(folder: Path) -> None:
    """The bundle of everybody that persons' are compared with: merged and slots, int8 and fp32, both engines."""
    command([
        "export", "--precision", "int8,fp32", "--target", "onnx,executorch", "--fallback", "", "--shapelets", "none",
        "--key", str(folder / "keys" / "private.pem"), "--out", str(folder / "everybody.physio"),
    ])  # fmt: skip


def rows_of(found: list[dict[str, dict[str, float]]]) -> list[Row]:
    """Means over the people whose export was not refused, with intervals over these."""
    rows = []
    for arm in dict.fromkeys(arm for one in found for arm in one):
        held = [one[arm] for one in found if arm in one]
        for metric in held[0]:
            values = np.array([[[one[metric], 1.0] for one in held]])
            value, low, high = subject_bootstrap(values, _mean)
            rows.append(Row(task=NAME, arm=arm, group="DS2, one person's bundle", metric=metric, unit="1", value=value,
                            low=low, high=high, n=len(held), seeds=1))  # fmt: skip
    return rows


def _mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[..., 0] / sums[..., 1])


if __name__ == "__main__":
    sys.exit(main())
