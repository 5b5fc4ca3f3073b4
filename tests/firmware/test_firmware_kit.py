"""The firmware kit: made, compiled, run on the shipped bundle, and held against the runtime."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from kit_compiler import COMPILER, compiles, make, needed, run

from physioedge.cli.main import main
from physioedge_export.firmware.c_text import c_array, c_double, c_float, c_text
from physioedge_export.firmware.making import make_kit
from physioedge_runtime import Bundle
from physioedge_runtime.__main__ import SHIPPED_BUNDLE
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.errors import ExportError, SampleRateMismatch, UnknownSensor
from tiny_bundle import PRIVATE_KEY, tiny_contract, tiny_files, tiny_pair, write_tiny_bundle

TRUST = public_key(PRIVATE_KEY)
RATES_HZ = [360.0, 250.0, 130.0, 1000.0, 100.0, 125.0]


@pytest.fixture(scope="module")
def shipped_kit(tmp_path_factory):
    """The kit of the shipped bundle, with filters for five rates; the contract's own rate needs none."""
    folder = tmp_path_factory.mktemp("kit") / "shipped"
    make_kit(Bundle.open(SHIPPED_BUNDLE), folder, from_hz={"ecg": RATES_HZ})
    return folder


def test_the_kit_holds_what_firmware_needs(shipped_kit):
    held = {str(path.relative_to(shipped_kit)) for path in shipped_kit.rglob("*") if path.is_file()}
    bundle = Bundle.open(SHIPPED_BUNDLE)
    assert {graph.file for graph in bundle.manifest.graphs} <= held
    assert {
        "bundle.physio",
        "Makefile",
        "README.md",
        "kit/main.c",
        "kit/physioedge_engine.h",
        "physio_golden.c",
    } <= held
    assert (shipped_kit / "bundle.physio").read_bytes() == SHIPPED_BUNDLE.read_bytes()
    assert (shipped_kit / "graphs" / "merged.int8.pte").read_bytes() == bundle.read("graphs/merged.int8.pte")
    again = make_kit(bundle, shipped_kit.parent / "again", from_hz={"ecg": RATES_HZ})
    texts = list(shipped_kit.rglob("*.[ch]"))
    assert all(path.read_bytes() == (again.folder / path.relative_to(shipped_kit)).read_bytes() for path in texts)


def test_the_header_says_what_the_contract_says(shipped_kit, tmp_path):
    """Read back by a C compiler and, for projects of both languages, by a C++ one."""
    if COMPILER is None:
        pytest.skip("no C compiler here")
    source = """
#include <stdio.h>
#include "physio_contract.h"
int main(void) {
  const physio_sensor *s = &physio_sensors[0];
  printf("%s %s %d %d %d\\n", PHYSIO_TASK, PHYSIO_OUTPUT, PHYSIO_N_LABELS, PHYSIO_N_VALUES, PHYSIO_EMBEDDING_DIM);
  printf("%s %s %s %g %u %u %u %u %g %g\\n", s->name, s->input, s->units, s->fs_hz, s->channels, s->context_samples,
         s->window_samples, s->input_samples, s->low, s->high);
  printf("%d %d %d %.9g %.9g\\n", PHYSIO_TRIGGER_BEAT, PHYSIO_HOP_SAMPLES, PHYSIO_LOOKAHEAD_SAMPLES, PHYSIO_MIN_QUALITY,
         PHYSIO_MIN_PROBABILITY);
  for (int i = 0; i < PHYSIO_N_LABELS; ++i) printf("%s ", physio_labels[i]);
  printf("%s\\n", physio_channels[0]);
  for (int i = 0; i < PHYSIO_N_SLOTS; ++i)
    printf("%s %u %u %u %u %u\\n", physio_slots[i].name, physio_slots[i].axes, physio_slots[i].shape[0],
           physio_slots[i].shape[1], physio_slots[i].numbers, physio_slots[i].offset);
  return 0;
}
"""
    (tmp_path / "m.c").write_text(source)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-I", str(shipped_kit)]
    subprocess.run([COMPILER, *flags, str(tmp_path / "m.c"), "-o", str(tmp_path / "m")], check=True, timeout=60)
    lines = run(tmp_path / "m")[1].splitlines()
    contract = Bundle.open(SHIPPED_BUNDLE).contract
    s, t = contract.sensor, contract.trigger
    assert lines[0] == f"{contract.task} logits 3 0 {contract.embedding_dim}"
    assert lines[1] == f"ecg signal mV 125 1 {s.context_samples} {s.window_samples} {s.input_samples} -10 10"
    quality, probability = (
        np.float32(x) for x in (contract.thresholds.min_quality, contract.thresholds.min_probability)
    )
    assert lines[2] == f"1 {t.hop_samples} {t.lookahead_samples} {quality:.9g} {probability:.9g}"
    assert lines[3] == "N S V ecg/MLII"
    assert lines[4:] == [f"{slot.name} 2 8 128 1024 {1024 * i}" for i, slot in enumerate(contract.slots)]
    cpp = shutil.which("c++") or shutil.which("g++")
    if cpp is not None:
        (tmp_path / "m.cpp").write_text(source)
        checked = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", str(shipped_kit)]
        subprocess.run([cpp, *checked, str(tmp_path / "m.cpp")], check=True, timeout=60)


def test_the_sample_verifies_runs_and_agrees_with_executorch(shipped_kit, native_engine):
    needed()
    code, said = run(make(shipped_kit, ENGINE=native_engine), shipped_kit / "bundle.physio")
    assert code == 0 and said.endswith("all agree\n"), said
    lines = said.splitlines()
    bundle = Bundle.open(SHIPPED_BUNDLE)
    assert lines[0].startswith("verified     14 files") and lines[0].endswith(bundle.digest)
    assert lines[2] == "vectors      4 windows compiled in, equal to the bundle's"
    ran = re.findall(r"^executorch +(\S+?)( adapted)?: logits (\S+) \(limit (\S+)\), embedding \S+ .*ok$", said, re.M)
    assert [(name, bool(adapted)) for name, adapted, _, _ in ran] == [
        ("graphs/merged.int8.pte", False), ("graphs/slots.int8.pte", False), ("graphs/slots.int8.pte", True)
    ]  # fmt: skip
    assert all(float(found) <= float(limit) for _, _, found, limit in ran)
    assert len(re.findall(r"^resampler +ecg .* ok$", said, re.M)) == len(RATES_HZ) - 1
    assert said.count("not tried    graphs/") == 3  # the ONNX graphs


def test_the_sample_agrees_with_onnxruntime(shipped_kit, tmp_path):
    """Its C library comes with the Python package, its header does not."""
    needed()
    header = "onnxruntime_c_api.h"
    named = os.environ.get("PHYSIOEDGE_ORT_INCLUDE", "/usr/include/onnxruntime")
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"), None)
    if library is None or not (Path(named) / header).is_file():
        pytest.skip(f"no {header} here: PHYSIOEDGE_ORT_INCLUDE names its folder")
    (tmp_path / "lib").mkdir()
    (tmp_path / "include").symlink_to(named)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (tmp_path / "lib" / name).symlink_to(library)
    folder = shutil.copytree(shipped_kit, tmp_path / "kit", ignore=shutil.ignore_patterns("build"))
    code, said = run(make(folder, ORT=tmp_path), folder / "bundle.physio")
    assert code == 0, said
    assert len(re.findall(r"^onnxruntime +graphs/.* ok$", said, re.M)) == 4


@pytest.fixture(scope="module")
def tiny_kit(tmp_path_factory):
    """A kit of two sensors, values, no slots and step-free graphs, and its program."""
    needed()
    folder = tmp_path_factory.mktemp("pair")
    contract = tiny_pair(slots=())
    graphs = list(tiny_files(contract))
    bundle = _plain_bundle(folder / "p.physio", contract)
    assert "graphs/slots.fp32.onnx" in graphs and len(bundle.manifest.graphs) == 2
    make_kit(bundle, folder / "kit", trust=TRUST, from_hz={"acc": [50.0], "ppg": [100.0]}, windows=2)
    return make(folder / "kit"), folder / "p.physio"


def _plain_bundle(path, contract, seed=None):
    """A tiny bundle without slots."""
    from physioedge_export.pack import write_bundle
    from physioedge_runtime.bundle.tensors import read_tensors, write_tensors
    from tiny_bundle import tiny_graphs, tiny_parts

    files = {name: data for name, data in tiny_files(contract).items() if "slots" not in name}
    golden = read_tensors(files["golden.safetensors"])
    golden = {name: array for name, array in golden.items() if "slots" not in name and not name.startswith("adapter/")}
    if seed is not None:
        golden = {name: array + np.float32(seed) for name, array in golden.items()}
    files["golden.safetensors"] = write_tensors(golden)
    parts = tiny_parts(contract, graphs=tuple(graph for graph in tiny_graphs() if graph.adapters == "merged"))
    return write_bundle(path, parts=parts, files=files, signing_key=PRIVATE_KEY)


def test_several_sensors_values_and_no_slots(tiny_kit):
    program, bundle = tiny_kit
    code, said = run(program, bundle)
    assert code == 1 and "contract     the one compiled in: heart_rate" in said
    assert "vectors      2 windows compiled in, equal to the bundle's" in said
    assert "resampler    acc 50 to 32 Hz" in said and "resampler    ppg 100 to 64 Hz" in said
    assert said.count("  ok\n") == 2
    assert said.endswith("refused      no graph could be tried: build with an engine\nNOT to be used on this device\n")


def test_a_newer_bundle_of_the_same_contract_is_taken_and_of_another_one_is_not(tiny_kit, tmp_path):
    program, _ = tiny_kit
    _plain_bundle(tmp_path / "newer.physio", tiny_pair(slots=()), seed=1)
    assert (
        "vectors      of another bundle than those compiled in: the bundle's are used"
        in run(program, tmp_path / "newer.physio")[1]
    )
    _plain_bundle(tmp_path / "other.physio", tiny_pair(slots=(), embedding_dim=8, backbone_digest="1" * 64))
    code, said = run(program, tmp_path / "other.physio")
    assert code == 1 and "refused      a bundle for another contract than the one compiled in" in said


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.1, "1.0e-1f"), (-3.4028235e38, "-3.4028235e+38f"), (1e-45, "1.0e-45f"), (0.0, "0.0e+0f"), (8.0, "8.0e+0f")],
)
def test_numbers_read_back_as_the_same(value, expected):
    assert c_float(value) == expected
    assert np.float32(expected.removesuffix("f")) == np.float32(value)


def test_texts_numbers_and_arrays():
    assert c_text('ä "N"\\?\n7') == '"\\303\\244 \\042N\\042\\134\\077\\0127"'
    assert (c_double(125.0), c_double(1 / 3), c_double(1e-300)) == ("125.0", "0.3333333333333333", "1e-300")
    with pytest.raises(ValueError, match="no literal"):
        c_float(float("nan"))
    assert c_array("static const int x[]", []) == "static const int x[] = {\n    0};\n"
    if COMPILER is not None:
        body = c_array("static const float x[]", np.arange(1000, dtype=np.float32))
        assert all(len(line) < 120 for line in body.splitlines())
        check = "int main(void) { return x[999] == 999.0f && sizeof x == 4000 ? 0 : 1; }"
        assert compiles(body + check)


def test_what_cannot_be_made_is_told(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "t.physio", contract=tiny_contract())
    with pytest.raises(ExportError, match="a bundle whose signing key is not known"):
        make_kit(bundle, tmp_path / "kit", trust=f"sha256:{bundle.digest}")
    with pytest.raises(UnknownSensor):
        make_kit(bundle, tmp_path / "kit", trust=TRUST, from_hz={"ppg": [64.0]})
    with pytest.raises(SampleRateMismatch):
        make_kit(bundle, tmp_path / "kit", trust=TRUST, from_hz={"ecg": [127.33331]})
    with pytest.raises(ExportError, match="taps for 3999 to 125 Hz"):
        make_kit(bundle, tmp_path / "kit", trust=TRUST, from_hz={"ecg": [3999.0]})
    assert not (tmp_path / "kit").exists()  # nothing is begun that cannot be finished
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    with pytest.raises(ExportError, match="holds other things"):
        make_kit(bundle, tmp_path / "full", trust=TRUST)


def test_the_command(tmp_path, capsys):
    assert main(["firmware", "shipped", "--out", str(tmp_path / "kit"), "--from-hz", "ecg=360"]) == 0
    assert "5 graphs, ecg 360 to 125 Hz" in capsys.readouterr().out
    assert main(["firmware", "shipped", "--out", str(tmp_path / "kit"), "--json"]) == 0
    assert '"resamplers": []' in capsys.readouterr().out
    assert main(["firmware", "shipped", "--out", str(tmp_path / "kit"), "--from-hz", "360"]) == 2
    assert "'360' is not SENSOR=HZ" in capsys.readouterr().err
    assert main(["firmware", str(tmp_path / "none.physio"), "--out", str(tmp_path / "kit")]) == 1


def test_the_package_carries_the_sources():
    folder = Path(sys.modules["physioedge_export.firmware.making"].__file__).parent / "kit"
    names = {path.name for path in folder.iterdir()}
    assert {"Makefile", "main.c", "bundle.c", "json.c", "sha256.c", "signature.c", "tensors.c", "resampler.c"} <= names
