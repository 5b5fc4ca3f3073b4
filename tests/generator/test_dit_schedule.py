"""Schedule and sampler of the diffusion transformer, beside those of diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from physioedge.generator.dit.schedule import LINEAR, TIMES, Schedule, sample_times

NAMES = {"cosine": "squaredcos_cap_v2", "linear": "linear"}
MEANINGS = {"x0": "sample", "v": "v_prediction"}


def reference(name, predicts):
    return DDIMScheduler(
        num_train_timesteps=TIMES, beta_start=LINEAR[0], beta_end=LINEAR[1], beta_schedule=NAMES[name],
        prediction_type=MEANINGS[predicts], clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing",
    )  # fmt: skip


def predict(x, time):
    """Some function of values and time, with no meaning."""
    return torch.sin(3 * x) + 0.1 * x.roll(1, 1) - time / TIMES


@pytest.fixture
def values():
    draw = torch.Generator().manual_seed(3)
    return torch.randn(5, 7, generator=draw), torch.randn(5, 7, generator=draw)


@pytest.mark.parametrize("name", NAMES)
def test_noise_by_time_is_theirs(name, values):
    clean, noise = values
    theirs, ours, times = reference(name, "v"), Schedule(name, "v"), torch.tensor([0, 1, 250, 700, 999])
    torch.testing.assert_close(ours.kept().float(), theirs.alphas_cumprod, rtol=2e-4, atol=1e-8)
    torch.testing.assert_close(ours.noised(clean, noise, times), theirs.add_noise(clean, noise, times))
    torch.testing.assert_close(ours.target(clean, noise, times), theirs.get_velocity(clean, noise, times))
    assert Schedule(name, "x0").target(clean, noise, times) is clean


@pytest.mark.parametrize("steps", [1, 2, 4, 10, 50])
@pytest.mark.parametrize("predicts", MEANINGS)
@pytest.mark.parametrize("name", NAMES)
def test_sampling_is_theirs(name, predicts, steps, values):
    theirs, x = reference(name, predicts), values[1]
    theirs.set_timesteps(steps)
    assert sample_times(steps) == theirs.timesteps.tolist()
    for time in theirs.timesteps:
        x = theirs.step(predict(x, time), time, x, eta=0.0).prev_sample
    torch.testing.assert_close(Schedule(name, predicts).sample(predict, values[1], steps), x, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("predicts", MEANINGS)
def test_who_knows_the_clean_values_gets_them_back(predicts, values):
    clean, noise = values
    schedule = Schedule("cosine", predicts)

    def oracle(x, time):
        signal, spread = schedule.levels(torch.tensor(time))
        return clean if predicts == "x0" else schedule.target(clean, (x - signal * clean) / spread, times(time))

    def times(time):
        return torch.full((len(clean),), time)

    for steps in (1, 4, 50):
        torch.testing.assert_close(schedule.sample(oracle, noise, steps), clean, rtol=1e-3, atol=1e-3)
