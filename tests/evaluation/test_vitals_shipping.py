"""Estimators and forecasters go from a fit to a signed bundle by commands, and stream with intervals and units."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from physioedge.adapters.estimating import EstimateFit
from physioedge.adapters.forecasting import ForecastFit
from physioedge.adapters.vital_files import NOTE_FILE, WEIGHTS_FILE, load_vital, save_vital
from physioedge.cli.main import main
from physioedge.evaluation.vitals.estimate_data import EstimateData
from physioedge.evaluation.vitals.shipping import fitted_estimate, fitted_forecast
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge.models.config import TINY
from physioedge.models.estimator import Estimator
from physioedge.models.forecaster import CONTEXT_STEPS, STEP_S, Forecaster, forecaster_on, save_forecaster
from physioedge.models.layout import Layout, SensorLayout
from physioedge.pretraining.vitals import SPAN
from physioedge.tasks import ecg_rate
from physioedge.tasks.windowed import CANONICAL_HZ
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.bundle.signing import make_keys, public_key, read_private_key
from physioedge_runtime.errors import AdapterError, DatasetError
from windows_made_up import length_of, windows_of

SMALL = replace(TINY, d_model=32, n_heads=2, n_layers=2)
ECG = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=4),))
SERIES = "heart_rate_wrist"
SEEN = Provenance(training_subjects=("mitbih:101",), datasets=("mitbih",), objective="none",
                  details={"backbone": "0" * 64, "fit": {"steps": 1, "batch": 1}})  # fmt: skip


def walks(n: int, steps: int, seed: int) -> np.ndarray:
    return (75 + 0.8 * np.cumsum(np.random.default_rng(seed).standard_normal((n, steps)), axis=1)).astype(np.float32)


def estimate_data() -> EstimateData:
    """Eight people to fit on and two to judge; a rate that the signal tells."""
    rng, fs_hz = np.random.default_rng(0), CANONICAL_HZ["ecg"]
    rate = rng.uniform(50, 110, 60).astype(np.float32)
    t = np.arange(length_of(ecg_rate.TASK, "ecg")) / fs_hz
    x = np.sin(2 * np.pi * rate[:, None] / 60 * t + rng.uniform(0, 6, (60, 1)))[:, None] ** 9
    x = x + 0.05 * rng.standard_normal(x.shape)
    person = np.repeat(np.arange(10), 6)
    windows = windows_of(ecg_rate.TASK, rate[:, None], [f"mitbih:{one}" for one in person], samples={"ecg": x},
                         fold=np.where(person < 8, -1, 0))  # fmt: skip
    return EstimateData(windows=windows, facts=rng.standard_normal((60, 4)).astype(np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of both kinds, a packed series, windows of an export, and a key."""
    root = tmp_path_factory.mktemp("vitals")
    torch.manual_seed(0)
    backbone = Backbone(SMALL, ECG)
    save_backbone(root / "backbone.safetensors", backbone, SEEN)
    save_forecaster(root / "base.safetensors", forecaster_on(backbone), SEEN)
    tracks = walks(8, 2 * SPAN, 1)
    people = np.array([f"stress_predict:{i}" for i in range(8)])
    (root / "forecast").mkdir()
    np.savez(root / "forecast" / "series.npz", **{
        f"{SERIES}/values": tracks.reshape(-1), f"{SERIES}/length": np.full(8, 2 * SPAN),
        f"{SERIES}/judged": np.arange(8) >= 6, f"{SERIES}/subject": people, f"{SERIES}/record": people,
    })  # fmt: skip
    np.savez(root / "contexts.npz", signal=walks(16, CONTEXT_STEPS, 2)[:, None])
    make_keys(root / "keys")
    return root


def key_of(folder: Path) -> Path:
    return folder / "keys" / "private.pem"


def exported(folder: Path, vital: Path, out: Path, *more: str) -> int:
    options = ["--key", str(key_of(folder)), "--out", str(out), "--precision", "fp32", "--fallback", ""]
    return main(["export", "--vital", str(vital), *options, *more])


def test_a_forecast_goes_from_its_fit_to_a_stream(folder: Path, tmp_path: Path, capsys: Any) -> None:
    vital = folder / "forecast"
    asked = ["--series", SERIES, "--base", str(folder / "base.safetensors"), "--method", "fourierft", "--steps", "3"]
    assert main(["train", "forecast", *asked, "--out", str(vital)]) == 0
    network, note = load_vital(vital)
    assert isinstance(network, Forecaster) and bool((network.widen != 0).all())
    assert len(note.training_subjects) == 6 and note.fit["kept_for_intervals"] == [
        "stress_predict:0", "stress_predict:4"
    ]  # fmt: skip
    bundle = tmp_path / "one.physio"
    assert exported(folder, vital, bundle, "--windows", str(folder / "contexts.npz")) == 0
    assert exported(folder, vital, tmp_path / "no.physio", "--age", "60") == 2
    capsys.readouterr()
    trust = public_key(read_private_key(key_of(folder)))
    opened = Bundle.open(bundle, trust=trust)
    assert main(["verify", str(bundle), "--trust", str(folder / "keys" / "public.pem")]) == 0
    assert {value.units for value in opened.contract.values} == {"bpm"} and len(opened.contract.values) == 9
    card = opened.read(opened.manifest.model_card).decode()
    assert "median forecast 60 s ahead" in card and "fourierft" in card
    series = walks(1, CONTEXT_STEPS + 3, 5)
    with Stream(opened, fs_hz=1 / STEP_S, units="bpm", precision="fp32") as stream:
        told = [result for result in stream.push(series) + stream.flush() if result.values]
    assert len(told) == 4
    with torch.no_grad():
        expected = network(torch.from_numpy(series[None, :, -CONTEXT_STEPS:]))[0][0]
    torch.testing.assert_close(torch.tensor(told[-1].values), expected, atol=1e-2, rtol=0)


@pytest.mark.parametrize("method", ["lora", "probe"])
def test_an_estimate_goes_from_its_fit_to_a_stream(method: str, folder: Path, tmp_path: Path) -> None:
    data = estimate_data()
    made = fitted_estimate("ecg_rate", data, folder / "backbone.safetensors", method, EstimateFit(steps=2, batch=8),
                           seed=0, facts=True)  # fmt: skip
    save_vital(tmp_path / "vital", *made)
    network, note = load_vital(tmp_path / "vital")
    assert isinstance(network, Estimator) and network.half_width[0] > 0 and note.n_facts == 4
    assert len(note.training_subjects) == 8 and len(note.fit["kept_for_intervals"]) == 2  # nobody who is judged
    length = note.layout.input_shapes(note.config)[0][1]
    windows = data.windows.samples["ecg"][:, :, -length:]
    np.savez(tmp_path / "windows.npz", signal=windows[:16])
    bundle = tmp_path / "one.physio"
    more = ("--windows", str(tmp_path / "windows.npz"), "--age", "70", "--sex", "F")
    assert exported(folder, tmp_path / "vital", bundle, *more) == 0
    opened = Bundle.open(bundle, trust=public_key(read_private_key(key_of(folder))))
    assert [(v.name, v.units) for v in opened.contract.values] == [
        (name, "bpm") for name in ("heart_rate", "heart_rate_low", "heart_rate_high")
    ]
    signal = np.concatenate(list(data.windows.samples["ecg"][:2]), axis=1)[:, -1500:]
    with Stream(opened, fs_hz=CANONICAL_HZ["ecg"], units="mV", precision="fp32") as stream:
        told = [result for result in stream.push(signal) + stream.flush() if result.values]
    network.facts.copy_(torch.tensor([2.0, 1.0, -1.0, 1.0]))  # twenty years above fifty, known; a woman, known
    with torch.no_grad():
        expected = network(torch.from_numpy(signal[None, :, -length:]))[0][0]
    torch.testing.assert_close(torch.tensor(told[-1].values), expected, atol=2e-2, rtol=0)
    value, low, high = told[-1].values
    assert high - value == pytest.approx(value - low, abs=1e-2)
    assert high - low == pytest.approx(2 * float(network.half_width[0]), abs=1e-2)


def test_what_is_saved_is_what_was_fitted(folder: Path, tmp_path: Path) -> None:
    from physioedge.evaluation.vitals.forecast_data import load

    data = load(folder / "forecast" / "series.npz", SERIES)
    config = ForecastFit(steps=2, batch=4)
    network, note = fitted_forecast(data, folder / "base.safetensors", "lora", config, seed=1)
    save_vital(tmp_path / "one", network, note)
    again, said = load_vital(tmp_path / "one")
    x = torch.from_numpy(walks(3, CONTEXT_STEPS, 7)[:, None])
    with torch.no_grad():
        torch.testing.assert_close(again(x)[0], network(x)[0], atol=1e-4, rtol=0)
    assert said == replace(note, fit=json.loads(json.dumps(note.fit)), seen=json.loads(json.dumps(note.seen)))


def test_what_is_damaged_or_not_known_is_refused(folder: Path, tmp_path: Path) -> None:
    data = estimate_data()
    nobody = replace(data, facts=np.zeros((60, 0), np.float32))
    with pytest.raises(DatasetError, match="facts"):
        fitted_estimate("ecg_rate", nobody, folder / "backbone.safetensors", "lora", EstimateFit(), seed=0, facts=True)
    (tmp_path / NOTE_FILE).write_text("{}")
    (tmp_path / WEIGHTS_FILE).write_bytes(b"none")
    with pytest.raises(AdapterError, match="train vitals"):
        load_vital(tmp_path)
    assert main(["train", "vitals", "--task", "weight", "--out", str(tmp_path / "w")]) != 0
