"""The diffusion transformer on made-up people: how it begins, what it learns, what follows from the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.dit.config import DitConfig, Sampling
from physioedge.generator.dit.fitting import _People, fit_dit
from physioedge.generator.dit.model import AT_ONCE
from physioedge.generator.dit.network import Block, DitNetwork
from physioedge.generator.dit.tokens import Tokens
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import PhysioEdgeError

SHAPES = ((2, 6), (2, 6), (2, 4), (2, 6))
SLOTS = tuple(SlotSpec(name=f"{i}.B", shape=shape) for i, shape in enumerate(SHAPES))
ORIGIN = Origin(task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source="0" * 64, slots=SLOTS)
FEATURES = 6
TINY = DitConfig(width=16, blocks=2, heads=2, steps=0, batch=8, averaging=0.0, sampling=Sampling(samples=2))


def made_up(people=5, each=2, seed=0):
    rng = np.random.default_rng(seed)
    person = np.repeat([f"p{i}" for i in range(people)], each)
    conditions = np.repeat(rng.normal(size=(people, FEATURES)), each, 0) + 0.01 * rng.normal(
        size=(len(person), FEATURES)
    )
    adapters = np.repeat(rng.normal(size=(people, ORIGIN.width)), each, 0) * 0.02 + 0.05
    return AdapterSet(origin=ORIGIN, conditions=conditions, adapters=adapters, person=person, details={})


def fitted(config=TINY, found=None, **more):
    return fit_dit(found or made_up(), config, **{"seed": 1, "progress": False, **more})


def parameters(dit):
    return torch.nn.utils.parameters_to_vector(dit.network.parameters()).detach()


def test_a_new_block_is_the_identity_and_a_new_network_gives_the_mean_person():
    draw = torch.Generator().manual_seed(0)
    h, about = torch.randn(3, 4, 16, generator=draw), torch.randn(3, 16, generator=draw)
    block = Block(16, 2)
    assert torch.equal(block(h, about), h)
    torch.nn.init.normal_(block.modulate.weight)
    assert not torch.allclose(block(h, about), h, atol=0.1)
    found = made_up()
    uneven = found.of(np.arange(10) != 0)  # one person with a single row, which counts as much as the others' two
    level = np.mean([uneven.adapters[uneven.person == p].mean(0) for p in np.unique(uneven.person)], axis=0)
    made = fitted(found=uneven)(found.conditions[:3])
    np.testing.assert_allclose(made, np.tile(level, (3, 1)), atol=1e-6)


def test_slots_of_equal_shape_share_layers_and_every_slot_is_told_apart():
    tokens = Tokens(SLOTS, 16)
    assert sorted(tokens.into) == sorted(tokens.out) == ["2x4", "2x6"]
    flat = torch.randn(3, ORIGIN.width, generator=torch.Generator().manual_seed(1))
    read = tokens.read(flat)
    at = 0
    for i, slot in enumerate(SLOTS):
        size = int(np.prod(slot.shape))
        layer = tokens.into["x".join(map(str, slot.shape))]
        torch.testing.assert_close(read[:, i], layer(flat[:, at : at + size]) + tokens.position[i])
        at += size
    assert torch.equal(tokens.write(read), torch.zeros_like(flat))
    torch.nn.init.normal_(tokens.out["2x4"].weight)
    assert (tokens.write(read).abs().sum(0) > 0).tolist() == [24 <= i < 32 for i in range(44)]


def test_all_tokens_time_and_condition_reach_every_prediction():
    torch.manual_seed(0)
    network = DitNetwork(TINY, SLOTS, FEATURES)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, told = torch.randn(1, ORIGIN.width), torch.randn(1, FEATURES)
    plain = network(x, torch.tensor([500]), told)
    moved = x.clone()
    moved[0, 0] += 1.0
    others = (
        network(moved, torch.tensor([500]), told), network(x, torch.tensor([400]), told),
        network(x, torch.tensor([500]), told + 1.0), network(x, torch.tensor([500]), told, torch.tensor([True])),
    )  # fmt: skip
    assert all(((other - plain).abs() > 0).all() for other in others)
    assert torch.equal(others[3], network(x, torch.tensor([500]), told + 1.0, torch.tensor([True])))


@pytest.mark.parametrize("predicts", ["x0", "v"])
def test_a_few_people_are_learned_each_by_the_own_condition(predicts):
    found = made_up()
    config = replace(TINY, width=32, steps=400, batch=16, learning_rate=3e-3, predicts=predicts, condition_noise=0.02,
                     averaging=0.95)  # fmt: skip
    dit = fitted(config, found)
    size = ((found.adapters - found.adapters.mean(0)) ** 2).mean()

    def error(conditions, sampling):
        return float(((replace(dit, sampling=sampling)(conditions) - found.adapters) ** 2).mean() / size)

    shuffled = np.roll(found.conditions, 2, 0)  # everybody gets the next person's
    for steps in (1, 10):
        sampling = Sampling(steps=steps, samples=2)
        assert error(found.conditions, sampling) < 0.25
        assert error(shuffled, sampling) > 1.0
    nobody = error(found.conditions, Sampling(steps=1, samples=4, guidance=0.0))
    assert nobody > 0.5  # without a condition there is nothing to tell who it is


def test_answers_follow_from_condition_and_seed_alone():
    dit = fitted(replace(TINY, steps=30, learning_rate=1e-2))
    asked = made_up(seed=4).conditions
    first = dit(asked)
    assert first.dtype == np.float64 and first.shape == (10, ORIGIN.width)
    state = torch.random.get_rng_state()
    assert np.array_equal(dit(asked), first) and torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_allclose(dit(asked[3]), first[3:4], rtol=0, atol=1e-6)
    assert not np.allclose(dit(asked, seed=1), first, atol=1e-4)
    for sampling in (Sampling(steps=1), Sampling(steps=50, samples=1), Sampling(steps=4, guidance=3.0)):
        made = replace(dit, sampling=sampling)(asked * 1e6)
        assert np.isfinite(made).all() and not np.allclose(made[0], made[5], atol=1e-6)
    one, two = (replace(dit, sampling=Sampling(samples=n))(asked) for n in (1, 2))
    other = 2 * two - one  # the second draw alone
    assert not np.allclose(other, one, atol=1e-5)
    assert dit(np.zeros((0, FEATURES))).shape == (0, ORIGIN.width)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(("steps", "samples"), [(1, 1), (3, 1), (2, 5), (1, 2 * AT_ONCE)])
def test_conditions_that_are_answered_together_are_answered_as_alone(guidance, steps, samples):
    dit = fitted(replace(TINY, steps=30, learning_rate=1e-2))
    dit = replace(dit, sampling=Sampling(steps=steps, samples=samples, guidance=guidance))
    asked = made_up(people=AT_ONCE + 1, seed=4).conditions
    together = dit(asked)
    np.testing.assert_allclose(np.concatenate([dit(row) for row in asked]), together, rtol=0, atol=1e-6)
    assert np.allclose(together[0], together[-1], atol=1e-6) == (guidance == 0)  # each has its own condition


def test_conditions_share_passes_of_the_network_and_guidance_takes_no_second_one():
    dit, passes = fitted(), []
    dit.network.register_forward_hook(lambda network, given, made: passes.append(len(made)))
    asked = made_up(people=AT_ONCE + 4, each=1).conditions
    replace(dit, sampling=Sampling(steps=3, samples=1))(asked)
    assert passes == [AT_ONCE] * 3 + [4] * 3
    passes.clear()
    replace(dit, sampling=Sampling(steps=1, samples=AT_ONCE // 2, guidance=2.0))(asked[:3])
    assert passes == [2 * AT_ONCE, AT_ONCE]  # two conditions with and without, then one


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_one_step_is_what_a_call_gives_and_carries_gradients(guidance):
    dit = fitted(replace(TINY, steps=10, learning_rate=1e-2, sampling=Sampling(steps=1, samples=1, guidance=guidance)))
    asked = made_up(seed=4).conditions[:3]
    noise = torch.from_numpy(dit.noise(1, 5)).expand(3, -1)
    made = dit.one_step(torch.from_numpy(asked).float(), noise)
    np.testing.assert_allclose(made.detach().numpy(), dit(asked, seed=5), atol=1e-5)
    made.square().sum().backward()
    seen = dict(dit.network.named_parameters())
    assert seen["tokens.into.2x6.weight"].grad.abs().sum() > 0
    touched = [seen[name].grad is not None and bool(seen[name].grad.any()) for name in ("condition.0.weight", "null")]
    assert touched == [guidance != 0, guidance != 1]


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_nothing_stays_behind_on_another_device(guidance):
    # "meta" knows shapes and devices and refuses to mix them, as a graphics card does
    dit = fitted()
    away = replace(dit, network=dit.network.to("meta"), sampling=Sampling(guidance=guidance))
    asked = torch.zeros(3, FEATURES, device="meta")
    made = away.one_step(asked, torch.zeros(3, ORIGIN.width, device="meta"))
    assert made.device.type == "meta" and made.shape == (3, ORIGIN.width)


def test_guidance_is_linear_in_its_weight_at_one_step():
    dit, asked = fitted(replace(TINY, steps=10, learning_rate=1e-2)), made_up(seed=4).conditions
    none, plain, double = (replace(dit, sampling=Sampling(steps=1, guidance=g))(asked) for g in (0.0, 1.0, 2.0))
    np.testing.assert_allclose(double - plain, plain - none, atol=1e-5)
    assert np.abs(plain - none).max() > 1e-4


def test_people_are_drawn_alike_and_all_their_rows_too():
    person = np.array(["b", "a", "b", "b", "c", "b"])
    rows = _People(person).draw(np.random.default_rng(0), 12_000)
    share = np.bincount(rows, minlength=6) / len(rows)
    np.testing.assert_allclose(share, [1 / 12, 1 / 3, 1 / 12, 1 / 12, 1 / 3, 1 / 12], atol=0.02)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_resumed_fit_equals_an_unbroken_one(averaging, tmp_path, monkeypatch):
    config, path = replace(TINY, steps=12, learning_rate=1e-2, averaging=averaging), tmp_path / "dit.ckpt"
    whole = fitted(config)

    def broken(step, rows):
        if step == 7:
            raise KeyboardInterrupt
        return made_up().conditions[rows]

    monkeypatch.setattr("physioedge.generator.dit.fitting.LoopConfig", eager)
    with pytest.raises(KeyboardInterrupt):
        fitted(config, checkpoint=path, conditions_of_step=broken)
    assert torch.load(path, weights_only=True)["step"] == 7
    resumed = fitted(config, checkpoint=path)
    assert torch.equal(parameters(resumed), parameters(whole))
    assert torch.equal(parameters(fitted(config, checkpoint=path)), parameters(whole))  # finished: nothing more to do
    assert not torch.equal(parameters(fitted(config, seed=2)), parameters(whole))
    for more in ({"seed": 2}, {"found": made_up(seed=1)}, {"config": replace(config, condition_noise=0.1)}):
        with pytest.raises(PhysioEdgeError, match="another label"):
            fitted(**{"config": config, "checkpoint": path, **more})


def eager(**settings):
    """A loop that saves at every step."""
    from physioedge.training.loop import LoopConfig

    return LoopConfig(**settings, save_every_s=-1.0)


def test_the_mean_of_weights_is_a_running_one():
    config = replace(TINY, steps=1, learning_rate=1e-2)
    start, last = (parameters(fitted(replace(config, steps=steps))) for steps in (0, 1))
    # after one step the decay is 2/11, and the start has been taken in before
    expected = 2 / 11 * start + 9 / 11 * last
    torch.testing.assert_close(parameters(fitted(replace(config, averaging=0.99))), expected)


def test_redrawn_conditions_are_what_is_learned_from():
    found, seen = made_up(), []

    def redraw(step, rows):
        seen.append((step, rows.copy()))
        return -found.conditions[rows]

    config = replace(TINY, steps=3, learning_rate=1e-2)
    made = fitted(config, found, conditions_of_step=redraw)
    assert [step for step, _ in seen] == [0, 1, 2] and all(len(rows) == 8 for _, rows in seen)
    assert not torch.equal(parameters(made), parameters(fitted(config, found)))
    for wrong in (lambda _, rows: found.conditions[rows, :-1], lambda _, rows: found.conditions[rows] * np.nan):
        with pytest.raises(PhysioEdgeError, match="all finite"):
            fitted(config, found, conditions_of_step=wrong)


def test_the_null_condition_is_learned_by_dropping_conditions():
    config = replace(TINY, steps=20, learning_rate=1e-2, condition_dropout=1.0)
    kept, dropped = (fitted(replace(config, condition_dropout=share)) for share in (0.0, 1.0))
    start = fitted()
    assert torch.equal(kept.network.null, start.network.null)
    assert not torch.equal(dropped.network.null, start.network.null)


@pytest.mark.parametrize(
    "wrong",
    [{"width": 18, "heads": 4}, {"schedule": "square"}, {"predicts": "noise"}, {"blocks": 0}, {"batch": 1.5},
     {"condition_dropout": 1.1}, {"averaging": 1.0}, {"condition_noise": float("nan")}],
)  # fmt: skip
def test_configurations_that_mean_nothing_are_refused(wrong):
    with pytest.raises(PhysioEdgeError):
        replace(TINY, **wrong)
    with pytest.raises(PhysioEdgeError):
        Sampling(steps=0)
