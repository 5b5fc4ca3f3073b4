"""Bundles as older versions wrote them, opened and used: tests/bundle/golden/README.md."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physioedge_runtime.bundle.archive import MANIFEST, read_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import ROWS_SCHEMA_VERSION
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.verification import verify_bundle
from physioedge_runtime.stream import Stream
from synthetic_ecg import synthetic_ecg
from tiny_bundle import PRIVATE_KEY, SLOT, tiny_contract, tiny_outputs, write_tiny_bundle

FOLDER = Path(__file__).parent / "golden"
TRUST = public_key(PRIVATE_KEY)
SHA256 = {
    "schema1.physio": "34d4b4c66a7d07ebf89d88cb743b300c1f54da4973ef1303b1098eb1ba8f5e01",
    "schema2.physio": "ddc45908d2ee3fe0a9120dee8659bb2a790f13cfed9de92027da6ca094f744e5",
    "schema3.physio": "f30bff97ae90ac57221f1037992a578c0cea85d6ee381c75c47d5cf244d73b99",
    "schema4.physio": "45bebddf2f25741318cb6f6bdf50d0b644f6ec80e54fae1b75c657e09ef38750",
}
VALUES_OF_SCHEMA_3 = [[72.264832, 17.603796], [64.100121, 17.647259]]
"""Heart rate and breaths of its golden windows, as torch computed them."""
LOGITS_OF_SCHEMA_4 = [[1.3961, -0.8201, -0.5760], [1.0693, -0.4121, -0.6572]]
"""Of its golden windows, as torch computed them."""


def golden(name: str) -> Bundle:
    return Bundle.open(FOLDER / name, trust=TRUST)


def results_of(bundle: Bundle, signals: dict[str, Any], **how: Any) -> list[Any]:
    rates, units = ({s.name: getattr(s, key) for s in bundle.contract.sensors} for key in ("fs_hz", "units"))
    if len(rates) == 1:
        (name,) = rates
        with Stream(bundle, fs_hz=rates[name], units=units[name], **how) as stream:
            return [*stream.push(signals[name]), *stream.flush()]
    with Stream(bundle, fs_hz=rates, units=units, **how) as stream:
        out = [result for name, samples in signals.items() for result in stream.push(samples, sensor=name)]
        return [*out, *stream.flush()]


def wrist(seconds: int = 20) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    t = np.arange(seconds * 64) / 64.0
    pulse = np.stack([np.sin(2 * np.pi * 1.2 * t), 0.7 * np.sin(2 * np.pi * 1.2 * t)])
    move = 0.2 * np.sin(2 * np.pi * np.outer([0.5, 0.8, 1.1], t[::2])) + [[0.0], [0.0], [1.0]]
    return {
        "acc": (move + 0.01 * rng.standard_normal(move.shape)).astype(np.float32),
        "ppg": (pulse + 0.02 * rng.standard_normal(pulse.shape)).astype(np.float32),
    }


def test_every_schema_has_a_bundle_and_none_was_made_again():
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.physio")}
    assert found == SHA256
    assert {f"schema{n}.physio" for n in range(1, ROWS_SCHEMA_VERSION + 1)} <= set(found)


@pytest.mark.parametrize("name", SHA256)
def test_it_was_written_in_its_own_schema_and_every_graph_holds(name):
    manifest = bytes(read_archive((FOLDER / name).read_bytes())[MANIFEST].data)
    number = name.removeprefix("schema").removesuffix(".physio").encode()
    contract = manifest[manifest.index(b'"contract":') :]
    assert b'"schema_version":' + number in contract[: contract.index(b'"files":')]
    checks = verify_bundle(FOLDER / name, TRUST)
    assert [check for check in checks if check.state != "ok"] == []
    graphs = [check.name for check in checks if check.name.startswith("golden ")]
    assert len(graphs) == len(golden(name).manifest.graphs) >= 2


@pytest.mark.parametrize("name", ["schema1.physio", "schema2.physio"])
def test_its_graphs_give_what_numpy_gives(name):
    bundle = golden(name)
    arrays = bundle.golden()
    signals = [arrays[key] for key in bundle.contract.input_shapes]
    merged, slots = load_engine(bundle), load_engine(bundle, precision="fp32", adapters="slots")
    adapter = {SLOT: arrays[f"adapter/{SLOT}"]}
    for i in range(len(signals[0])):
        window = tuple(signal[i : i + 1] for signal in signals)
        for engine, given in ((merged, None), (slots, None), (slots, adapter)):
            first, embedding = engine.run(window if len(window) > 1 else window[0], given)
            expected = tiny_outputs(bundle.contract, window, None if given is None else given[SLOT])
            np.testing.assert_allclose(first, expected[bundle.contract.output_name], atol=1e-4)
            np.testing.assert_allclose(embedding, expected["embedding"], atol=1e-4)


def test_schema_1_streams_as_the_same_model_of_today(tmp_path):
    assert golden("schema1.physio").contract == tiny_contract()
    ecg = {"ecg": synthetic_ecg(125.0, 30.0)[0]}
    old = results_of(golden("schema1.physio"), ecg)
    assert len(old) > 20 and sum(result.judged for result in old) > 20
    assert old == results_of(write_tiny_bundle(tmp_path / "new.physio"), ecg)


def test_schema_2_streams_two_sensors_to_two_values():
    signals = wrist()
    results = results_of(golden("schema2.physio"), {"acc": signals["acc"], "ppg": signals["ppg"][:1]})
    judged = [result for result in results if result.judged]
    assert len(judged) > 10 and all(len(result.values) == 2 for result in judged)


def test_schema_3_gives_what_torch_gave_and_steps_follow_windows():
    bundle = golden("schema3.physio")
    arrays = bundle.golden()
    for mode in ("window", "step"):
        engine = load_engine(bundle, precision="fp32", mode=mode)
        for i, expected in enumerate(VALUES_OF_SCHEMA_3):
            window = tuple(arrays[key][i : i + 1] for key in bundle.contract.input_shapes)
            np.testing.assert_allclose(engine.run(window)[0][0], expected, rtol=1e-4)
    steps, windows = (
        [r for r in results_of(bundle, wrist(), precision="fp32", mode=mode) if r.judged] for mode in ("step", "window")
    )
    assert len(steps) == len(windows) > 10
    np.testing.assert_allclose(steps[0].values, windows[0].values, rtol=1e-3)


def test_schema_4_gives_what_torch_gave_and_steps_in_rows_follow_windows():
    bundle = golden("schema4.physio")
    assert bundle.contract.step is not None and bundle.contract.step.layout == "rows"
    signal = bundle.golden()["signal"]
    for mode in ("window", "step"):
        engine = load_engine(bundle, precision="fp32", mode=mode)
        for i, expected in enumerate(LOGITS_OF_SCHEMA_4):
            np.testing.assert_allclose(engine.run(signal[i : i + 1])[0][0], expected, atol=2e-4)
    ecg = {"ecg": synthetic_ecg(125.0, 30.0)[0]}
    steps, windows = (
        [r for r in results_of(bundle, ecg, precision="fp32", mode=mode) if r.judged] for mode in ("step", "window")
    )
    assert len(steps) == len(windows) > 10
    np.testing.assert_allclose(steps[0].probabilities, windows[0].probabilities, atol=1e-3)
