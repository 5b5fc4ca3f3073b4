"""Heart rate by counting peaks: R peaks of an ECG or pulse peaks of a PPG, found by NeuroKit2 window by window.

Source: Makowski et al., NeuroKit2, Behavior Research Methods 53:1689-1696, 2021: its default cleaning and peak finding.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.windowed import CANONICAL_HZ, TaskWindows
from physioedge_runtime.errors import MissingExtra

LEAST_PEAKS = 3
"""With fewer the answer is the median rate of the people fitted on."""


def fit_predict(train: TaskWindows, test: TaskWindows, seed: int) -> NDArray[np.float64]:
    """Rates (n, 1) in bpm by the mean interval between the peaks in a window; nothing is fitted.

    Of several channels the first is read; the past before a window is cleaned with it and not counted.

    Raises
    ------
    MissingExtra
        NeuroKit2 is not installed.
    """
    neurokit, sensor = _neurokit(), test.task.sensors[0]
    fs_hz, floor = CANONICAL_HZ[sensor], float(np.median(train.target))
    first = round(test.context_s * fs_hz)
    rates = [_rate(neurokit, sensor, x[0].astype(np.float64), fs_hz, first) for x in test.samples[sensor]]
    found = np.array(rates, np.float64)
    return np.where(np.isfinite(found), found, floor)[:, None]


def _rate(neurokit: Any, sensor: str, x: NDArray[np.float64], fs_hz: float, first: int) -> float:
    try:
        with warnings.catch_warnings():  # of windows with too little in them
            warnings.simplefilter("ignore")
            if sensor == "ecg":
                clean = neurokit.ecg_clean(x, sampling_rate=fs_hz)
                peaks = np.asarray(neurokit.ecg_peaks(clean, sampling_rate=fs_hz)[1]["ECG_R_Peaks"])
            else:
                clean = neurokit.ppg_clean(x, sampling_rate=fs_hz)
                peaks = np.asarray(neurokit.ppg_findpeaks(clean, sampling_rate=fs_hz)["PPG_Peaks"])
    except (ValueError, IndexError, ZeroDivisionError):  # it finds nothing to work on
        return float("nan")
    inside = peaks[peaks >= first]
    if len(inside) < LEAST_PEAKS:
        return float("nan")
    return float(60.0 * fs_hz * (len(inside) - 1) / (inside[-1] - inside[0]))


def _neurokit() -> Any:
    try:
        with warnings.catch_warnings():  # it imports what scipy has deprecated
            warnings.simplefilter("ignore")
            return importlib.import_module("neurokit2")
    except ModuleNotFoundError as error:
        raise MissingExtra("no neurokit2", "the extra 'rivals'", "pip install 'physioedge[rivals]'") from error
