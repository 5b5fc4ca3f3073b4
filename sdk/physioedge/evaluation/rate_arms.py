"""The arms of heart rate on the network of spectra and backbone: window by window, followed, and followed 8 s late.

One fit serves several arms: what it says of the judged person is kept as logits over the rates.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from physioedge.adapters.fitting import FULL, GLOBAL, PROBE
from physioedge.adapters.rate.fitting import RateFit, fit_on, fit_spectral, logits_of, rate_layout
from physioedge.evaluation.backbone_arms import Setting
from physioedge.evaluation.metrics import softmax
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.models.rate import SHARPNESS, SpectralRate
from physioedge.models.spectrum import GRID_BPM
from physioedge.signals.rate_tracker import Steps, tracked_rates
from physioedge.tasks.windowed import TaskWindows

CONFIG = RateFit()
LAG_WINDOWS = 4
"""Windows come every 2 s: an answer 8 s late."""
NO_BACKBONE = "nobackbone"
STEPS = Steps(scale_bpm=3.0, leak=0.003, power=1.0)
"""A rate that moves goes on moving the same way, which the tracker does not know: its steps are wider than theirs."""
FLOOR = 0.01
"""Added to the probabilities, so that one window alone never rules a rate out."""

Float = NDArray[np.float64]


def settings_of(task: str, variant: str = "") -> dict[str, Any]:
    """How the network is fitted, as plain values; the trackers are no part of a fit, and there are no variants."""
    return {"task": task, "fit": asdict(CONFIG)}


def of_window(
    train: TaskWindows, test: TaskWindows, seed: int, *, setting: Setting, how: str, channels: int | None = None
) -> Float:
    """Rates (n, 1) in bpm, each from its own window alone, read off as in the exported graph.

    Parameters
    ----------
    train, test : TaskWindows
    seed : int
    setting : Setting
    how : str
        ``global``, ``probe`` or ``full``, or `NO_BACKBONE`.
    channels : int, optional
        Looks at the first so many PPG channels; at all of them by default.
    """
    return softmax(SHARPNESS * _logits(train, test, seed, how, setting)[:channels].mean(0)) @ GRID_BPM[:, None]


def followed(
    train: TaskWindows,
    test: TaskWindows,
    seed: int,
    *,
    setting: Setting,
    how: str,
    lag: int,
    channels: int | None = None,
) -> Float:
    """Rates (n, 1) in bpm, each from its own window, those before it, and `lag` windows after it."""
    said = softmax(_logits(train, test, seed, how, setting)[:channels].mean(0)) + FLOOR
    return tracked_rates(said, test.record, GRID_BPM, STEPS, lag)[:, None]


global_adapter = partial(of_window, how=GLOBAL)
global_forward = partial(followed, how=GLOBAL, lag=0)
global_lag8s = partial(followed, how=GLOBAL, lag=LAG_WINDOWS)
global_ppg1 = partial(of_window, how=GLOBAL, channels=1)
global_ppg1_forward = partial(followed, how=GLOBAL, lag=0, channels=1)
probe = partial(of_window, how=PROBE)
full = partial(of_window, how=FULL)
no_backbone = partial(of_window, how=NO_BACKBONE)
no_backbone_forward = partial(followed, how=NO_BACKBONE, lag=0)
no_backbone_lag8s = partial(followed, how=NO_BACKBONE, lag=LAG_WINDOWS)


def _logits(train: TaskWindows, test: TaskWindows, seed: int, how: str, setting: Setting) -> Float:
    """Logits (PPG channel, n, rate), from the cache where the fit is finished."""
    name = f"{'-'.join(sorted(train.samples))}-seed{seed}-fold{setting.fold}"
    path = setting.cache / f"{how}-{name}.npz"
    if not path.exists():
        layout = rate_layout(train, read_config(setting.backbone))
        backbone = load_backbone(setting.backbone, layout)[0]
        first = _first(train, backbone, seed, setting.cache / f"first-{name}.safetensors")
        fitted = fit_on(first, backbone, train, CONFIG, None if how == NO_BACKBONE else how, seed=seed)
        network = fitted.base_model.model if how == GLOBAL else fitted
        part = path.with_suffix(".part.npz")
        np.savez(part, logits=logits_of(network, test, backbone))
        part.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file["logits"], np.float64)


def _first(train: TaskWindows, backbone: Backbone, seed: int, path: Path) -> SpectralRate:
    """What all ways to fit start from, from the cache where it is finished."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        save_file(fit_spectral(train, backbone, CONFIG, seed=seed).state_dict(), part)
        part.replace(path)
    spectral = SpectralRate(acc="acc" in train.samples)
    spectral.load_state_dict(load_file(path))
    return spectral
