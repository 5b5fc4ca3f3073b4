"""Prototypes that are equally far from one another, and the network around them."""

from __future__ import annotations

import pytest
import torch

from physioedge.models.cnn import SmallCnn
from physioedge.models.heads import Classifier, PrototypeHead, simplex_etf
from tiny_training import random_windows, tiny_backbone, tiny_config


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


def test_the_classifier_pools_its_last_tokens():
    backbone = tiny_backbone()
    model = Classifier(backbone, PrototypeHead(16, 3))
    x = random_windows(backbone.config, 2)
    with torch.no_grad():
        logits, embedding = model(x)
        assert logits.shape == (2, 3) and embedding.shape == (2, 16)
        torch.testing.assert_close(embedding, backbone(x)[:, 4:].mean(1))
        torch.testing.assert_close(logits, model.head(embedding))


def test_the_small_network_takes_the_same_windows():
    config = tiny_config()
    model = SmallCnn(config, 3, width=4).eval()
    with torch.no_grad():
        logits, embedding = model(random_windows(config, 2))
    assert logits.shape == (2, 3) and embedding.shape == (2, 8)
