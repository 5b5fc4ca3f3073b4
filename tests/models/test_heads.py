"""Prototypes that are equally far from one another, and the network around them."""

from __future__ import annotations

import pytest
import torch

from physioedge.models.cnn import SmallCnn
from physioedge.models.heads import PrototypeHead, ValueHead, simplex_etf
from physioedge.models.network import Network, network_on
from tiny_training import LAYOUT, WRIST, random_signals, random_windows, tiny_backbone, tiny_config


@pytest.mark.parametrize(("n_classes", "dim"), [(2, 2), (3, 16), (5, 5), (7, 64)])
def test_prototypes_are_a_simplex(n_classes, dim):
    prototypes = simplex_etf(n_classes, dim, seed=3)
    gram = prototypes @ prototypes.T
    expected = torch.full((n_classes, n_classes), -1.0 / (n_classes - 1)).fill_diagonal_(1.0)
    torch.testing.assert_close(gram, expected, atol=1e-5, rtol=0)


def test_the_seed_fixes_the_orientation():
    assert torch.equal(simplex_etf(3, 16, 7), simplex_etf(3, 16, 7))
    assert not torch.allclose(simplex_etf(3, 16, 7), simplex_etf(3, 16, 8))


def test_scores_are_inner_products_and_the_prior_comes_last():
    torch.manual_seed(0)
    head = PrototypeHead(16, 3, temperature=0.5, seed=7)
    embedding = torch.randn(4, 16)
    with torch.no_grad():
        expected = (embedding @ head.projection.weight.T + head.projection.bias) @ head.prototypes.T / 0.5
        torch.testing.assert_close(head.scores(embedding), expected)
        torch.testing.assert_close(head(embedding), expected)
        head.log_prior.copy_(torch.tensor([0.0, -3.0, -1.0]))
        torch.testing.assert_close(head.scores(embedding), expected)
        torch.testing.assert_close(head(embedding), expected + torch.tensor([0.0, -3.0, -1.0]))
    assert [name for name, _ in head.named_parameters()] == ["projection.weight", "projection.bias"]


def test_without_prototypes_every_class_has_a_row_of_its_own():
    head = PrototypeHead(16, 3, free=True)
    embedding = torch.randn(4, 16)
    with torch.no_grad():
        torch.testing.assert_close(head.scores(embedding), head.projection(embedding))
    network = network_on(tiny_backbone(), 3, classes=True, head_seed=0, prototypes=False)
    assert network.head.projection.weight.shape[0] == 3


def test_values_come_in_their_unit():
    head = ValueHead(4, 2)
    embedding = torch.randn(3, 4)
    with torch.no_grad():
        head.offset.copy_(torch.tensor([120.0, 80.0]))
        head.scale.copy_(torch.tensor([10.0, 5.0]))
        expected = torch.tensor([120.0, 80.0]) + torch.tensor([10.0, 5.0]) * head.projection(embedding)
        torch.testing.assert_close(head(embedding), expected)
        torch.testing.assert_close(head.standard(embedding), head.projection(embedding))


def test_a_network_on_several_sensors():
    backbone = tiny_backbone(layout=WRIST)
    network = network_on(backbone, 2, classes=False, head_seed=0)
    assert network.backbone is not backbone
    signals = random_signals(WRIST, 2)
    with torch.no_grad():
        values, embedding = network(*signals)
        assert values.shape == (2, 2) and embedding.shape == (2, 48)
        torch.testing.assert_close(network.quick_embed(*signals), embedding, atol=0.1, rtol=0.1)
        tokens = backbone(*signals)
        torch.testing.assert_close(embedding[:, 32:], tokens[:, 16:].mean(1))


def test_the_network_pools_its_last_tokens():
    backbone = tiny_backbone()
    model = Network(backbone, PrototypeHead(16, 3))
    x = random_windows(2)
    with torch.no_grad():
        logits, embedding = model(x)
        assert logits.shape == (2, 3) and embedding.shape == (2, 16)
        torch.testing.assert_close(embedding, backbone(x)[:, 4:].mean(1))
        torch.testing.assert_close(logits, model.head(embedding))


def test_the_small_network_takes_the_same_windows():
    model = SmallCnn(tiny_config(), LAYOUT, 3, width=4).eval()
    with torch.no_grad():
        logits, embedding = model(random_windows(2))
    assert logits.shape == (2, 3) and embedding.shape == (2, 8)
