"""Bridges: how many numbers are trained, what they give at first, and that halves of a network make the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physioedge.bridge.layers import layer_embeddings, layer_tokens, lower_part, upper_part
from physioedge.bridge.module import BridgedNetwork, Ends, FullBridge, Positions, PrototypeBridge, trainable
from physioedge.bridge.team import Team
from physioedge.models.network import network_on
from physioedge_runtime.errors import ShapeError
from tiny_training import random_windows, tiny_backbone

N_IN, TOKENS, N_OUT = 16, 8, 16


def ends() -> Ends:
    generator = torch.Generator().manual_seed(3)
    return Ends(
        middle=torch.randn(N_IN, generator=generator),
        size=torch.rand(N_IN, generator=generator) + 0.5,
        start=torch.randn(TOKENS, N_OUT, generator=generator),
    )


def bridge(rank: int = 2, prototypes: int = 3, seed: int = 0) -> PrototypeBridge:
    return PrototypeBridge(ends(), torch.ones(prototypes, N_OUT), rank=rank, seed=seed)


def test_it_trains_as_many_numbers_as_the_paper_says():
    assert trainable(bridge(rank=2, prototypes=3)) == 2 * N_IN + 3 * TOKENS * 2 + N_OUT * 3
    assert trainable(FullBridge(ends())) == N_IN * TOKENS * N_OUT + TOKENS * N_OUT


def test_at_first_it_gives_the_old_models_mean_tokens_whatever_it_reads():
    h = torch.randn(5, N_IN)
    for one in (bridge(), FullBridge(ends())):
        assert torch.equal(one(h), ends().start.expand(5, -1, -1))


def test_what_it_has_learned_depends_on_what_it_reads():
    one = bridge()
    with torch.no_grad():
        one.mix.weight.normal_()
    found = one(torch.randn(2, N_IN))
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_two_halves_of_a_backbone_are_the_whole(layer):
    backbone, x = tiny_backbone(), random_windows(3)
    with torch.no_grad():
        tokens = lower_part(backbone, layer)(x)
        whole = upper_part(backbone, layer).transformed(tokens)
        assert torch.allclose(whole, backbone(x), atol=1e-5)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ShapeError, match="layer 3"):
        lower_part(tiny_backbone(), 3)


def test_layers_are_pooled_as_the_layout_says():
    backbone, x = tiny_backbone(), random_windows(2)
    with torch.no_grad():
        tokens = layer_tokens(backbone, backbone.patches((x,)))
        found = layer_embeddings(backbone, tokens)
    assert found.shape == (2, 3, 16)
    assert torch.allclose(found[:, 1], tokens[1][:, -4:].mean(1))


def test_a_bridged_network_holds_only_what_it_uses():
    backbone = tiny_backbone()
    old = network_on(backbone, 3, classes=True, head_seed=0)
    made = Ends(middle=torch.zeros(16), size=torch.ones(16), start=torch.randn(8, 16))
    one = PrototypeBridge(made, torch.randn(3, 16), rank=2, seed=0)
    network = BridgedNetwork(backbone, one, old.backbone, old.head, Positions(new=1, old=2)).eval()
    names = [name for name, _ in network.named_parameters()]
    assert sum(".blocks." in name and name.endswith("attention.q.weight") for name in names) == 1
    assert not any(name.startswith("upper.embed") for name in names)
    logits, embedding = network(random_windows(4))
    assert logits.shape == (4, 3)
    assert embedding.shape == (4, 16)


def test_members_of_a_team_are_fitted_as_if_alone():
    h, wanted = torch.randn(2, 6, N_IN), torch.randn(2, 6, TOKENS, N_OUT)
    alone = [bridge(seed=seed) for seed in (0, 1)]
    team = Team([bridge(seed=seed) for seed in (0, 1)])
    assert team.parameters_each == trainable(alone[0])
    optimisers = [torch.optim.AdamW(m.parameters(), lr=1e-2) for m in (team, *alone)]
    for _ in range(5):
        losses = [((team(h) - wanted) ** 2).sum(), *(((m(h[i]) - wanted[i]) ** 2).sum() for i, m in enumerate(alone))]
        for optimiser, loss in zip(optimisers, losses, strict=True):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for i, one in enumerate(alone):
        assert torch.allclose(team.member(i)(h[i]), one(h[i]), atol=1e-4)
    assert np.isfinite(losses[0].item())
