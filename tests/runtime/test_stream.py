from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioedge_runtime import faults
from physioedge_runtime.bundle.contract import Thresholds, TriggerSpec
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import (
    ChannelMismatch,
    ContractError,
    NonFiniteAdapter,
    SampleRateMismatch,
    ShapeError,
    SignalError,
    SlotMismatch,
    SnapshotError,
    UnitMismatch,
    UnknownSensor,
)
from physioedge_runtime.result import Result
from physioedge_runtime.signal.beats import detect_beats
from physioedge_runtime.signal.quality import HARD
from physioedge_runtime.signal.resample import resample
from physioedge_runtime.signal.windows import cut_windows
from physioedge_runtime.stream import Stream
from synthetic_ecg import FS_HZ, SENSOR, SLOT, ArithmeticEngine, bundle, contract, stream, synthetic_ecg

ECG, PEAKS = synthetic_ecg(FS_HZ, 14.0, noise_mv=0.02)
HOP = TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=125)


def hurt(seed: int) -> np.ndarray:
    """The ECG with NaN, a spike and a dropout somewhere."""
    at = np.random.default_rng(seed).integers(0, 3200, 3)
    x = faults.with_nan(ECG, at[0], at[0] + 5)
    return faults.dropout(faults.spike(x, at[1], 30.0), at[2], at[2] + 100)


def run(x: np.ndarray, sizes: list[int], spec: Any = None, target: Stream | None = None) -> list[Result]:
    """All results of a signal pushed in chunks of these sizes, the rest at once."""
    live, start, out = target or stream(spec), 0, []
    for size in [*sizes, x.shape[1]]:
        out += live.push(x[:, start : start + size], start / FS_HZ if start < x.shape[1] else None)
        start += size
    return out + live.flush()


def same(a: list[Result], b: list[Result]) -> bool:
    """Equal in every field, embeddings included, bit by bit."""
    return a == b and all(np.array_equal(p.embedding, q.embedding) for p, q in zip(a, b, strict=True))  # type: ignore[arg-type]


# What comes out


def test_a_clean_signal_gives_one_result_a_beat() -> None:
    results = run(ECG, [100] * 30)
    assert np.abs(np.array([r.t_anchor_s for r in results]) - PEAKS).max() < 0.012
    judged = [r for r in results if r.label is not None]
    assert len(judged) >= len(results) - 4
    for r in judged:
        assert r.flags == () and r.quality == 1.0 and r.adapter == "global"
        assert r.probability == max(r.probabilities) and abs(sum(r.probabilities) - 1) < 1e-12
        assert r.t_end_s - r.t_start_s == pytest.approx(249 / 125)
        assert r.t_end_s - r.t_anchor_s == pytest.approx(50 / 125)
        assert 0.4 <= r.delay_s < 0.7


def test_beats_without_a_past_or_a_future_are_flagged_and_withheld() -> None:
    results = run(ECG, [])
    early = [r for r in results if r.t_anchor_s < 249 / 125]
    assert early and all(r.flags == ("warming_up",) and r.label is None and r.quality == 0 for r in early)
    cut = run(ECG[:, : round((PEAKS[-1] + 0.1) * FS_HZ)], [])[-1]
    assert cut.t_anchor_s == pytest.approx(PEAKS[-1], abs=0.012)
    assert cut.flags == ("incomplete", "end") and cut.label is None and cut.embedding is None
    assert cut.t_end_s <= PEAKS[-1] + 0.11


def test_streamed_windows_are_the_windows_of_the_batch() -> None:
    spec, engine = contract(), ArithmeticEngine()
    run(ECG, [77] * 20, target=stream(engine=engine))
    x = resample(ECG, FS_HZ, 125.0)
    windows, kept = cut_windows(x, np.array([b.sample for b in detect_beats(x[0], 125.0)]), spec.window)
    assert len(kept) > 10
    assert np.array_equal(np.concatenate(engine.windows), windows)


def test_hop_trigger_judges_every_hop() -> None:
    results = run(ECG, [333] * 5, contract(trigger=HOP))
    assert [round(r.t_anchor_s * 125) for r in results] == list(range(124, 14 * 125, 125))
    assert [r.label is None for r in results] == [True, True] + [False] * 12
    assert results[0].flags == ("warming_up",)
    assert results[5].t_anchor_s == results[5].t_end_s


def test_the_first_timestamp_is_the_time_of_the_first_sample() -> None:
    plain, shifted = stream().push(ECG), stream().push(ECG, t=1000.0)
    assert [r.t_anchor_s + 1000 for r in plain] == pytest.approx([r.t_anchor_s for r in shifted])


def test_a_result_says_when_it_could_be_known() -> None:
    live = stream()
    for i in range(0, ECG.shape[1], 5):
        for r in live.push(ECG[:, i : i + 5]):
            assert i / FS_HZ - 1e-9 <= r.t_emitted_s < (i + 5) / FS_HZ + 1e-9


def test_low_probability_and_low_quality_are_withheld() -> None:
    unsure = run(ECG, [], contract(thresholds=Thresholds(min_quality=0.7, min_probability=1.0)))[5]
    assert unsure.label is None and unsure.flags == ("low_confidence",) and len(unsure.probabilities) == 3
    noisy = run(faults.noisy(ECG, 0.5, np.random.default_rng(0)), [])[6]
    assert noisy.label is None and "noisy" in noisy.flags and "low_quality" in noisy.flags
    assert noisy.probabilities == () and noisy.quality < 0.7


# Any chunking, several streams, snapshots


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(0, 600), max_size=40), seed=st.integers(0, 50), hops=st.booleans())
def test_any_chunking_gives_identical_results(sizes: list[int], seed: int, hops: bool) -> None:
    spec = contract(trigger=HOP) if hops else contract()
    assert same(run(hurt(seed), sizes, spec), run(hurt(seed), [], spec))


@settings(max_examples=10)
@given(sizes=st.lists(st.integers(1, 600), min_size=1, max_size=20), seed=st.integers(0, 50))
def test_two_interleaved_streams_equal_two_lone_ones(sizes: list[int], seed: int) -> None:
    signals = [hurt(seed), -hurt(seed + 1)]
    engine = ArithmeticEngine()
    lives: list[Stream] = [stream(engine=engine), stream(engine=engine)]
    lives[1].set_adapter({"slot": np.ones((1, 3), np.float32)}, "mine")
    found: list[list[Result]] = [[], []]
    start = 0
    for size in [*sizes, 4000]:
        for live, x, out in zip(lives, signals, found, strict=True):
            out += live.push(x[:, start : start + size])
        start += size
    lone = stream()
    lone.set_adapter({"slot": np.ones((1, 3), np.float32)}, "mine")
    assert same(found[0] + lives[0].flush(), run(signals[0], []))
    assert same(found[1] + lives[1].flush(), run(signals[1], [], target=lone))


@settings(max_examples=20)
@given(cut=st.integers(0, 3500), seed=st.integers(0, 50), gap=st.booleans())
def test_snapshot_and_restore_equal_an_unbroken_run(cut: int, seed: int, gap: bool) -> None:
    x, late = hurt(seed), 7.0 if gap else 0.0
    whole, first = stream(), stream()
    for live in (whole, first):
        live.set_adapter({"slot": np.full((1, 3), 0.5, np.float32)}, "mine")
        live.push(x[:, :900], 0.0)
    expected, results = [], []
    for live, out in ((whole, expected), (first, results)):
        out += live.push(x[:, 900 : 900 + cut], 900 / FS_HZ + late)
    state = pickle.loads(pickle.dumps(first.snapshot()))
    first.push(ECG)
    second = stream()
    second.push(ECG[:, :500])
    second.restore(state)
    for live, out in ((whole, expected), (second, results)):
        out += live.push(x[:, 900 + cut :]) + live.flush()
    assert same(results, expected)
    assert second.adapter_id == "mine"


def test_snapshots_hold_numbers_text_and_arrays_only() -> None:
    live = stream()
    live.push(ECG[:, :2000], 3.0)

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list):
            return all(plain(v) for v in value)
        return value is None or isinstance(value, (bool, int, float, str, np.ndarray))

    assert plain(live.snapshot())


def test_a_snapshot_leaves_nothing_out() -> None:
    x = faults.with_nan(faults.noisy(ECG, 0.1, np.random.default_rng(0)), 2480, 2520)
    first, second = stream(), stream()
    first.push(x[:, :1000], 3.0)
    first.push(x[:, 900:2500], 3.0 + 900 / FS_HZ)  # 100 samples twice; ends among the NaN
    state = first.snapshot()
    assert state["signal"]["lead"]["stretch"]["track"]["marks"]
    assert state["signal"]["lead"]["stretch"]["track"]["held"].any()
    second.restore(state)
    assert flat(second.snapshot()) == flat(state)
    assert same(second.push(x[:, 2500:]), first.push(x[:, 2500:]))


def flat(value: Any) -> Any:
    """A snapshot with lists for arrays, NaN included, so that it can be compared."""
    if isinstance(value, dict):
        return {key: flat(item) for key, item in value.items()}
    return repr(value.tolist()) if isinstance(value, np.ndarray) else value


def test_restores_only_what_fits() -> None:
    live = stream()
    live.push(ECG)
    state = live.snapshot()
    other = Stream(bundle(digest="b" * 64), fs_hz=FS_HZ, units="mV", resample="polyphase", engine=ArithmeticEngine())
    with pytest.raises(SnapshotError, match="bundle"):
        other.restore(state)
    with pytest.raises(SnapshotError, match="fs_hz"):
        stream(fs_hz=360.0).restore(state)
    for damaged in ({}, {**state, "signal": {}}, {**state, "signal": None}, {**state, "version": 99}):
        with pytest.raises(SnapshotError):
            live.restore(damaged)
    assert same(live.push(ECG), run_again(state)), "a refused snapshot changes nothing"


def run_again(state: dict[str, Any]) -> list[Result]:
    live = stream()
    live.restore(state)
    return live.push(ECG)


# What sensors and links do


@pytest.mark.parametrize("flag", ["nonfinite", "out_of_range", "flat", "clipped"])
def test_windows_that_were_not_measured_whole_are_never_judged(flag: str) -> None:
    x = {
        "nonfinite": faults.with_nan(ECG, 2000, 2001),
        "out_of_range": faults.spike(ECG, 2000, 1e30),
        "flat": faults.dropout(ECG, 2000, 2100),
        "clipped": np.concatenate([ECG[:, :2000], faults.saturated(ECG[:, 2000:], -10, 0.4)], axis=1),
    }[flag]
    results = run(x, [])
    assert any(flag in r.flags for r in results)
    assert all(r.label is None for r in results if set(r.flags) & set(HARD))
    assert any(r.label is not None for r in results)


@pytest.mark.parametrize("at", range(1500, 1700, 13))
def test_a_fault_is_seen_exactly_where_the_model_could_see_it(at: int) -> None:
    reach_s, t = 20 / FS_HZ, at / FS_HZ  # the resampler looks 20 samples to both sides
    seen = {True: 0, False: 0}
    for r in run(faults.with_nan(ECG, at, at + 1), []):
        first, last = r.t_anchor_s - 249 / 125 - reach_s, r.t_anchor_s + 50 / 125 + reach_s
        if r.quality == 0 or min(abs(t - first), abs(t - last)) < 0.009:
            continue  # no window, or at the very edge
        assert ("nonfinite" in r.flags) == (first <= t <= last)
        seen["nonfinite" in r.flags] += 1
    assert seen[True] >= 2 and seen[False] >= 5


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_nothing_a_sensor_sends_raises_or_is_judged_with_confidence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    live, live_time = stream(), 0.0
    for _ in range(12):
        x = synthetic_ecg(FS_HZ, 2.0, seed=int(rng.integers(100)))[0]
        kind = int(rng.integers(7))
        if kind == 0:
            x[:] = rng.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0], x.shape)
        elif kind == 1:
            x = rng.standard_normal(x.shape) * 10.0 ** rng.integers(-6, 300)
        elif kind == 2:
            live_time += float(rng.choice([-1e9, -3.0, 0.2, 5.0, 1e9]))
        elif kind == 3:
            x = x[:, : int(rng.integers(0, 5))]
        elif kind == 4:
            x[:] = np.float32(rng.normal())
        t = [live_time, None, np.nan][int(rng.integers(3))]
        results = live.push(x, t)
        live_time += x.shape[1] / FS_HZ
        for r in results:
            assert 0.0 <= r.quality <= 1.0
            assert r.label is None or not set(r.flags) & {*HARD, "low_quality", "warming_up", "incomplete"}
    live.flush()


def test_a_gap_ends_the_stretch_and_no_window_spans_it() -> None:
    live = stream()
    results = live.push(ECG[:, :1500], 10.0)
    results += live.push(ECG[:, 1500:], 10.0 + 1500 / FS_HZ + 3.0)
    results += live.flush()
    gap = (16.0, 19.0)
    assert all(r.t_end_s <= gap[0] or r.t_start_s >= gap[1] for r in results)
    after = [r for r in results if r.t_anchor_s > gap[1]]
    assert after[0].flags == ("warming_up", "gap") and after[0].label is None
    assert after[-4].label is not None and after[-4].flags == ()
    before = [r for r in results if r.t_anchor_s < gap[0]]
    assert all("gap" in r.flags for r in before if r.t_anchor_s + 0.4 > gap[0])
    anchors = [r.t_anchor_s for r in results]
    assert anchors == sorted(anchors)


def test_what_is_sent_twice_counts_once() -> None:
    parts = list(faults.chunks(ECG, FS_HZ, [250]))
    once, twice = stream(), stream()
    expected = [r for x, t in parts for r in once.push(x, t)]
    found = [r for x, t in faults.repeated(parts, [4, 9]) for r in twice.push(x, t)]
    assert [replace(r, flags=()) for r in found] == [replace(r, flags=()) for r in expected]
    assert any("duplicate" in r.flags and r.label is not None for r in found)


def test_chunks_that_overlap_are_joined_where_they_agree() -> None:
    live = stream()
    found = live.push(ECG[:, :2000], 0.0) + live.push(ECG[:, 1800:], 1800 / FS_HZ)
    assert [r.t_anchor_s for r in found] == [r.t_anchor_s for r in stream().push(ECG)]


def test_a_clock_turned_back_begins_a_new_stretch() -> None:
    live = stream()
    parts = faults.clock_set(faults.chunks(ECG, FS_HZ, [500]), 4, -3600.0)
    results = [r for x, t in parts for r in live.push(x, t)]
    back = [r for r in results if r.t_anchor_s < 0]
    assert back and back[0].flags == ("warming_up", "clock_backward")


def test_a_wrong_rate_shows_as_drift() -> None:
    live = stream()
    results = [r for x, t in faults.chunks(np.tile(ECG, 4), FS_HZ, [100]) for r in live.push(x, 1.02 * t)]
    assert "drift" in results[-1].flags and live.drift_ppm == pytest.approx(20_000, rel=0.1)


def test_a_bad_timestamp_is_flagged_and_harmless() -> None:
    live = stream()
    results = live.push(ECG[:, :1500], 0.0) + live.push(ECG[:, 1500:], float("nan"))
    assert [r.t_anchor_s for r in results] == [r.t_anchor_s for r in stream().push(ECG)]
    assert any("bad_time" in r.flags and r.label for r in results)


def test_an_engine_that_fails_gives_flags_and_the_stream_goes_on() -> None:
    engine = ArithmeticEngine()
    live = stream(engine=engine)
    engine.broken = True
    failed = live.push(ECG[:, :2000])
    assert failed[-1].flags == ("engine_error",) and failed[-1].label is None
    engine.broken = False
    assert live.push(ECG[:, 2000:])[-1].label is not None


# What programmers do


def test_says_at_once_what_does_not_fit_the_contract() -> None:
    for wrong, error, hint in (
        ({"resample": None}, SampleRateMismatch, "polyphase"),
        ({"resample": "linear"}, SignalError, "polyphase"),
        ({"fs_hz": 0.0}, SampleRateMismatch, "positive"),
        ({"fs_hz": float("nan")}, SampleRateMismatch, "positive"),
        ({"units": "uV"}, UnitMismatch, "mV"),
        ({"channels": ("V5",)}, ChannelMismatch, "MLII"),
        ({"channels": ("MLII", "MLII")}, ChannelMismatch, "once"),
    ):
        with pytest.raises(error, match=hint):
            stream(**wrong)
    with pytest.raises(ContractError, match="hop"):
        stream(contract(sensors=(replace(SENSOR, modality="ppg"),)))


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros(100, np.float32),
        np.zeros((100, 1), np.float32),
        np.zeros((1, 1, 100), np.float32),
        np.zeros((1, 100), np.int16),
        np.zeros((1, 100), np.complex64),
        np.array([["a"]]),
        [[0.0]],
        None,
    ],
)
def test_a_chunk_of_another_shape_raises_and_loses_nothing(chunk: Any) -> None:
    live = stream()
    results = live.push(ECG[:, :1800], 0.0)
    with pytest.raises(ShapeError, match="expected float32"):
        live.push(chunk, 99.0)
    results += live.push(ECG[:, 1800:], 1800 / FS_HZ) + live.flush()
    assert same(results, run(ECG, []))


def test_takes_double_precision_and_named_rows() -> None:
    expected = run(ECG, [])
    assert same(run(ECG.astype(np.float64), []), expected)
    two = np.concatenate([np.zeros_like(ECG), ECG])
    assert same(run(two, [], target=stream(channels=("V5", "MLII"))), expected)


def test_other_sensors_and_closed_streams_are_refused() -> None:
    with stream() as live:
        assert live.push(ECG[:, :10], sensor="ecg") == []
        with pytest.raises(UnknownSensor, match="ecg"):
            live.push(ECG, sensor="ppg")
    with pytest.raises(SignalError, match="closed"):
        live.push(ECG)


def test_reset_begins_anew() -> None:
    live = stream()
    live.push(ECG[:, :1234], 5.0)
    live.reset()
    assert same(run(ECG, [], target=live), run(ECG, []))


def test_adapters_change_between_windows_and_bad_ones_are_refused() -> None:
    live = stream()
    live.push(ECG[:, :2000])
    good = {SLOT.name: np.array([[9.0, 0.0, 0.0]], np.float32)}
    live.set_adapter(good, "ada")
    good[SLOT.name][:] = np.nan  # ours is a copy
    with pytest.raises(NonFiniteAdapter):
        live.set_adapter(good, "bad")
    with pytest.raises(SlotMismatch):
        live.set_adapter({}, "bad")
    mine = [r for r in live.push(ECG[:, 2000:]) if r.label]
    assert {r.adapter for r in mine} == {"ada"} and all(r.probability > 0.9 for r in mine)
    live.set_adapter(None)
    assert live.adapter_id == "global"


def test_a_bias_moves_the_answer_with_slots_and_without() -> None:
    live = stream()
    plain = [r for r in live.push(ECG[:, :2000]) if r.label]
    bias = np.array([40.0, 0.0, 0.0], np.float32)
    live.set_adapter({BIAS: bias}, "centred")
    bias[:] = np.nan  # ours is a copy
    moved = [r for r in live.push(ECG[:, 2000:2800]) if r.label]
    assert {r.label for r in moved} == {live.contract.labels[0]} != {r.label for r in plain}
    again = stream()
    again.push(ECG[:, :2000])
    state = live.snapshot()
    again.restore(state)
    assert again.adapter_id == "centred"
    assert same(live.push(ECG[:, 2800:]), again.push(ECG[:, 2800:]))
    live.set_adapter({SLOT.name: np.array([[9.0, 0.0, 0.0]], np.float32), BIAS: np.zeros(3, np.float32)}, "both")
    for wrong in (np.zeros(2, np.float32), np.zeros(3)):
        with pytest.raises(SlotMismatch, match=r"head\.bias"):
            live.set_adapter({BIAS: wrong}, "bad")
    with pytest.raises(NonFiniteAdapter):
        live.set_adapter({BIAS: np.array([0.0, np.nan, 0.0], np.float32)}, "bad")
    assert live.adapter_id == "both"


def test_runs_a_real_bundle(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the tiny bundle is built with onnx")
    from physioedge_runtime import Bundle
    from physioedge_runtime.bundle.signing import public_key
    from tiny_bundle import PRIVATE_KEY, write_tiny_bundle

    write_tiny_bundle(tmp_path / "tiny.physio")
    opened = Bundle.open(tmp_path / "tiny.physio", trust=public_key(PRIVATE_KEY))
    with Stream(opened, fs_hz=FS_HZ, units="mV", resample="polyphase", precision="fp32", adapters="slots") as live:
        results = live.push(ECG)
    assert sum(r.label in ("N", "S", "V") for r in results) > 10


def test_the_public_names_are_sorted_and_there() -> None:
    import physioedge_runtime

    assert physioedge_runtime.__all__ == sorted(physioedge_runtime.__all__)
    for name in physioedge_runtime.__all__:
        assert getattr(physioedge_runtime, name).__name__ == name
    assert physioedge_runtime.Stream is Stream
    with pytest.raises(AttributeError):
        physioedge_runtime.Strem  # noqa: B018
