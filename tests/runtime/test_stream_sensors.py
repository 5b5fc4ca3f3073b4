"""Streams of several sensors: aligned by time, equal for any order of pushes, never held up by a dead sensor."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioedge_runtime import faults
from physioedge_runtime.bundle.contract import Thresholds, TriggerSpec
from physioedge_runtime.errors import (
    ChannelMismatch,
    PhysioEdgeError,
    SampleRateMismatch,
    ShapeError,
    SignalError,
    SnapshotError,
    UnitMismatch,
    UnknownSensor,
)
from physioedge_runtime.result import Result
from physioedge_runtime.signal.companion import KEPT_S, WAIT_S
from physioedge_runtime.signal.quality import HARD
from physioedge_runtime.signal.resample import resample
from synthetic_session import (
    ACC,
    FS_HZ,
    PPG,
    UNITS,
    VALUES,
    SumsEngine,
    fed,
    moved,
    of_two,
    pieces_of,
    pushes,
    session_contract,
    session_signals,
    session_stream,
    value_contract,
)

SIGNALS = session_signals(20.0)
PLAIN = pushes(pieces_of(SIGNALS))


def judged(results: list[Result]) -> list[float]:
    """Ends of the windows that were judged, in whole seconds."""
    return [round(r.t_anchor_s + 1 / 64, 6) for r in results if r.judged]


def same(a: list[Result], b: list[Result]) -> bool:
    """Equal in every field, embeddings included, bit by bit."""
    return a == b and all(np.array_equal(p.embedding, q.embedding) for p, q in zip(a, b, strict=True))  # type: ignore[arg-type]


# What comes out


def test_clean_sensors_give_one_result_a_hop_and_all_of_them_judged() -> None:
    results = fed(session_stream(), PLAIN)
    assert [round(r.t_anchor_s + 1 / 64) for r in results] == list(range(1, 21))
    assert judged(results) == list(range(3, 21))
    assert [r.flags for r in results[:2]] == [("warming_up",), ("warming_up",)]
    for r in results[2:]:
        assert r.flags == () and r.quality == 1.0 and r.label in ("rest", "stress") and r.values == ()
        assert 0 <= r.delay_s < 0.4, "the accelerometer's resampler looks 0.32 s ahead"


def test_windows_are_those_that_training_cuts_by_time() -> None:
    """Of whole converted signals: `input_samples` before the sample nearest to the end of the window."""
    engine = SumsEngine()
    results = fed(session_stream(engine=engine), PLAIN)
    whole = {name: resample(x, FS_HZ[name], s.fs_hz) for (name, x), s in zip(SIGNALS.items(), _SENSORS, strict=True)}
    assert len(engine.windows) == len(judged(results)) == 18
    for end_s, parts in zip(judged(results), engine.windows, strict=True):
        for sensor, part in zip(_SENSORS, parts, strict=True):
            stop = round(end_s * sensor.fs_hz)
            assert np.array_equal(part[0], whole[sensor.name][:, stop - sensor.input_samples : stop])


_SENSORS = session_contract().sensors


@pytest.mark.parametrize("shift_s", [0.0, 0.25, 0.4, 1.3, 1000.0])
def test_sensors_that_begin_at_other_times_are_aligned_by_their_timestamps(shift_s: float) -> None:
    """An accelerometer switched on later, or earlier, on the same clock."""
    engine, acc = SumsEngine(), SIGNALS["acc"]
    skipped = round((shift_s % 10) * 31.25)
    late = [("acc", acc[:, skipped:], skipped / 31.25)] if shift_s < 100 else [("acc", acc, 0.0)]
    others = [push for push in PLAIN if push[0] != "acc"]
    results = fed(session_stream(engine=engine), moved([*late, *others], shift_s * 50))
    whole = resample(acc[:, skipped:] if shift_s < 100 else acc, 31.25, 32.0)
    t0_s = late[0][2]
    assert judged(results)[-1] == pytest.approx(shift_s * 50 + 20)
    for end_s, parts in zip(judged(results), engine.windows, strict=True):
        stop = int(np.floor((end_s - shift_s * 50 - t0_s) * 32 + 0.5))
        assert np.array_equal(parts[1][0], whole[:, stop - ACC.input_samples : stop])
    late_ones = [r for r in results if "acc:warming_up" in r.flags]
    assert len(late_ones) == (shift_s == 1.3), "a window of 2 s that ends at 3 s begins before 1.3 s"
    assert all(r.quality == 0 and r.label is None for r in late_ones)


def test_without_timestamps_all_sensors_begin_at_zero() -> None:
    live = session_stream()
    out = [r for sensor, chunk, _ in PLAIN for r in live.push(chunk, sensor=sensor)] + live.flush()
    assert same(out, fed(session_stream(), PLAIN))


def test_the_look_ahead_is_the_same_time_for_every_sensor() -> None:
    engine = SumsEngine()
    spec = session_contract(trigger=TriggerSpec(kind="hop", lookahead_samples=32, hop_samples=64))
    results = fed(session_stream(spec, engine=engine), PLAIN)
    assert judged(results) == list(range(2, 20)) and results[-1].flags == ("incomplete", "end")
    assert all(r.t_end_s - r.t_anchor_s == pytest.approx(0.5) and r.delay_s >= 0.5 for r in results if r.judged)
    stops = [round((end_s + 0.5) * 4) for end_s in judged(results)]
    for stop, parts in zip(stops, engine.windows, strict=True):
        assert np.array_equal(parts[2][0], SIGNALS["eda"][:, stop - 10 : stop])


def test_a_beat_of_the_leading_sensor_takes_the_others_along() -> None:
    from synthetic_ecg import SENSOR, synthetic_ecg

    ecg, peaks = synthetic_ecg(125.0, 20.0)
    spec = session_contract(sensors=(SENSOR, ACC), trigger=TriggerSpec(kind="beat", lookahead_samples=125))
    engine = SumsEngine()
    live = session_stream(
        spec, engine=engine, fs_hz={"ecg": 125.0, "acc": 31.25}, units={"ecg": "mV", "acc": "g"}
    )  # fmt: skip
    results = []
    for start_s in np.arange(0, 20, 0.5):
        results += live.push(ecg[:, round(start_s * 125) : round((start_s + 0.5) * 125)], start_s, "ecg")
        results += live.push(SIGNALS["acc"][:, round(start_s * 31.25) : round((start_s + 0.5) * 31.25)], None, "acc")
    good = [r for r in results if r.judged]
    assert len(good) > 15
    whole = resample(SIGNALS["acc"], 31.25, 32.0)
    for r, parts in zip(good, engine.windows, strict=True):
        assert np.abs(peaks - r.t_anchor_s).min() < 0.02
        stop = int(np.floor((r.t_anchor_s + 1 + 1 / 125) * 32 + 0.5))
        assert np.array_equal(parts[1][0], whole[:, stop - ACC.input_samples : stop])


# Values


def test_values_are_given_in_place_of_a_label() -> None:
    engine = SumsEngine(1)
    results = fed(session_stream(value_contract(), engine=engine), PLAIN)
    assert judged(results) == list(range(3, 21))
    for r, parts in zip(results[2:], engine.windows, strict=True):
        assert r.label is None and r.probability == 0.0 and r.probabilities == () and r.flags == ()
        assert r.values == (float(SumsEngine(1).run(parts)[0][0, 0]),) and r.embedding is not None


def test_a_value_out_of_its_range_is_withheld() -> None:
    found = [r.values[0] for r in fed(session_stream(value_contract()), PLAIN) if r.judged]
    middle = float(np.median(found))
    narrow = value_contract(values=(replace(VALUES[0], high=middle), replace(VALUES[0], name="other")))
    results = fed(session_stream(narrow), PLAIN)[2:]
    assert {r.flags for r in results} == {(), ("out_of_range_value",)}
    for r, value in zip(results, found, strict=True):
        assert r.judged == (value <= middle) and bool(r.values) == r.judged
        assert r.quality == 1.0 and r.label is None and r.embedding is not None


# Any order


@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 20))
def test_any_chunking_and_any_order_give_identical_results(data: st.DataObject, seed: int) -> None:
    signals, gaps = _hurt(seed)
    pieces = pieces_of(signals, gaps)
    chunk_s = {name: data.draw(st.floats(0.01, 1.5), label=f"chunk {name}") for name in FS_HZ}
    late_s = {name: data.draw(st.floats(0.0, 3.0), label=f"late {name}") for name in FS_HZ}
    found = fed(session_stream(), pushes(pieces, chunk_s, late_s))
    assert same(found, fed(session_stream(), pushes(pieces, 0.1)))


def _hurt(seed: int) -> tuple[dict[str, np.ndarray], list[tuple[str, float, float]]]:
    """Signals with a fault in each sensor, and seconds in which some of them were off."""
    rng = np.random.default_rng(seed)
    signals = session_signals(25.0, seed)
    for name, samples in signals.items():
        at = int(rng.integers(0, samples.shape[1]))
        signals[name] = faults.with_nan(faults.spike(samples, at, 500.0), at // 2, at // 2 + 2)
    gaps = []
    for name in rng.choice(list(FS_HZ), int(rng.integers(0, 4))):
        start_s = float(rng.uniform(0, 22))
        gaps.append((str(name), start_s, start_s + float(rng.uniform(0.3, 9))))
    return signals, gaps


@settings(max_examples=25)
@given(cut=st.integers(0, 250), seed=st.integers(0, 20), late=st.floats(0, 4))
def test_snapshot_and_restore_equal_an_unbroken_run(cut: int, seed: int, late: float) -> None:
    signals, gaps = _hurt(seed)
    given_ = pushes(pieces_of(signals, gaps), 0.3, {"acc": late})
    first, second, whole = session_stream(), session_stream(), session_stream()
    results = fed(first, given_[:cut], end=False)
    state = pickle.loads(pickle.dumps(first.snapshot()))
    fed(first, given_[cut:])
    fed(second, PLAIN[:50], end=False)
    second.restore(state)
    assert same(results + fed(second, given_[cut:]), fed(whole, given_))


def test_snapshots_hold_numbers_text_and_arrays_only() -> None:
    live = session_stream()
    fed(live, pushes(pieces_of(SIGNALS, [("acc", 6.0, 7.0)]), 0.3, {"eda": 3.0})[:150], end=False)

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list):
            return all(plain(v) for v in value)
        return value is None or isinstance(value, (bool, int, float, str, np.ndarray))

    state = live.snapshot()
    assert plain(state) and state["signal"]["waiting"] and len(state["signal"]["companions"]["acc"]["runs"]) == 2


def test_restores_only_what_fits() -> None:
    live = session_stream()
    fed(live, PLAIN[:100], end=False)
    state = live.snapshot()
    with pytest.raises(SnapshotError, match="fs_hz"):
        session_stream(fs_hz={**FS_HZ, "acc": 50.0}).restore(state)
    for damaged in ({}, {**state, "signal": {**state["signal"], "companions": {}}}, {**state, "version": 2}):
        with pytest.raises(SnapshotError):
            live.restore(damaged)
    again = session_stream()
    again.restore(state)
    assert same(fed(live, PLAIN[100:]), fed(again, PLAIN[100:])), "a refused snapshot changes nothing"


def test_reset_and_flush_begin_anew() -> None:
    live = session_stream()
    fed(live, PLAIN[:77], end=False)
    live.reset()
    expected = fed(session_stream(), PLAIN)
    assert same(fed(live, PLAIN), expected)
    assert same(fed(live, PLAIN), expected), "flush resets"


# Sensors that are not there


def test_a_sensor_that_never_comes_holds_nothing_up_for_long() -> None:
    live = session_stream()
    given_ = [push for push in PLAIN if push[0] != "acc"]
    seen_s, late = 0.0, []
    for sensor, chunk, t in given_:
        seen_s = max(seen_s, t + chunk.shape[1] / FS_HZ[sensor])
        for r in live.push(chunk, t, sensor):
            assert r.flags in (("warming_up",), ("missing:acc",)) and not r.judged and r.quality == 0
            late.append((seen_s - r.t_anchor_s, r))
    withheld = [(s, r) for s, r in late if r.flags == ("missing:acc",)]
    assert len(withheld) == 12, "windows that end in the first 14.68 s of 20"
    for waited_s, r in withheld:
        assert WAIT_S <= waited_s < WAIT_S + 0.32 + 0.25 + 0.05
        assert r.t_emitted_s == pytest.approx(r.t_anchor_s + 1 / 64 + WAIT_S + 0.32, abs=0.02)
    rest = live.flush()
    assert [r.flags for r in rest] == [("missing:acc",)] * 6 and rest[-1].t_emitted_s == 20.0


def test_a_sensor_that_stops_costs_only_the_windows_after_it() -> None:
    results = fed(session_stream(), pushes(pieces_of(SIGNALS, [("eda", 10.0, 99.0)])))
    assert judged(results) == list(range(3, 11))
    assert all(r.flags == ("missing:eda",) for r in results[10:])


def test_a_gap_of_a_companion_restarts_that_sensor_only() -> None:
    results = fed(session_stream(), pushes(pieces_of(SIGNALS, [("acc", 8.0, 11.2)])))
    flags = {round(r.t_anchor_s + 1 / 64): r.flags for r in results}
    assert judged(results) == [3, 4, 5, 6, 7, 14, 15, 16, 17, 18, 19, 20]
    assert [flags[s] for s in (8, 9, 10, 11)] == [("missing:acc",)] * 4, "the resampler needs samples after 8 s"
    assert [flags[s] for s in (12, 13)] == [("acc:warming_up", "acc:gap")] * 2


def test_a_gap_of_the_leading_sensor_leaves_the_others_whole() -> None:
    results = fed(session_stream(), pushes(pieces_of(SIGNALS, [("ppg", 8.0, 11.0)])))
    after = [r for r in results if r.t_anchor_s > 10]
    assert [r.flags for r in after[:2]] == [("warming_up", "gap")] * 2
    assert judged(results) == [3, 4, 5, 6, 7, 8, 14, 15, 16, 17, 18, 19, 20]


def test_a_burst_that_comes_late_is_still_in_time_and_one_too_late_is_not() -> None:
    in_time = fed(session_stream(), pushes(pieces_of(SIGNALS), 0.1, {"acc": WAIT_S - 0.5}))
    assert same(in_time, fed(session_stream(), PLAIN))
    late = fed(session_stream(), pushes(pieces_of(SIGNALS), 0.1, {"acc": WAIT_S + 0.5}))
    assert ("missing:acc",) in [r.flags for r in late] and 0 < len(judged(late)) < 9, "what is there at the end is used"


def test_companions_may_be_ahead_by_half_a_minute() -> None:
    signals = session_signals(60.0)
    for ahead_s, whole in ((KEPT_S - 1, True), (KEPT_S + 9, False)):
        given_ = pushes(pieces_of(signals), 1.0, {"ppg": ahead_s})
        flags = {r.flags for r in fed(session_stream(), given_)[2:]}
        assert (flags == {()}) == whole
        assert flags <= {(), ("missing:acc",), ("missing:acc", "missing:eda")}


def test_a_clock_that_is_turned_back_never_mixes_old_and_new() -> None:
    """Every sensor's clock is set back by 12 s half way; only windows of the new clock may use its samples."""
    for order in (("ppg", "acc", "eda"), ("eda", "acc", "ppg")):
        engine = SumsEngine()
        live = session_stream(engine=engine)
        results = fed(live, [p for p in PLAIN if p[2] < 10], end=False)
        late = sorted((p for p in PLAIN if p[2] >= 10), key=lambda p: (round(p[2], 1), order.index(p[0])))
        results += fed(live, moved(late, -12.0))
        new = [r for r in results if r.t_anchor_s < 8 and r.t_start_s <= 8]
        assert judged(results)[-1] == 8.0 and any("clock_backward" in r.flags for r in new)
        for end_s, parts in zip(judged(results), engine.windows, strict=True):
            stops = {round(end_s * 4), round((end_s + 12) * 4)}
            assert any(np.array_equal(parts[2][0], SIGNALS["eda"][:, s - 10 : s]) for s in stops)
            ppg_stops = [s for s in (round(end_s * 64), round((end_s + 12) * 64)) if 160 <= s <= 1280]
            at = [s for s in ppg_stops if np.array_equal(parts[0][0], SIGNALS["ppg"][:, s - 160 : s])]
            assert at and np.array_equal(parts[2][0], SIGNALS["eda"][:, at[0] // 16 - 10 : at[0] // 16])


def test_what_is_sent_twice_counts_once() -> None:
    twice = [push for push in PLAIN for _ in range(2 if push[0] == "acc" and 5 < push[2] < 6 else 1)]
    results = fed(session_stream(), twice)
    expected = fed(session_stream(), PLAIN)
    assert [replace(r, flags=()) for r in results] == [replace(r, flags=()) for r in expected]
    assert {f for r in results for f in r.flags if r.judged} == {"acc:duplicate"}


# Quality


def test_quality_is_that_of_the_worst_sensor_and_flags_say_whose() -> None:
    noisy = {**SIGNALS, "acc": faults.with_nan(SIGNALS["acc"], 300, 304)}
    spec = session_contract(thresholds=Thresholds(min_quality=0.0, min_probability=0.0))
    results = fed(session_stream(spec), pushes(pieces_of(noisy)))
    hit = [r for r in results if "acc:nonfinite" in r.flags]
    assert hit and all(0.7 < r.quality < 1 and not r.judged and r.flags == ("acc:nonfinite",) for r in hit)
    low = session_contract(thresholds=Thresholds(min_quality=0.99, min_probability=0.0))
    results = fed(session_stream(low), pushes(pieces_of(noisy)))
    assert {r.flags for r in results[2:]} == {(), ("acc:nonfinite", "low_quality")}


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_nothing_sensors_send_raises_or_is_judged_with_confidence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    live, clock = session_stream(), 0.0
    results: list[Result] = []
    for _ in range(40):
        name = str(rng.choice(list(FS_HZ)))
        x = session_signals(1.0, int(rng.integers(9)))[name]
        kind = int(rng.integers(8))
        if kind == 0:
            x = np.array(rng.choice([np.nan, np.inf, -np.inf, 3e38, 0.0], x.shape), np.float64)
        elif kind == 1:
            clock += float(rng.choice([-1e9, -3.0, 0.2, 5.0, 1e9]))
        elif kind == 2:
            x = x[:, : int(rng.integers(0, 5))]
        t = [clock, None, np.nan][int(rng.integers(3))]
        results += live.push(x, t, name)
        clock += float(rng.choice([0.0, 0.5, 1.0]))
    results += live.flush()
    for r in results:
        assert 0.0 <= r.quality <= 1.0 and r.t_emitted_s >= r.t_end_s - 1e-6 * abs(r.t_end_s) - 1e-9
        if r.judged:
            assert not {flag.split(":")[-1] for flag in r.flags} & {*HARD, "low_quality", "warming_up", "incomplete"}
            assert not any(flag.startswith("missing:") for flag in r.flags)


# What programmers do


def test_the_sensor_must_be_named() -> None:
    live = session_stream()
    for wrong, word in ((None, "no sensor in particular"), ("temp", "'temp'"), (3, "3")):
        with pytest.raises(UnknownSensor, match=f"{word}; expected 'ppg' or 'acc' or 'eda'"):
            live.push(SIGNALS["ppg"], 0.0, wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"float32 \(3, any\) in g"):
        live.push(SIGNALS["ppg"], 0.0, "acc")
    with pytest.raises(SignalError, match="timestamp"):
        live.push(SIGNALS["acc"], "noon", "acc")  # type: ignore[arg-type]
    assert same(fed(live, PLAIN), fed(session_stream(), PLAIN)), "refused pushes lose nothing"
    live.close()
    with pytest.raises(SignalError, match="closed"):
        live.push(SIGNALS["acc"], 0.0, "acc")


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"fs_hz": 64.0}, SampleRateMismatch, "fs_hz=64.0 for 3 sensors; expected a mapping by sensor name"),
        ({"units": "g"}, UnitMismatch, "units='g' for 3 sensors"),
        ({"resample": "polyphase"}, SignalError, "resample='polyphase' for 3 sensors"),
        ({"channels": ("x", "y", "z")}, ChannelMismatch, "channels=.* for 3 sensors"),
        ({"fs_hz": {"ppg": 64.0, "acc": 31.25}}, SampleRateMismatch, "no fs_hz for sensor 'eda'"),
        ({"units": {"ppg": "a.u.", "acc": "g"}}, UnitMismatch, "no units for sensor 'eda'"),
        ({"fs_hz": {**FS_HZ, "temp": 4.0}}, UnknownSensor, "fs_hz of sensor 'temp'; expected 'ppg', 'acc', 'eda'"),
        ({"channels": {"temp": ("t",)}}, UnknownSensor, "channels of sensor 'temp'"),
        ({"fs_hz": {**FS_HZ, "eda": 8.0}}, SampleRateMismatch, "8 Hz for sensor 'eda'"),
        ({"resample": {}}, SampleRateMismatch, "31.25 Hz for sensor 'acc'"),
        ({"resample": {"acc": "linear"}}, SignalError, "'linear'"),
        ({"units": {**UNITS, "acc": "m/s2"}}, UnitMismatch, "'m/s2' for sensor 'acc'; expected 'g'"),
        ({"channels": {"acc": ("x", "y")}}, ChannelMismatch, "x, y for sensor 'acc'"),
    ],
)
def test_what_does_not_fit_is_said_at_once_and_of_which_sensor(
    wrong: dict[str, Any], error: type[PhysioEdgeError], words: str
) -> None:
    with pytest.raises(error, match=words):
        session_stream(**wrong)


def test_rows_are_picked_by_name_for_each_sensor() -> None:
    turned = [(s, x[::-1].copy() if s == "acc" else x, t) for s, x, t in PLAIN]
    live = session_stream(channels={"acc": ("z", "y", "x")})
    assert same(fed(live, turned), fed(session_stream(), PLAIN))


def test_one_sensor_may_be_described_by_a_mapping_too() -> None:
    spec = session_contract(sensors=(PPG,))
    plain = session_stream(spec, fs_hz=64.0, units="a.u.", resample=None)
    mapped = session_stream(spec)
    lead = [push for push in PLAIN if push[0] == "ppg"]
    assert same(fed(mapped, lead), [r for _, x, t in lead for r in plain.push(x, t)] + plain.flush())


def test_two_streams_share_an_engine() -> None:
    engine = SumsEngine()
    one, other = session_stream(engine=engine), session_stream(of_two(), engine=engine)
    expected = fed(session_stream(), PLAIN), fed(session_stream(of_two()), [p for p in PLAIN if p[0] != "eda"])
    found: tuple[list[Result], list[Result]] = ([], [])
    for sensor, chunk, t in PLAIN:
        found[0].extend(one.push(chunk, t, sensor))
        if sensor != "eda":
            found[1].extend(other.push(chunk, t, sensor))
    assert same(found[0] + one.flush(), expected[0]) and same(found[1] + other.flush(), expected[1])


def test_adapters_change_between_windows() -> None:
    live = session_stream()
    results = fed(live, PLAIN[:150], end=False)
    live.set_adapter({"slot": np.array([[0.0, 50.0]], np.float32)}, "mine")
    later = [r for r in fed(live, PLAIN[150:]) if r.judged]
    assert {r.adapter for r in results} == {"global"} and {r.adapter for r in later} == {"mine"}
    assert all(r.label == "stress" and r.probability > 0.9 for r in later)
