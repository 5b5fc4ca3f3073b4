"""What is a fault depends on the sensor: hearts never rest, wrists and skin do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dataset_here import root_of
from physioedge_runtime import faults
from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.signal.quality import CHECKS, OTHERS, Quality, assess
from synthetic_session import ACC, EDA, FS_HZ, PPG, UNITS, fed, of_two, pieces_of, pushes, session_contract
from synthetic_session import session_signals as signals
from synthetic_session import session_stream as stream

TEMP = replace(EDA, name="temp", modality="temp", units="degC", low=10.0, high=45.0)
RR = replace(EDA, name="rr", modality="rr", units="s", low=0.3, high=2.0)
PULSE, MOVEMENT, SKIN = (signals(10.0)[name] for name in FS_HZ)


def quality(x: np.ndarray, sensor: SensorSpec, fs_hz: float | None = None) -> Quality:
    """Quality of samples that came at the contract's rate; the model sees 0 where there is nothing finite."""
    return assess(x, fs_hz or sensor.fs_hz, np.nan_to_num(x, posinf=0, neginf=0), sensor)


@pytest.mark.parametrize(
    ("sensor", "x"),
    [
        (PPG, PULSE),
        (replace(PPG, low=-1e6, high=1e6), PULSE),  # the range of an arbitrary unit says nothing of a pulse
        (replace(PPG, low=-60.0, high=60.0), PULSE),
        (ACC, MOVEMENT),
        (ACC, np.tile(np.float32([[0.0], [0.0], [1.0]]), 320)),  # on a table
        (ACC, np.round(MOVEMENT * 64) / np.float32(64)),
        (ACC, np.concatenate([MOVEMENT, 2 * np.random.default_rng(0).standard_normal((3, 320)).astype(np.float32)], 1)),
        (EDA, SKIN),
        (EDA, np.full((1, 40), 2.0, np.float32)),
        (EDA, np.concatenate([SKIN, SKIN + np.float32(30)], axis=1)),
        (TEMP, np.full((1, 40), 33.19, np.float32)),
        (RR, np.repeat(np.float32([[0.8, 1.1, 0.7, 0.9]]), 10, axis=1)),
    ],
)
def test_what_a_body_does_is_no_fault(sensor: SensorSpec, x: np.ndarray) -> None:
    assert quality(np.ascontiguousarray(x, np.float32), sensor) == Quality(1.0, ())


@pytest.mark.parametrize("sensor", [PPG, ACC, EDA, TEMP, RR, replace(EDA, modality="unheard of")])
def test_every_modality_knows_what_is_no_number_and_what_cannot_be(sensor: SensorSpec) -> None:
    middle = np.float32((sensor.low + sensor.high) / 2)
    n = round(10 * sensor.fs_hz)
    x = np.full((len(sensor.channels), n), middle) + np.sin(np.arange(n), dtype=np.float32) * np.float32(0.001)
    assert "nonfinite" in quality(faults.with_nan(x, n // 2, n // 2 + 1), sensor).flags
    assert "out_of_range" in quality(faults.dropout(x, n // 2, n // 2 + 1, sensor.high + 1), sensor).flags


def test_a_pulse_that_is_held_is_flat() -> None:
    found = quality(faults.dropout(PULSE, 200, 220, 7.0), PPG)
    assert found.flags == ("flat",) and found.hard and 0.9 < found.index < 1
    assert quality(faults.dropout(PULSE, 200, 208, 7.0), PPG).flags == (), "0.13 s"
    assert quality(faults.dropout(MOVEMENT, 200, 300, 0.0), ACC).flags == ()


@pytest.mark.parametrize("sensor", [PPG, ACC, EDA, TEMP])
def test_samples_at_an_end_of_the_range_are_clipped(sensor: SensorSpec) -> None:
    x = {"ppg": PULSE, "acc": MOVEMENT}.get(sensor.name, np.full((1, 40), 20.5, np.float32))
    for end in (sensor.low, sensor.high):
        found = quality(faults.dropout(x, 20, 23, end), sensor)
        assert "clipped" in found.flags and found.hard and found.index < 1
        assert "clipped" not in quality(faults.dropout(x, 20, 22, end), sensor).flags, "two samples may touch it"
        almost = end + 0.001 * (1 if end == sensor.low else -1)
        assert "clipped" not in quality(faults.dropout(x, 20, 23, almost), sensor).flags


def test_noise_is_looked_for_in_pulses_only() -> None:
    rng = np.random.default_rng(0)
    assert quality(faults.noisy(PULSE, 1.0, rng), PPG).flags == (), "one part in 70"
    noisy = quality(faults.noisy(PULSE, 12.0, rng), PPG)
    assert noisy.flags == ("noisy",) and not noisy.hard and noisy.index < 0.5
    assert quality(faults.noisy(MOVEMENT, 0.5, rng), ACC) == Quality(1.0, ())
    slow = replace(PPG, fs_hz=25.0)
    assert quality(faults.noisy(PULSE, 12.0, rng), slow).flags == (), "too few samples to tell"


def test_any_channel_counts() -> None:
    x = MOVEMENT.copy()
    x[2, 100] = np.nan
    assert quality(x, ACC).flags == ("nonfinite",)


def test_checks_are_documented(repository) -> None:  # type: ignore[no-untyped-def]
    text = (repository / "docs" / "signal-quality.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| `")}
    for name, checks in {**CHECKS, "others": OTHERS}.items():
        key = "`acc`, `eda`, `temp`, `rr`, others" if name == "others" else f"`{name}`"
        row = [cell.strip() for cell in rows[key].split("|")[2:-1]]
        flat = "yes" if checks.still else "constant only" if checks.held else "no"
        clipped = "at its extreme" if checks.steps else "at the ends of the range"
        noisy = f"above {checks.noise_ratio:g}" if checks.noise_ratio else "no"
        noisy += f", or faster than {checks.fastest_hz:g} Hz" if checks.fastest_hz else ""
        assert row == [flat, clipped, noisy, "yes" if checks.baseline else "no"], name


@pytest.mark.data
def test_hardly_any_minute_of_real_rest_is_withheld() -> None:
    """Wristbands of two resting people, all windows but the first, which has no past."""
    from physioedge.datasets import stress_predict

    root = root_of(stress_predict.NAME)
    counts: Counter[str] = Counter()
    for record in ("S06", "S20"):
        session, labels = stress_predict.load(record, root), stress_predict.labels(record, root)
        start_s = float(labels.start_s[0])
        given = []
        for name in FS_HZ:
            recording = session.recordings[name]
            first = round((start_s - recording.t0_s) * recording.fs_hz)
            part = recording.samples[:, first : first + round(600 * recording.fs_hz)]
            for i in range(0, part.shape[1], round(recording.fs_hz)):
                t = recording.t0_s + (first + i) / recording.fs_hz
                given.append((i / recording.fs_hz, name, part[:, i : i + round(recording.fs_hz)], t))
        live = stream(_wrist(), fs_hz={"ppg": 64.0, "acc": 32.0, "eda": 4.0}, units=UNITS, resample=None)
        results = [r for _, name, x, t in sorted(given, key=lambda one: one[0]) for r in live.push(x, t, name)]
        counts["judged"] += sum(r.judged for r in results)
        counts["withheld"] += sum(not r.judged and "warming_up" not in r.flags for r in results)
    assert counts["judged"] >= 30 and counts["withheld"] <= 0.03 * counts["judged"]


def _wrist():  # type: ignore[no-untyped-def]
    """Windows of a minute every half minute, with the wristband's own ranges."""
    from physioedge_runtime.bundle.contract import Thresholds, TriggerSpec

    sensors = (
        replace(PPG, channels=("bvp",), low=-5000.0, high=5000.0, context_samples=128, window_samples=3840),
        replace(ACC, low=-2.0, high=1.984375, context_samples=64, window_samples=1920),
        replace(EDA, channels=("eda",), high=100.0, context_samples=16, window_samples=240),
    )
    return session_contract(
        sensors=sensors,
        trigger=TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=1920),
        thresholds=Thresholds(min_quality=0.7, min_probability=0.0),
    )


def test_a_fault_of_one_sensor_is_that_sensors_in_a_stream() -> None:
    hurt = {"ppg": faults.dropout(PULSE, 300, 330), "acc": faults.dropout(MOVEMENT, 200, 210, -8.0)}
    flags = Counter(flag for r in fed(stream(of_two()), pushes(pieces_of(hurt))) for flag in r.flags)
    assert set(flags) == {"warming_up", "flat", "acc:clipped"} and flags["flat"] >= 2


def test_what_swings_faster_than_any_heart_is_no_pulse() -> None:
    """Mains hum at a rate that folds it to 4 Hz comes as clean as a pulse."""
    n, wide = PULSE.shape[1], replace(PPG, low=-1e6, high=1e6)
    t, size = np.arange(n) / PPG.fs_hz, float(np.ptp(PULSE))
    folded = np.sin(2 * np.pi * 60.0 * t, dtype=np.float64).astype(np.float32)
    assert np.allclose(folded, -np.sin(2 * np.pi * 4.0 * t), atol=1e-3)
    for times, flags in ((0.0, ()), (0.2, ()), (3.0, ("noisy",))):
        found = quality(PULSE + np.float32(times * size) * folded, wide)
        assert (found.flags, found.index) == (flags, 0.0 if flags else 1.0)
    half = PULSE.copy()
    half[:, n // 2 :] += np.float32(3 * size) * folded[n // 2 :]
    assert quality(half, wide).index == 0
    for rate_hz in (0.6, 1.2, 3.6):
        wave = np.sin(2 * np.pi * rate_hz * t) + 0.5 * np.sin(4 * np.pi * rate_hz * t)
        assert quality(wave[None].astype(np.float32), wide) == Quality(1.0, ()), rate_hz
    drifting = (1000 + 100 * t)[None].astype(np.float32) + PULSE
    assert quality(drifting, wide).flags == ()
