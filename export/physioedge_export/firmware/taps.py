"""The rate converter as C tables, with a signal and what the runtime makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from physioedge_export.firmware.c_text import c_array, c_double, c_guard, c_text
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import ExportError
from physioedge_runtime.signal.resample import design_bank, rational_ratio, resample

NAME = "physio_resampler.h"
MAX_TAPS = 1 << 16
LIMIT = 2e-6
"""Of a signal of unit size: single precision sums some hundred products."""
_TEST_S = 1.0
_TYPES = """\
#define PHYSIO_N_BANKS {n}
#define PHYSIO_RESAMPLING_LIMIT {limit}

typedef struct physio_resampling {{
  const float *in;
  size_t n_in;
  const float *out; /* what the runtime gives of it */
  size_t n_out;
}} physio_resampling;

extern const physio_bank physio_banks[{room}];
extern const physio_resampling physio_resamplings[{room}];
"""


def resampler_files(contract: Contract, from_hz: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """``physio_resampler.h`` and ``.c``: a bank for each rate that a sensor may have.

    Parameters
    ----------
    contract : Contract
    from_hz : mapping of sensor to rates
        Rates at which the device samples; none for a sensor that has the contract's rate.

    Raises
    ------
    UnknownSensor
        The contract has no such sensor.
    SampleRateMismatch
        No ratio of whole numbers leads from a rate to the contract's.
    ExportError
        A filter takes too many taps for a device.
    """
    tables, banks, tests = [], [], []
    pairs = [(name, hz) for name, rates in from_hz.items() for hz in rates if hz != contract.sensor_named(name).fs_hz]
    for index, (name, hz) in enumerate(pairs):
        to_hz = contract.sensor_named(name).fs_hz
        up, down = rational_ratio(hz, to_hz)
        bank = design_bank(up, down)
        if up * bank.taps > MAX_TAPS:
            came = f"{up * bank.taps} taps for {hz:g} to {to_hz:g} Hz"
            raise ExportError(came, f"at most {MAX_TAPS}", "Sample at a rate with a simpler ratio to the contract's.")
        signal = _test_signal(hz)
        out = resample(signal[None], hz, to_hz)[0]
        tables += [
            c_array(f"static const uint32_t newest_{index}[{up}]", bank.newest[:up]),
            c_array(f"static const float taps_{index}[{up * bank.taps}]", bank.coefficients[:up].astype(np.float32)),
            c_array(f"static const float in_{index}[{signal.size}]", signal),
            c_array(f"static const float out_{index}[{out.size}]", out),
        ]
        banks.append(
            f"{{{c_text(name)}, {c_double(hz)}, {c_double(to_hz)}, {up}, {down}, {bank.half}, {bank.taps}, "
            f"newest_{index}, taps_{index}}}"
        )
        tests.append(f"{{in_{index}, {signal.size}, out_{index}, {out.size}}}")
    room = max(1, len(pairs))
    types = _TYPES.format(n=len(pairs), limit=LIMIT, room=room)
    about = "Rate converters: for each rate a device samples at, a polyphase filter of its own."
    head = f'#include <stddef.h>\n#include <stdint.h>\n\n#include "kit/resampler.h"\n\n{types}'
    body = [
        '#include "physio_resampler.h"\n',
        *tables,
        c_array(f"const physio_bank physio_banks[{room}]", banks or ["{0}"]),
        c_array(f"const physio_resampling physio_resamplings[{room}]", tests or ["{0}"]),
    ]
    return {NAME: c_guard(NAME, about, head), "physio_resampler.c": "\n".join(body)}


def _test_signal(fs_hz: float) -> NDArray[np.float32]:
    """A sweep with steps, from a seed: what a filter does at every frequency and at an edge."""
    t = np.arange(round(_TEST_S * fs_hz) + 7) / fs_hz
    sweep = np.sin(2 * np.pi * (1 + 0.25 * fs_hz * t / _TEST_S) * t)
    steps = np.repeat(np.random.default_rng(7).uniform(-1, 1, 16), -(-t.size // 16))[: t.size]
    return (0.5 * sweep + 0.5 * steps).astype(np.float32)
