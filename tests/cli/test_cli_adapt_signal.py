"""``physioedge adapt`` and the signal it is given: why windows are few, another unit, other names, made sensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli_adapt import ORIGIN, PLAN, generator

from made_up_person import FS_HZ, bundle_here, levelling_here
from physioedge.cli import adapt, view
from physioedge.cli.main import main
from synthetic_ecg import synthetic_ecg
from tiny_bundle import tiny_contract, tiny_files, write_keys, write_tiny_bundle
from wfdb_writer import write_record

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_keys(folder)
    samples, _ = synthetic_ecg(FS_HZ, 40.0)
    good = int(8 * FS_HZ)
    kinds = {
        "person": (samples, "mV", "MLII"), "uv": (1000 * samples, "uV", "MLII"), "other": (samples, "mV", "ECG"),
        "uv_as_mv": (1000 * samples, "mV", "MLII"), "flat": (0 * samples, "mV", "MLII"),
        "soon": (np.hstack([samples[:, :good], 1000 * samples[:, good:]]), "mV", "MLII"),
    }  # fmt: skip
    for name, (kept, units, channel) in kinds.items():
        np.savez(folder / f"{name}.npz", samples=kept.astype(np.float32), fs_hz=FS_HZ, units=units, channels=[channel])
    signals = [("II", "mV", 2000.0, samples[0].astype(np.float64)), ("RESP", "NU", 2000.0, samples[0] * 0.1)]
    write_record(folder / "two", signals, FS_HZ)
    bundle_here(folder / "tiny.physio", {**levelling_here(), "change-plan.json": PLAN.to_bytes()})
    beats = tiny_contract()
    write_tiny_bundle(folder / "beats.physio", contract=beats, files={**tiny_files(beats), **levelling_here()})
    generator(folder / "alike.generator", np.zeros(ORIGIN.width))
    return folder


@pytest.fixture
def adapts(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(record: str, *words: Any, bundle: str = "tiny") -> tuple[int, str, str]:
        keys = ["--trust", str(files / "public.pem"), "--bundle", str(files / f"{bundle}.physio")]
        more = ["--precision", "fp32", "--seconds", "12", "--store", str(tmp_path / "store")]
        code = main(["adapt", str(files / record), *keys, *more, *map(str, words)])
        return code, *capsys.readouterr()

    return call


def ways(files: Path) -> dict[str, list[Any]]:
    local = ["--local", files / "alike.generator", "--key", files / "private.pem", "--json"]
    return {"level": ["--level", "--json"], "local": local, "preview": ["--preview"]}


@pytest.mark.parametrize("way", ["level", "local", "preview"])
def test_where_all_is_withheld_more_signal_is_not_the_advice(adapts: Command, files: Path, way: str) -> None:
    """Microvolts that were said to be millivolts: every window is out of range, for ever."""
    code, out, err = adapts("uv_as_mv.npz", *ways(files)[way])
    said = err if way == "preview" else json.loads(out)["reason"]
    assert code == 1 and " 0 windows, with 58 of 58 windows withheld so far (out_of_range 58, low_quality 58" in said
    assert "expected at least 30. More of such a signal does not help: check --units" in said
    assert "`physioedge run`" in said and "Stream more" not in said


def test_a_good_signal_that_is_short_needs_more_of_it(adapts: Command, files: Path) -> None:
    for way in ("level", "local"):
        said = json.loads(adapts("person.npz", *ways(files)[way], "--seconds", 4)[1])["reason"]
        assert "Stream more of the person" in said and "withheld" not in said


def test_too_few_to_judge_a_trial_by_are_explained_too(adapts: Command, files: Path) -> None:
    """There are enough windows for a condition, not for the guard, and after 8 s none is judged any more."""
    told = json.loads(adapts("soon.npz", *ways(files)["local"], "--seconds", 30)[1])
    assert told["step"] == "not asked" and "a trial after 3" in told["reason"]
    assert "windows withheld so far (out_of_range" in told["reason"] and "Stream more" not in told["reason"]


def test_a_signal_without_one_beat_is_told(adapts: Command) -> None:
    """Of a bundle that judges beats, a flat line gives no window at all: there is nothing to withhold."""
    said = json.loads(adapts("flat.npz", "--level", "--json", "--seconds", 35, bundle="beats")[1])["reason"]
    assert "a median over 0 windows, with no beat found in 35 s of signal; expected" in said and "--units" in said
    said = json.loads(adapts("flat.npz", "--level", "--json", "--seconds", 20, bundle="beats")[1])["reason"]
    assert "Stream more of the person" in said


def test_units_are_converted_where_that_is_asked_for(adapts: Command) -> None:
    code, _, err = adapts("uv.npz", "--level")
    assert code == 1 and "error[unit]" in err and "--convert-units" in err
    told, plain = (
        json.loads(adapts(*words, "--level", "--json")[1]) for words in (("uv.npz", "--convert-units"), ("person.npz",))
    )
    assert told["step"] == "levelled" and told["bias"] == pytest.approx(plain["bias"], abs=1e-3)
    assert told["changed"] == plain["changed"] and told["signal_s"] == plain["signal_s"] == 40.0


def test_a_channel_of_another_name_is_renamed(adapts: Command) -> None:
    assert "error[channels]" in adapts("other.npz", "--level")[2]
    code, out, _ = adapts("other.npz", "--level", "--json", "--channel", "MLII=ECG")
    assert code == 0 and json.loads(out)["step"] == "levelled"


def test_a_sensor_is_made_of_channels(adapts: Command) -> None:
    assert "error[" in adapts("two.hea", "--level")[2]
    code, out, err = adapts("two.hea", "--level", "--json", "--sensor", "ecg=MLII=II")
    assert code == 0 and json.loads(out)["step"] == "levelled", err


def test_an_example_that_asks_a_host_says_who_signs() -> None:
    for module in (adapt, view):
        examples = module._EPILOG.split("  physioedge ")
        assert all("--adapter-trust host-public.pem" in one for one in examples if "--host " in one)
        assert any("--host " in one for one in examples)
