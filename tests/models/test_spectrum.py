import pytest
import torch

from physioedge.models.spectrum import GRID_BPM, MULTIPLES, PowerSpectrum
from physioedge_runtime.errors import ShapeError


def tone(rate_bpm, fs_hz, n=640, size=1.0):
    t = torch.arange(n) / fs_hz
    return size * torch.sin(2 * torch.pi * rate_bpm / 60 * t + 0.3)[None, None]


def blocks(spectrum, x):
    return spectrum(x).reshape(x.shape[0], x.shape[1], len(MULTIPLES), len(GRID_BPM))


@pytest.mark.parametrize("fs_hz", [32.0, 64.0])
@pytest.mark.parametrize("rate_bpm", [44.0, 90.0, 196.0])
def test_a_tone_stands_at_its_rate_and_at_half_and_twice_of_it(fs_hz, rate_bpm):
    power = blocks(PowerSpectrum(fs_hz), tone(rate_bpm, fs_hz))[0, 0].numpy()
    assert abs(GRID_BPM[power[0].argmax()] - rate_bpm) <= 2
    assert power[0].max() == pytest.approx(0.25, rel=0.05)  # half the size, squared
    for multiple, row in zip(MULTIPLES, power, strict=True):
        if GRID_BPM[0] <= rate_bpm / multiple <= GRID_BPM[-1]:
            assert abs(GRID_BPM[row.argmax()] - rate_bpm / multiple) <= 2
        else:
            assert row.max() < 0.26


def test_level_and_drift_leave_no_trace():
    spectrum = PowerSpectrum(64.0)
    x = tone(90.0, 64.0)
    drifting = x + 30_000 + 5 * torch.arange(640) / 64
    assert torch.allclose(spectrum(drifting), spectrum(x), atol=2e-4)
    assert float(spectrum(drifting - x).max()) < 1e-4


def test_what_lies_above_the_band_does_not_fold_into_it():
    spectrum = PowerSpectrum(64.0)
    assert float(spectrum(tone(60 * 15.0, 64.0)).max()) < 1e-4  # 15 Hz would be seen at 1 Hz


def test_only_the_newest_samples_count():
    spectrum = PowerSpectrum(32.0)
    x = torch.randn(2, 3, 320)
    changed = x.clone()
    changed[:, :, : 320 - spectrum.input_samples] = 9.0
    assert torch.equal(spectrum(x), spectrum(changed))
    assert spectrum.input_samples <= 8.6 * 32


@pytest.mark.parametrize("fs_hz", [16.0, 25.0, 50.0])
def test_other_rates_are_refused(fs_hz):
    with pytest.raises(ShapeError, match="Resample"):
        PowerSpectrum(fs_hz)
