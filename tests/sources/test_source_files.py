"""Files and folders as sensors of a bundle, and names that differ."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avro_writer import session
from avro_writer import write as write_avro
from edf_writer import discontinuous
from edf_writer import write as write_edf
from physioedge.signals.recording import Recording
from physioedge.sources.files import file_tracks, held_sensors
from physioedge.sources.fitting import FittedSource, factor
from physioedge.sources.opening import GROUP, is_live, open_live
from physioedge.sources.protocol import Told
from physioedge.sources.recorded import RecordedSource
from physioedge_runtime.errors import DatasetError, RecordError, SignalError, SourceError, UnitMismatch, UnknownSensor
from tiny_bundle import tiny_sensor

E4 = {"BVP": ("64", 1), "ACC": ("32", 3), "EDA": ("4", 1), "TEMP": ("4", 1)}


def write_e4(folder):
    folder.mkdir()
    for name, (fs_hz, n) in E4.items():
        rows = ["1700000000", fs_hz, *["32"] * (10 * int(fs_hz))]
        (folder / f"{name}.csv").write_text("\n".join(",".join([row] * n) for row in rows))
    return folder


def test_an_e4_folder(tmp_path):
    folder = write_e4(tmp_path / "walk")
    assert held_sensors(folder) == ("ppg", "acc", "eda", "temp")
    tracks = file_tracks(folder, ["ppg", "acc"], Told())
    assert [(t[0].fs_hz, t[0].units, t[0].t0_s, t[0].name) for t in tracks.values()] == [
        (64.0, "a.u.", 1.7e9, "walk"), (32.0, "g", 1.7e9, "walk")
    ]  # fmt: skip
    assert tracks["acc"][0].samples[0, 0] == 0.5
    with pytest.raises(UnknownSensor, match="without sensor 'ecg'; expected ecg; it holds ppg, acc, eda, temp"):
        file_tracks(folder, ["ecg"], Told())
    with pytest.raises(SignalError, match="holds several sensors"):
        file_tracks(folder, ["ppg"], Told(fs_hz=64))
    (folder / "EDA.csv").write_text("1700000000\nx\n")
    with pytest.raises(DatasetError, match=r"EDA\.csv"):
        file_tracks(folder, ["ppg"], Told())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_damaged_e4_folders(tmp_path, data):
    """One of our errors or numbers, whatever a file of the folder holds."""
    folder = tmp_path / "walk"
    if not folder.exists():
        write_e4(folder)
    name = data.draw(st.sampled_from(sorted(E4)))
    whole = (folder / f"{name}.csv").read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 40))] = data.draw(st.sampled_from(list(b"0,.-e\nx\xff ")))
    (folder / f"{name}.csv").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(DatasetError):
        tracks = file_tracks(folder, ["ppg", "acc", "eda", "temp"], Told())
        assert all(np.isfinite(track[0].samples).all() for track in tracks.values())
    (folder / f"{name}.csv").write_bytes(whole)


def test_an_avro_file(tmp_path):
    path = write_avro(tmp_path / "a.avro", session())
    assert held_sensors(path) == ("ppg", "acc", "eda", "temp")
    assert file_tracks(path, ["acc"], Told())["acc"][0].fs_hz == 64.0


def test_sensors_made_of_signals_of_several_rates(tmp_path):
    path = discontinuous(write_edf(tmp_path / "n.edf"), late_s=30)
    told = Told(sensors={"ecg": ("V5", "ECG"), "resp": ("Resp",)})
    with pytest.raises(UnitMismatch, match="no unit"):
        file_tracks(path, ["ecg", "resp"], told)
    found = file_tracks(path, ["ecg"], Told(sensors={"ecg": ("V5", "ECG")}))["ecg"]
    assert [(piece.t0_s, piece.duration_s, piece.channels) for piece in found] == [
        (0.0, 6.0, ("V5", "ECG")), (36.0, 6.0, ("V5", "ECG"))
    ]  # fmt: skip
    source = RecordedSource({"ecg": found})
    assert source.sensors["ecg"].describe().endswith("12.0 s (3000 samples), subject P07, 1 gap of 30.0 s in all")


def test_one_recording_for_several_sensors(tmp_path):
    path = write_edf(tmp_path / "n.edf")
    with pytest.raises(RecordError, match="one recording; expected a file with the sensors ecg, acc"):
        file_tracks(path, ["ecg", "acc"], Told())


def source_of(units="uV", channels=("ecg", "V1")):
    samples = np.arange(600, dtype=np.float32).reshape(2, 300) + np.float32(1000)
    held = Recording(samples=samples, fs_hz=125.0, units=units, channels=channels, name="r", subject="s")
    return RecordedSource({"ecg": (held,)})


def test_names_and_units_change_only_as_told():
    wanted = (tiny_sensor(),)
    fitted = FittedSource(source_of(), wanted, renamed={"ecg": "MLII"}, convert_units=True)
    assert fitted.sensors["ecg"].describe().startswith("r: MLII [mV] at 125 Hz")
    samples = np.concatenate([c.samples for c in fitted.chunks()], axis=1)
    np.testing.assert_array_equal(samples, (np.arange(1000, 1300) / 1000).astype(np.float32)[None])
    plain = FittedSource(source_of(), wanted, renamed={}, convert_units=False)
    assert plain.sensors == source_of().sensors
    with pytest.raises(UnitMismatch, match="r: g, to be converted; expected a unit of the kind of mV"):
        FittedSource(source_of("g"), wanted, renamed={}, convert_units=True)


@pytest.mark.parametrize(
    ("units", "wanted", "expected"),
    [("uV", "mV", 1e-3), ("V", "mV", 1e3), ("mg", "g", 1e-3), ("m/s2", "g", 1 / 9.80665), ("ms", "s", 1e-3),
     ("a.u.", "a.u.", 1.0), ("a.u.", "mV", None), ("g", "mV", None)],
)  # fmt: skip
def test_factors(units, wanted, expected):
    assert factor(units, wanted) == (None if expected is None else pytest.approx(expected))


def test_names_of_sources(tmp_path, monkeypatch):
    assert is_live("lsl:ECG") and is_live("brainflow:synthetic") and is_live("ble:heart-rate")
    assert not is_live("night.edf") and not is_live("C:\\night.edf") and not is_live("odd:name.csv")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lsl:ECG").write_text("a file of that name is a file")
    assert not is_live("lsl:ECG")
    for name, words in (
        ("ble:toaster", "expected ble:heart-rate or ble:polar-h10"),
        ("lsl:ECG?x=1", "lsl with x; expected no such parameters"),
        ("ble:heart-rate?x=1", "no such parameters"),
        ("tin:can", "expected a path or one of lsl:, brainflow:, ble:"),
    ):
        with pytest.raises(SourceError, match=words):
            open_live(name, [tiny_sensor()], Told())


def test_sources_of_other_packages(monkeypatch):
    class Point:
        name = "tin"

        @staticmethod
        def load():
            return lambda address, params, wanted, told: (address, params, told)

    monkeypatch.setattr("physioedge.sources.opening.entry_points", lambda group: [Point] if group == GROUP else [])
    assert is_live("tin:can")
    assert open_live("tin://can?a=1", [tiny_sensor()], Told()) == ("can", {"a": "1"}, Told())
