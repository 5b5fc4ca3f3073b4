"""BIDMC in its original forms, WFDB and CSV; records that are one person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dataset_here import root_of
from physioedge.datasets.original import bidmc
from physioedge_runtime.errors import DatasetError
from wfdb_writer import write_marks, write_record

COUNT, SECONDS = 1001, 9  # 8 s and both ends, as the source's 60,001 samples and 481 values are 480 s
WAVES = {"RESP": "pm", "PLETH": "NU", "V": "mV", "AVR": "mV", "II": "mV"}
NUMERICS = {"HR": "bpm", "PULSE": "bpm", "RESP": "pm", "SpO2": "%"}
BREATHS = {"ann1": [189, 476, 737], "ann2": [187, 480]}


def waves() -> dict[str, NDArray[np.float64]]:
    t = np.arange(COUNT) / 125
    return {name: np.round(0.5 + 0.4 * np.sin(t * (i + 1)), 4) for i, name in enumerate(WAVES)}


def numerics() -> dict[str, NDArray[np.float64]]:
    found = {name: np.arange(SECONDS) + 60.0 + 10 * i for i, name in enumerate(NUMERICS)}
    found["PULSE"][3] = np.nan
    return found


def write_wfdb(root: Path, record: str = "01", *, fs_hz: float = 125, abp_unit: str = "", leave_out: str = "") -> None:
    """As the authors wrote them: descriptions end with a comma, breaths of the second annotator follow the first's."""
    folder = root / bidmc.NAME
    folder.mkdir(exist_ok=True)
    said = ["<age>: 83 <sex>: F <location>: micu <source>: mimic2wdb/matched/s01182/"]
    signals = [(f"{name}, ", WAVES[name], 2000.0, v) for name, v in waves().items() if name != leave_out]
    if abp_unit:
        signals.append(("ABP, ", abp_unit, 100.0, np.full(COUNT, 85.0)))
    write_record(folder / f"bidmc{record}", signals, fs_hz, said)
    write_record(folder / f"bidmc{record}n", [(f"{k}, ", NUMERICS[k], 10.0, v) for k, v in numerics().items()], 1, said)
    marks = [(sample, 22, name) for name, samples in BREATHS.items() for sample in samples]
    write_marks(folder / f"bidmc{record}.breath", marks)


def write_csv(
    root: Path, record: str = "01", *, fs_hz: float = 125, leave_out: str = "", inner: str = "bidmc_csv"
) -> None:
    """As the authors wrote them: five digits, a blank behind each comma of the names, NaN below the shorter list."""
    folder = root / bidmc.NAME / inner
    folder.mkdir(parents=True, exist_ok=True)

    def write(kind: str, names: list[str], table: list[NDArray[np.float64]]) -> None:
        rows = [",".join("NaN" if np.isnan(x) else f"{x:.5g}" for x in row) for row in zip(*table, strict=True)]
        (folder / f"bidmc_{record}_{kind}.csv").write_text("\n".join([", ".join(names), *rows]) + "\n")

    kept = {name: values for name, values in waves().items() if name != leave_out}
    write("Signals", ["Time [s]", *kept], [np.arange(COUNT) / fs_hz, *kept.values()])
    write("Numerics", ["Time [s]", *NUMERICS], [np.arange(SECONDS, dtype=float), *numerics().values()])
    longest = max(len(samples) for samples in BREATHS.values())
    marked = [np.array([*samples, *[np.nan] * (longest - len(samples))]) for samples in BREATHS.values()]
    write("Breaths", [f"breaths {name} [signal sample no]" for name in BREATHS], marked)


@pytest.mark.parametrize("write", [write_wfdb, write_csv])
def test_waveforms_with_their_units(tmp_path, write):
    write(tmp_path)
    session = bidmc.load("01", tmp_path)
    assert session.subject == "bidmc:01"
    found = {k: (r.fs_hz, r.units, r.channels) for k, r in session.recordings.items()}
    assert found == {
        "ppg": (125.0, "a.u.", ("PLETH",)),
        "resp": (125.0, "a.u.", ("RESP",)),
        "ecg": (125.0, "a.u.", ("II", "V", "AVR")),
    }
    for recording in session.recordings.values():
        for channel, row in zip(recording.channels, recording.samples, strict=True):
            np.testing.assert_allclose(row, waves()[channel], atol=3e-4)


@pytest.mark.parametrize("write", [write_wfdb, write_csv])
def test_breaths_of_both_annotators_in_order(tmp_path, write):
    write(tmp_path)
    breaths = bidmc.load("01", tmp_path).recordings["resp"].annotations
    assert breaths.sample.tolist() == [187, 189, 476, 480, 737]
    assert breaths.note == ("ann2", "ann1", "ann1", "ann2", "ann1")


@pytest.mark.parametrize("write", [write_wfdb, write_csv])
def test_values_of_the_monitor(tmp_path, write):
    write(tmp_path)
    rates = bidmc.labels("01", tmp_path)
    assert rates.columns == ("HR", "PULSE", "RESP") and rates.units == "1/min"
    assert rates.start_s.tolist() == list(range(SECONDS)) and rates.value.dtype == np.float32
    np.testing.assert_allclose(rates.value, np.stack([numerics()[k] for k in rates.columns], axis=1))
    assert np.isnan(rates.value[3, 1])  # missing stays missing
    saturation = bidmc.saturation("01", tmp_path)
    np.testing.assert_allclose(saturation.value, numerics()["SpO2"])
    assert (saturation.columns, saturation.units) == (("SpO2",), "%")


def test_files_may_lie_beside_each_other(tmp_path):
    write_csv(tmp_path, "02", inner="")
    write_wfdb(tmp_path, "10")
    assert bidmc.records(tmp_path) == ("02", "10") and bidmc.subjects(tmp_path) == ("bidmc:02", "bidmc:10")
    assert bidmc.load("02", tmp_path).recordings["resp"].annotations is not None


def test_blood_pressure_where_there_is_one(tmp_path):
    write_wfdb(tmp_path, abp_unit="mmHg")
    pressure = bidmc.load("01", tmp_path).recordings["abp"]
    assert (pressure.units, pressure.channels) == ("mmHg", ("ABP",))
    np.testing.assert_allclose(pressure.samples, 85.0)


def test_breaths_may_be_missing(tmp_path):
    write_wfdb(tmp_path)
    (tmp_path / bidmc.NAME / "bidmc01.breath").unlink()
    assert bidmc.load("01", tmp_path).recordings["resp"].annotations is None


def test_records_of_one_patient_are_one_person():
    assert {bidmc.subject_of(record) for record in ("06", "07", "08", "09")} == {"bidmc:06"}
    assert bidmc.subject_of("39") == bidmc.subject_of("38") == "bidmc:38"
    assert len({bidmc.subject_of(record) for record in bidmc.RECORDS}) == bidmc.INFO.subjects == 46


@pytest.mark.parametrize("write", [write_wfdb, write_csv])
def test_other_rates_and_missing_channels_are_refused(tmp_path, write):
    write(tmp_path, fs_hz=250)
    with pytest.raises(DatasetError, match="250"):
        bidmc.load("01", tmp_path)
    write(tmp_path, leave_out="PLETH")
    with pytest.raises(DatasetError, match="PLETH too"):
        bidmc.load("01", tmp_path)


def test_what_is_damaged_or_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="bidmc"):
        bidmc.records(tmp_path)
    write_wfdb(tmp_path, abp_unit="mV")
    with pytest.raises(DatasetError, match="abp in mV; expected mmHg"):
        bidmc.load("01", tmp_path)
    for record in ("54", "1"):
        with pytest.raises(DatasetError, match=repr(record)):
            bidmc.load(record, tmp_path)
    with pytest.raises(DatasetError, match=r"bidmc05\.hea"):
        bidmc.load("05", tmp_path)
    data = tmp_path / bidmc.NAME / "bidmc01.dat"
    data.write_bytes(data.read_bytes()[:-50])
    with pytest.raises(DatasetError, match=r"bidmc01\.dat"):
        bidmc.load("01", tmp_path)


@pytest.mark.data
def test_a_real_record_through_the_text_form(tmp_path):
    """The one record that is here, written out as the authors did: rounded times, samples to five digits."""
    path = root_of("misc_icu") / "misc_icu" / "bidmc01.npz"
    if not path.exists():
        pytest.skip("bidmc01 is not on this machine")
    with np.load(path) as file:
        values, names = file["sig"].astype(np.float64), [str(name) for name in file["ch_names"]]
    folder = tmp_path / bidmc.NAME
    folder.mkdir()
    table = np.column_stack([np.arange(values.shape[1]) / 125, values.T])
    header = ", ".join(["Time [s]", *(name.strip(" ,") for name in names)])
    np.savetxt(folder / "bidmc_01_Signals.csv", table, fmt="%.5g", delimiter=",", header=header, comments="")
    session = bidmc.load("01", tmp_path)
    assert session.recordings["ppg"].samples.shape == (1, 60_001)
    assert session.recordings["ecg"].channels == ("II", "V", "AVR")
    np.testing.assert_allclose(session.recordings["ppg"].samples[0], values[names.index("PLETH")], atol=1e-4)
