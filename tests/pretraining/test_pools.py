"""Pools: people who may be learned from and nobody else, at the modalities' rates."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.datasets import cinc2017, icu, mitbih, slpdb_rr, stress_predict
from physioedge.datasets.splits import load_split
from physioedge.models.modality import ALL
from physioedge.pretraining import pools
from physioedge.pretraining.mixture import MIXTURE
from physioedge.signals.recording import Events, Recording, Session
from tiny_training import write_mitbih

RATES = {modality.kind: modality.fs_hz for modality in ALL}


def recording(kind: str, fs_hz: float, subject: str, channels: int = 1, units: str = "mV") -> Recording:
    return Recording(
        samples=np.zeros((channels, int(4 * fs_hz)), np.float32), fs_hz=fs_hz, units=units,
        channels=tuple(f"{kind}{i}" for i in range(channels)), name="x", subject=subject,
    )  # fmt: skip


def everybody(name: str) -> tuple[str, ...]:
    return tuple(s.split(":")[1] for s in load_split(name).subjects)


def test_both_leads_of_the_fitting_records_of_mitbih(tmp_path, monkeypatch):
    write_mitbih(tmp_path, ("101", "106"), duration_s=10.0)
    monkeypatch.setattr(mitbih, "FIT", ("101", "106"))
    found = pools.leads_mitbih(RATES, tmp_path)
    assert found.subjects == ("mitbih:101", "mitbih:106") and found.datasets == ("mitbih",)
    assert [t.sensors["ecg"][0].shape for t in found.tracks] == [(2, 1250), (2, 1250)]
    lead, other = found.tracks[0].sensors["ecg"][0]
    assert lead.max() == pytest.approx(1.2, abs=0.15) and np.corrcoef(lead, other)[0, 1] < -0.99
    intervals = pools.days(RATES, tmp_path)
    rr, gap = intervals.tracks[0].sensors["rr"][0]
    assert len(rr) > 4 * 8 and np.median(rr) == pytest.approx(0.8, abs=0.3) and set(gap.tolist()) <= {0.0, 1.0}


def test_only_people_of_the_fitting_side_of_a_split_are_read(monkeypatch):
    loaded: list[str] = []

    def note(record: str) -> str:
        loaded.append(record)
        return record

    monkeypatch.setattr(cinc2017, "records", lambda root: everybody(cinc2017.NAME))
    monkeypatch.setattr(
        cinc2017, "load_all",
        lambda names, root: (recording("ecg", 300.0, cinc2017.subject_of(note(n))) for n in names),
    )  # fmt: skip
    monkeypatch.setattr(stress_predict, "records", lambda root: everybody(stress_predict.NAME))
    wrist = {"ppg": (64.0, 1, "a.u."), "acc": (32.0, 3, "g"), "eda": (4.0, 1, "uS"), "temp": (4.0, 1, "degC")}

    def session(record: str, root: object) -> Session:
        subject = stress_predict.subject_of(note(record))
        sensors = {k: recording(k, fs, subject, n, units) for k, (fs, n, units) in wrist.items()}
        return Session(subject=subject, recordings=sensors)

    monkeypatch.setattr(stress_predict, "load", session)
    monkeypatch.setattr(slpdb_rr, "records", lambda root: everybody(slpdb_rr.NAME))
    beat_s = np.arange(1.0, 60.0)

    def intervals(record: str, root: object) -> Events:
        return Events(time_s=beat_s, value=np.ones(59, np.float32), units="s", name="rr", subject=note(record))

    monkeypatch.setattr(slpdb_rr, "intervals", intervals)
    cases = ((pools.leads_cinc, cinc2017.NAME), (pools.wrists, stress_predict.NAME), (pools.nights, slpdb_rr.NAME))
    for loader, name in cases:
        loaded.clear()
        split = load_split(name)
        found = loader(RATES, None)
        assert set(found.subjects) == split.people(split.pretrain) and found.datasets == (name,)
        assert {f"{name}:{record}" for record in loaded} == set(split.pretrain)
        assert not set(found.subjects) & split.people(split.evaluate)
        assert len(found.tracks) == len(found.weight) == len(split.pretrain)


def test_sensors_of_a_wrist_keep_their_clocks_and_rates(monkeypatch):
    subject = load_split(stress_predict.NAME).pretrain[0]
    ppg, acc = recording("ppg", 128.0, subject, 1, "a.u."), recording("acc", 32.0, subject, 3, "g")
    late = Recording(
        samples=acc.samples, fs_hz=32.0, units="g", channels=acc.channels, name="x", subject=subject, t0_s=2.5
    )
    monkeypatch.setattr(stress_predict, "records", lambda root: (subject.split(":")[1],))
    monkeypatch.setattr(
        stress_predict, "load", lambda *_: Session(subject=subject, recordings={"ppg": ppg, "acc": late})
    )
    sensors = pools.wrists(RATES, None).tracks[0].sensors
    assert {kind: (x.shape, t0_s) for kind, (x, t0_s) in sensors.items()} == {
        "ppg": ((1, 256), 0.0), "acc": ((3, 128), 2.5),
    }  # fmt: skip


def test_bedside_ecg_without_a_unit_is_left_out(monkeypatch):
    sessions = {
        "1": Session(subject="icu:1", recordings={"ecg": recording("ecg", 125.0, "icu:1"),
                                                  "ppg": recording("ppg", 125.0, "icu:1", units="a.u.")}),
        "2": Session(subject="icu:2", recordings={"ecg": recording("ecg", 125.0, "icu:2", units="a.u.")}),
    }  # fmt: skip
    monkeypatch.setattr(icu, "records", lambda root: tuple(sessions))
    monkeypatch.setattr(icu, "load", lambda record, root: sessions[record])
    found = pools.bedside(RATES, None)
    assert [(sorted(t.sensors), next(iter(t.sensors.values()))[0].shape) for t in found.tracks] == [
        (["ecg"], (1, 500)), (["ppg"], (1, 256)),
    ]  # fmt: skip


def test_long_recordings_count_by_the_root_of_their_length():
    tracks = [({"ecg": (np.zeros((1, n), np.float32), 0.0)}, "a") for n in (100, 10_000)]
    assert pools._pool("x", tracks).weight == pytest.approx([10.0, 100.0])


def test_every_pool_of_the_mixture_exists_and_its_segments_fit_the_layouts():
    for part in MIXTURE:
        assert set(part.pools) <= set(pools.LOADERS) and part.rows > 0
        assert sum(part.pools.values()) == pytest.approx(1.0)
        assert all(one.kind in RATES for one in part.layout.sensors)
