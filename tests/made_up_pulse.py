"""Runs with a pulse and a movement of the same shape and known rates, so that heart rate fits in tests take seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from physioedge.tasks import heart_rate
from windows_made_up import windows_of

WINDOW_S, CONTEXT_S, HOP_S = 8.0, 2.0, 2.0


def run_samples(rate_bpm, cadence_bpm, rng):
    """PPG (2, sample) at 64 Hz, its second channel with more movement, and accelerometer (3, sample) in g at 32 Hz."""
    duration_s = CONTEXT_S + WINDOW_S + HOP_S * (len(rate_bpm) - 1)
    middle_s = CONTEXT_S + WINDOW_S / 2 + HOP_S * np.arange(len(rate_bpm))

    def phase(bpm, fs_hz):
        t = np.arange(round(duration_s * fs_hz)) / fs_hz
        return 2 * np.pi * np.cumsum(np.interp(t, middle_s, bpm)) / 60 / fs_hz

    def wave(bpm, fs_hz):
        angle = phase(bpm, fs_hz)
        return np.sin(angle) + 0.4 * np.sin(2 * angle + 0.5)

    pulse, steps = wave(rate_bpm, 64.0), wave(cadence_bpm, 64.0)
    ppg = np.stack([pulse + steps, pulse + 1.5 * steps])
    acc = np.outer([0.3, 0.2, -0.1], wave(cadence_bpm, 32.0)) + np.array([[0.0], [0.6], [0.8]])
    return 100 * (ppg + 0.1 * rng.standard_normal(ppg.shape)) + 2000, acc + 0.01 * rng.standard_normal(acc.shape)


def made_up_runs(rates, cadences, seed=0):
    """Windows of one run a person: rates and cadences in bpm by person, one value a window."""
    rng = np.random.default_rng(seed)
    ppg, acc, target, people = [], [], [], []
    for person, rate in rates.items():
        p, a = run_samples(rate, cadences[person], rng)
        for i, value in enumerate(rate):
            first = HOP_S * i
            ppg.append(p[:, round(first * 64) : round(first * 64) + 640])
            acc.append(a[:, round(first * 32) : round(first * 32) + 320])
            target.append(value)
            people.append(person)
    samples = {"ppg": np.stack(ppg), "acc": np.stack(acc)}
    start_s = CONTEXT_S + HOP_S * np.concatenate([np.arange(len(rate)) for rate in rates.values()])
    values = np.array(target, np.float32)[:, None]
    return replace(windows_of(heart_rate.TASK, values, people, samples=samples, context_s=CONTEXT_S), start_s=start_s)


def three_people(n=30):
    """Rates that cross the cadence, meet it and stay away from it."""
    ramp = np.linspace(0.0, 1.0, n)
    rates = {"a": 70 + 60 * ramp, "b": 150 - 50 * ramp, "c": 100 + 20 * np.sin(5 * ramp)}
    cadences = {"a": np.full(n, 100.0), "b": 160 + 10 * ramp, "c": np.full(n, 140.0)}
    return made_up_runs(rates, cadences)
