"""The backbone: causal where it says so, rotary positions that know distances only, batches that are singles."""

from __future__ import annotations

import pytest
import torch

from physioedge.models.backbone import Attention, attention_mask, rotary_tables, rotate_half_matrix
from physioedge.models.config import PAPER, TINY, BackboneConfig
from tiny_training import random_windows, tiny_backbone, tiny_config


def after(token: int) -> int:
    config = tiny_config()
    return config.context_samples + (token + 1) * config.patch_samples


@pytest.mark.parametrize("causal", [True, False])
def test_only_the_twin_sees_what_comes_later(causal):
    backbone = tiny_backbone(causal=causal)
    x = random_windows(backbone.config, 1)
    later = x.clone()
    later[..., after(4) :] = torch.randn(later[..., after(4) :].shape)
    with torch.no_grad():
        change = (backbone(later) - backbone(x)).abs().amax((0, 2))
    assert change[5:].min() > 1e-2
    assert (change[:5].max() < 1e-4) if causal else (change[:5].min() > 1e-3)


def test_every_token_sees_the_first_one_through_the_layers_of_a_causal_backbone():
    backbone = tiny_backbone()
    patches = torch.randn(1, 8, 25)
    other = patches.clone()
    other[:, 0] += 1.0
    with torch.no_grad():
        change = (backbone.tokens(other) - backbone.tokens(patches)).abs().amax((0, 2))
    assert (change > 1e-4).all()


def test_a_narrow_window_forgets_what_is_farther():
    """With one layer and a window of 3, token t depends on tokens t-2 .. t and on nothing else."""
    backbone = tiny_backbone(n_layers=1, attention_window=3)
    patches = torch.randn(1, 8, 25)
    other = patches.clone()
    other[:, 2] += 1.0
    with torch.no_grad():
        change = (backbone.tokens(other) - backbone.tokens(patches)).abs().amax((0, 2))
    assert change[[2, 3, 4]].min() > 1e-4
    assert change[[0, 1, 5, 6, 7]].max() == 0.0


def test_masks():
    causal = attention_mask(4, 2, causal=True)[0]
    assert (causal == 0).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert (attention_mask(4, 2, causal=False) == 0).all()


def test_rotated_scores_depend_on_the_distance_only():
    torch.manual_seed(0)
    cos, sin = rotary_tables(12, 8)
    rotate = rotate_half_matrix(1, 8)[0]
    q, k = torch.randn(8), torch.randn(8)

    def turned(vector: torch.Tensor, position: int) -> torch.Tensor:
        return vector * cos[0, position] + (vector @ rotate) * sin[0, position]

    scores = torch.tensor([[turned(q, i) @ turned(k, j) for j in range(12)] for i in range(12)])
    for distance in range(-6, 7):
        diagonal = torch.diagonal(scores, distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=0)
    assert len({round(float(scores[i, 0]), 4) for i in range(12)}) == 12
    torch.testing.assert_close(turned(q, 5).norm(), q.norm())


def test_rotation_swaps_the_halves():
    x = torch.arange(8.0)
    torch.testing.assert_close(x @ rotate_half_matrix(1, 8)[0], torch.cat([-x[4:], x[:4]]))


def test_attention_is_that_of_torch_without_positions():
    torch.manual_seed(0)
    attention = Attention(tiny_config())
    attention.cos.fill_(1.0)
    attention.sin.fill_(0.0)
    x = torch.randn(2, 8, 16)
    with torch.no_grad():
        q, k, v = (p(x).reshape(2, 8, 2, 8).transpose(1, 2) for p in (attention.q, attention.k, attention.v))
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
        expected = attention.o(mixed.transpose(1, 2).reshape(2, 8, 16))
        torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def test_a_batch_of_two_is_two_singles():
    backbone = tiny_backbone()
    x = random_windows(backbone.config, 2)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), torch.cat([backbone(x[:1]), backbone(x[1:])]), atol=1e-5, rtol=0)


def test_configurations_survive_json_and_say_their_lengths():
    assert BackboneConfig.from_dict(TINY.to_dict()) == TINY
    assert (TINY.context_samples, TINY.window_samples, TINY.input_samples) == (249, 800, 1049)
    assert PAPER.d_model == 768 and PAPER.input_samples == TINY.input_samples
    with pytest.raises(TypeError):
        BackboneConfig.from_dict({**TINY.to_dict(), "colour": "red"})
