import json

import numpy as np
import pytest
import torch

from made_up_pulse import made_up_runs, three_people
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.lora.files import load_network
from physioedge.adapters.lora.inject import shared_a
from physioedge.adapters.rate.draws import RateDraw, tracks_of
from physioedge.adapters.rate.fitting import RateFit, fit_on, fit_spectral, logits_of, loss_of, rate_layout
from physioedge.adapters.rate.run import train_rate
from physioedge.models.rate import RateNetwork
from physioedge.models.spectrum import GRID_BPM, PowerSpectrum
from physioedge.tasks import heart_rate
from physioedge.tasks.windowed import chosen
from physioedge_runtime.errors import BackboneMismatch, ShapeError
from tiny_training import tiny_backbone, tiny_config, write_backbone

LENGTHS = {"ppg": 632, "acc": 288}
QUICK = RateFit(
    spectral_steps=120, spectral_batch=24, steps=10, batch=8, learning_rate=3e-3, pace=1.3, lora=LoraShape(rank=2)
)


@pytest.fixture(scope="module")
def runs():
    return three_people()


@pytest.fixture(scope="module")
def ab(runs):
    return chosen(runs, runs.subject != "c")


@pytest.fixture(scope="module")
def backbone(runs):
    return tiny_backbone(layout=rate_layout(runs, tiny_config()))


@pytest.fixture(scope="module")
def spectral(ab, backbone):
    return fit_spectral(ab, backbone, QUICK, seed=0)


def errors(network, windows, backbone):
    logits = logits_of(network, windows, backbone).mean(0)
    return np.abs(GRID_BPM[logits.argmax(1)] - windows.target[:, 0])


def test_runs_are_put_together_again_from_their_windows(runs):
    tracks = tracks_of(runs)
    assert len(tracks) == 3
    for track, person in zip(tracks, "abc", strict=True):
        here = runs.subject == person
        for i in (0, 7, 29):
            end = round(track.end_s[i] * 64)
            assert np.array_equal(track.samples["ppg"][:, end - 640 : end], runs.samples["ppg"][here][i])
            end = round(track.end_s[i] * 32)
            assert np.array_equal(track.samples["acc"][:, end - 320 : end], runs.samples["acc"][here][i])
        assert np.allclose(track.rate_bpm, runs.target[here, 0])


def test_a_gap_starts_another_track(runs):
    holed = chosen(runs, np.arange(len(runs.target)) != 10)
    assert [len(track.end_s) for track in tracks_of(holed)] == [10, 19, 30, 30]


@pytest.mark.parametrize("pace", [1.0, 1.5])
def test_draws_carry_the_rate_of_the_pace_they_are_played_at(pace):
    """A clean pulse at any pace has its spectral peak at the rate that the draw says."""
    slow = made_up_runs({"a": np.full(30, 80.0)}, {"a": np.full(30, 130.0)})
    slow = chosen(slow, np.ones(30, bool))
    draws = RateDraw(slow, {"ppg": 632, "acc": 288}, pace)
    signals, rate = draws.batch(64, np.random.default_rng(0))
    assert [x.shape for x in signals] == [(64, 1, 632), (64, 3, 288)]
    assert all(x.dtype == np.float32 for x in signals)
    assert (rate.min() < 65 and rate.max() > 105) if pace > 1 else np.allclose(rate, 80)
    motion = PowerSpectrum(32.0)(torch.from_numpy(signals[1])).sum(1)[:, : len(GRID_BPM)]
    cadence = rate * 130 / 80
    seen = cadence < 190
    assert seen.sum() > 30
    assert np.abs(GRID_BPM[motion.argmax(1).numpy()] - cadence)[seen].max() <= 3


def test_draws_follow_a_rate_that_changes():
    """The rate is that of the middle of what is played, also where the window is longer or shorter in the run."""
    ramp = made_up_runs({"a": 80 + 2.0 * np.arange(30)}, {"a": np.full(30, 50.0)})
    quiet = chosen(ramp, np.ones(30, bool), ("acc",))
    signals, rate = RateDraw(quiet, {"ppg": 632}, 1.3).batch(200, np.random.default_rng(1))
    power = PowerSpectrum(64.0)(torch.from_numpy(signals[0]))[:, 0, : len(GRID_BPM)]
    power[:, torch.from_numpy(GRID_BPM) < 120] = 0.0  # the movement and its second harmonic
    seen = (rate > 140) & (rate < 170)
    assert seen.sum() > 20
    assert np.abs(GRID_BPM[power.argmax(1).numpy()] - rate)[seen].max() < 6


def test_turns_keep_gravity(runs):
    signals, _ = RateDraw(runs, LENGTHS, 1.0).batch(50, np.random.default_rng(0))
    mean = signals[1].mean(2)
    assert np.allclose(np.linalg.norm(mean, axis=1), 1.0, atol=0.1)
    assert mean.std(0).min() > 0.3


def test_draws_repeat_with_their_seed(runs):
    draws = RateDraw(runs, LENGTHS, 1.3)
    one, same, other = (draws.batch(4, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one[0][0], same[0][0])
    assert np.array_equal(one[1], same[1])
    assert not np.array_equal(one[0][0], other[0][0])


def test_the_loss_is_least_at_the_true_rate():
    logits = torch.from_numpy(-0.5 * ((GRID_BPM[None] - np.array([[80.0], [120.0]])) / 3) ** 2).float()
    right, wrong = (float(loss_of(logits, torch.tensor(rates), 3.0)) for rates in ([80.0, 120.0], [120.0, 80.0]))
    assert right < 2.2 < wrong


def test_spectra_learn_to_tell_a_pulse_from_steps(runs, backbone, spectral):
    unseen = chosen(runs, runs.subject == "c")
    assert errors(spectral, unseen, backbone).mean() < 4
    torch.manual_seed(0)
    untrained = type(spectral)(acc=True)
    assert errors(untrained, unseen, backbone).mean() > 15


def test_the_adapter_moves_b_and_the_head_alone(ab, backbone, spectral):
    before = {name: value.clone() for name, value in backbone.named_parameters()}
    wrapped = fit_on(spectral, backbone, ab, QUICK, "global", seed=0)
    trained = {name for name, p in wrapped.named_parameters() if p.requires_grad}
    assert trained
    assert all(".lora_B." in name or ".modules_to_save." in name for name in trained)
    assert any("over_rates" in name for name in trained)
    for name, value in wrapped.named_parameters():
        layer = name.removeprefix("base_model.model.")
        if ".lora_B." in name:
            assert float(value.detach().abs().max()) > 0
        elif ".lora_A." in name:
            assert torch.equal(value, shared_a(layer.split(".lora_A.")[0], 2, value.shape[1], QUICK.lora.seed))
        elif ".base_layer." in name:
            assert torch.equal(value, before[layer.removeprefix("backbone.").replace(".base_layer", "")])
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_parameters())


@pytest.mark.parametrize("how", ["probe", "full", None])
def test_other_ways_to_fit_move_what_they_should(ab, backbone, spectral, how):
    kept = {name: value.clone() for name, value in spectral.state_dict().items()}
    network = fit_on(spectral, backbone, ab, QUICK, how, seed=0)
    assert all(torch.equal(value, kept[name]) for name, value in spectral.state_dict().items())
    if how is None:
        assert not torch.equal(network.over_rates[0].weight, spectral.over_rates[0].weight)
        return
    assert isinstance(network, RateNetwork)
    same = [torch.equal(a, b) for a, b in zip(network.backbone.parameters(), backbone.parameters(), strict=True)]
    assert all(same) if how == "probe" else not any(same[-4:])
    assert float(network.readout.weight.detach().abs().max()) > 0
    assert not network.training


def test_it_does_without_an_accelerometer(runs, ab):
    blind = chosen(ab, np.ones(len(ab.target), bool), ("acc",))
    backbone = tiny_backbone(layout=rate_layout(blind, tiny_config()))
    spectral = fit_spectral(blind, backbone, QUICK, seed=0)
    unseen = chosen(runs, runs.subject == "c", ("acc",))
    assert logits_of(spectral, unseen, backbone).shape == (2, 30, len(GRID_BPM))
    with pytest.raises(ShapeError, match="ppg"):
        rate_layout(chosen(runs, runs.subject == "a", ("ppg",)), tiny_config())


def test_an_adapter_comes_back_from_disk(tmp_path, runs, backbone, monkeypatch):
    """What `train_rate` writes judges as well as what was fitted, and belongs to one backbone."""
    file, folder = tmp_path / "backbone.safetensors", tmp_path / "adapter"
    write_backbone(file, layout=backbone.layout)
    monkeypatch.setattr(heart_rate, "windows", lambda root, *, context_s: runs)
    train_rate(file, folder, QUICK, seed=0, data=None)
    network, adapter, note, _ = load_network(file, folder)
    assert isinstance(network, RateNetwork)
    assert note.training_subjects == ("a", "b", "c")
    assert note.values == ("heart_rate",)
    assert len(adapter.pairs) == 12
    assert errors(network, runs, backbone).mean() < 3
    path = folder / "physioedge.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "backbone_digest": "0" * 64}))
    with pytest.raises(BackboneMismatch):
        load_network(file, folder)
