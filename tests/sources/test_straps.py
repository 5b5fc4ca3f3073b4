"""Straps end to end, over a stand-in for the radio."""

from __future__ import annotations

import asyncio
import itertools
import time

import numpy as np
import pytest
from fake_bleak import Air
from strap_frames import acc_frame, ecg_frame

from physioedge.signals.recording import Events
from physioedge.signals.tachogram import HeldIntervals, tachogram
from physioedge.sources import gatt
from physioedge.sources.protocol import Told
from physioedge.sources.straps import HeartRateSource, PolarSource
from physioedge_runtime.errors import (
    ChannelMismatch,
    SampleRateMismatch,
    SourceError,
    UnitMismatch,
    UnknownSensor,
)
from tiny_bundle import tiny_sensor

RR = tiny_sensor(name="rr", modality="rr", fs_hz=4.0, units="s", channels=("interval", "gap"))
ECG = tiny_sensor(channels=("ecg",))
ACC = tiny_sensor(name="acc", modality="acc", channels=("x", "y", "z"), units="g")
START_NS = 700_000_000 * 10**9


def heart_rate(*rr_s):
    return bytes([0x10, 60]) + b"".join(round(rr * 1024).to_bytes(2, "little") for rr in rr_s)


def listen(source, n):
    with source:
        return list(itertools.islice(source.chunks(), n))


def ecg_script(lose_after=None):
    async def script(client):
        await asyncio.sleep(0.01)
        client.notify(gatt.PMD_CONTROL, bytes.fromhex("f002000000"))
        for i in itertools.count():
            t_ns = START_NS + round((i + 1) * 73 / 130 * 1e9)
            client.notify(gatt.PMD_DATA, ecg_frame(t_ns, range(i * 73, i * 73 + 73)))
            if i == lose_after:
                client.lose()
                return
            await asyncio.sleep(0.002)

    return script


def test_polar_ecg_by_the_strap_s_own_clock():
    air = Air(services=[gatt.PMD_SERVICE], script=ecg_script())
    source = PolarSource("", [ECG], Told(), bleak=air)
    assert source.sensors["ecg"].describe() == "Polar strap: ecg [uV] at 130 Hz, live"
    chunks = listen(source, 5)
    assert air.written == [(gatt.PMD_CONTROL, gatt.polar_start("ecg", 130))]
    assert [c.t_s for c in chunks] == pytest.approx([700_000_000 + 946_684_800 + (i * 73 + 1) / 130 for i in range(5)])
    np.testing.assert_array_equal(np.concatenate([c.samples[0] for c in chunks]), np.arange(365, dtype=np.float32))


def test_a_lost_strap_is_found_again_and_the_gap_shows():
    air = Air(services=[gatt.PMD_SERVICE], script=ecg_script(lose_after=2))

    async def again(client):
        await asyncio.sleep(0.01)
        client.notify(gatt.PMD_DATA, b"\x00" * 12)  # a frame that is none is a lost one
        client.notify(gatt.PMD_DATA, ecg_frame(START_NS + 60 * 10**9, [7] * 73))
        await asyncio.sleep(10)

    first = air.script

    async def script(client):
        air.script, air.hidden = again, 2  # out of reach for two scans
        await first(client)

    air.script = script
    source = PolarSource("strap 1", [ECG], Told(), bleak=air, first_wait_s=0.01, scan_s=0.01)
    chunks = listen(source, 4)
    assert (air.connections, source._link.losses) == (2, 1)
    assert chunks[3].t_s - chunks[2].t_s > 50 and chunks[3].samples[0, 0] == 7


def test_ecg_and_motion_together():
    async def script(client):
        await asyncio.sleep(0.01)
        client.notify(gatt.PMD_DATA, acc_frame(START_NS, [(1000, 0, 0)] * 36))
        client.notify(gatt.PMD_DATA, ecg_frame(START_NS, [5] * 73))
        await asyncio.sleep(10)

    air = Air(services=[gatt.PMD_SERVICE], script=script)
    source = PolarSource("AA:BB", [ECG, ACC], Told(), acc_hz=50, bleak=air)
    chunks = listen(source, 2)
    assert [(c.sensor, c.samples.shape) for c in chunks] == [("acc", (3, 36)), ("ecg", (1, 73))]
    assert (source.sensors["acc"].fs_hz, source.sensors["acc"].units) == (50.0, "g")


@pytest.mark.parametrize(
    ("wanted", "told", "error", "words"),
    [
        ([ACC], Told(), SampleRateMismatch, "acc at no stated Hz"),
        ([ECG], Told(fs_hz=250), SampleRateMismatch, "130 Hz by itself; expected 250 Hz"),
        ([ECG], Told(units="mV"), UnitMismatch, "uV by itself; expected mV"),
        ([ECG], Told(channels=("MLII",)), ChannelMismatch, "expected one of ecg"),
        ([RR], Told(), UnknownSensor, "Polar strap for rr; expected ecg or acc"),
    ],
)
def test_what_a_polar_strap_does_not_give(wanted, told, error, words):
    with pytest.raises(error, match=words):
        PolarSource("", wanted, told, bleak=Air())


@pytest.mark.parametrize(
    ("air", "address", "words"),
    [
        (Air(), "", "no Bluetooth device with service 180d in reach; expected one"),
        (Air(), "CC:DD", "no Bluetooth device CC:DD in reach"),
        (
            Air(services=[gatt.HEART_RATE_SERVICE], others={"CC:DD": ("Strap 2", (gatt.HEART_RATE_SERVICE,))}),
            "",
            "2 devices for .*Strap 1 AA:BB, Strap 2 CC:DD",
        ),
    ],
)
def test_no_strap_or_two(air, address, words):
    with pytest.raises(SourceError, match=words):
        listen(HeartRateSource(address, [RR], Told(), bleak=air), 1)


def test_a_strap_that_refuses():
    async def script(client):
        client.notify(gatt.PMD_CONTROL, bytes.fromhex("f00200060000"))
        client.notify(gatt.PMD_CONTROL, bytes.fromhex("f002000c"))
        await asyncio.sleep(10)

    with pytest.raises(SourceError, match="refuses to start \\(invalid state\\)"):
        listen(PolarSource("", [ECG], Told(), bleak=Air(services=[gatt.PMD_SERVICE], script=script)), 1)


def test_a_radio_that_fails_is_one_error():
    air = Air()

    async def discover(timeout, return_adv):
        raise OSError("no adapter")

    air.BleakScanner.discover = staticmethod(discover)
    with pytest.raises(SourceError, match="Bluetooth that fails \\(no adapter\\)"):
        listen(HeartRateSource("", [RR], Told(), bleak=air), 1)


def test_intervals_are_the_series_that_the_task_takes():
    rr_s = [0.8, 0.85, 0.9, 2.75, 0.2, 1.0, 1.1, 0.95]

    async def script(client):
        await asyncio.sleep(0.01)
        client.notify(gatt.HEART_RATE_MEASUREMENT, bytes([0x00, 60]))  # not yet
        for first in range(0, len(rr_s), 2):
            client.notify(gatt.HEART_RATE_MEASUREMENT, heart_rate(*rr_s[first : first + 2]))
        client.notify(gatt.HEART_RATE_MEASUREMENT, b"\x10")  # cut off
        await asyncio.sleep(10)

    air = Air(services=[gatt.HEART_RATE_SERVICE], script=script)
    began = time.time()
    chunks = listen(HeartRateSource("", [RR], Told(), bleak=air), 4)
    counted = np.round(np.array(rr_s) * 1024) / 1024
    events = Events(time_s=np.cumsum(counted), value=counted.astype(np.float32), units="s", name="", subject="")
    series = np.concatenate([c.samples for c in chunks], axis=1)
    np.testing.assert_array_equal(series, tachogram(events, series.shape[1] / 4.0, 4.0))
    assert series.shape[1] == np.ceil(counted.sum() * 4) and abs(chunks[0].t_s + 1.65 - began) < 10.0
    assert chunks[-1].t_s - chunks[0].t_s == pytest.approx(sum(c.samples.shape[1] for c in chunks[:-1]) / 4)


def test_a_strap_without_intervals_and_a_bundle_of_something_else():
    async def script(client):
        await asyncio.sleep(0.01)
        for _ in range(20):
            client.notify(gatt.HEART_RATE_MEASUREMENT, bytes([0x00, 60]))
        await asyncio.sleep(10)

    air = Air(services=[gatt.HEART_RATE_SERVICE], script=script)
    with pytest.raises(SourceError, match="no intervals between beats"):
        listen(HeartRateSource("", [RR], Told(), bleak=air), 1)
    with pytest.raises(UnknownSensor, match="for ecg; expected a bundle that takes rr alone"):
        HeartRateSource("", [ECG], Told(), bleak=air)
    with pytest.raises(SampleRateMismatch, match="expected 2 Hz as stated"):
        HeartRateSource("", [RR], Told(fs_hz=2), bleak=air)


def test_held_intervals_are_the_tachogram_in_any_pieces():
    rng = np.random.default_rng(2)
    rr_s = np.where(rng.random(300) < 0.1, rng.choice([0.1, 3.5]), rng.normal(0.9, 0.1, 300))
    time_s = np.cumsum(rr_s)
    whole = tachogram(
        Events(time_s=time_s, value=rr_s.astype(np.float32), units="s", name="", subject=""), time_s[-1], 4.0
    )
    held, parts = HeldIntervals(4.0), []
    for at, rr in zip(time_s, rr_s, strict=True):
        held.beat(at, rr)
        parts.append(held.until(at))
        assert len(held._time_s) < 40
    series = np.concatenate(parts, axis=1)
    first = np.flatnonzero((rr_s >= 0.3) & (rr_s <= 2.5))[0]  # before it, the whole knows what is still to come
    known = int(np.ceil(time_s[first] * 4))
    np.testing.assert_array_equal(series[:, known : whole.shape[1]], whole[:, known : series.shape[1]])
