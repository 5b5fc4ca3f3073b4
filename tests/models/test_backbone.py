"""The backbone: causal where it says so, rotary positions that know distances only, batches that are singles."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from physioedge.models.backbone import Attention, rotate_half_matrix
from physioedge.models.config import PAPER, TINY, BackboneConfig
from physioedge.models.layout import (
    POSITION_S,
    Layout,
    SensorLayout,
    attention_mask,
    rotary_tables,
    token_ends,
)
from physioedge_runtime.errors import ShapeError
from tiny_training import LAYOUT, WRIST, random_signals, random_windows, tiny_backbone, tiny_config

ECG_LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=32),))


def after(token: int) -> int:
    ecg = tiny_config().modality("ecg")
    return ecg.context_samples + (token + 1) * ecg.patch_samples


def tables(layout=LAYOUT, window=64, causal=True):
    end_s, stream = token_ends(layout, tiny_config())
    return (*rotary_tables(end_s, 8), attention_mask(end_s, stream, window, causal))


@pytest.mark.parametrize("causal", [True, False])
def test_only_the_twin_sees_what_comes_later(causal):
    backbone = tiny_backbone(causal=causal)
    x = random_windows(1)
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
        change = (backbone.tokens([other]) - backbone.tokens([patches])).abs().amax((0, 2))
    assert (change > 1e-4).all()


def test_a_narrow_window_forgets_what_is_farther():
    """With one layer and a window of 3, token t depends on tokens t-2 .. t and on nothing else."""
    backbone = tiny_backbone(n_layers=1, attention_window=3)
    patches = torch.randn(1, 8, 25)
    other = patches.clone()
    other[:, 2] += 1.0
    with torch.no_grad():
        change = (backbone.tokens([other]) - backbone.tokens([patches])).abs().amax((0, 2))
    assert change[[2, 3, 4]].min() > 1e-4
    assert change[[0, 1, 5, 6, 7]].max() == 0.0


def test_masks():
    end_s, stream = torch.arange(-3.0, 1.0, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    causal = attention_mask(end_s, stream, 2, causal=True)[0]
    assert (causal == 0).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert (attention_mask(end_s, stream, 2, causal=False) == 0).all()


def test_a_token_sees_the_newest_tokens_of_every_stream_that_have_ended():
    """Two tokens a second beside one a second: of the slow stream, the one that has ended and those before it."""
    end_s = torch.tensor([-1.0, -0.5, 0.0, -1.0, 0.0], dtype=torch.float64)
    stream = torch.tensor([0, 0, 0, 1, 1])
    seen = (attention_mask(end_s, stream, 2, causal=True)[0] == 0).int().tolist()
    assert seen == [[1, 0, 0, 1, 0], [1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 0, 0, 1, 0], [0, 1, 1, 1, 1]]


def test_streams_end_together_and_positions_are_times():
    end_s, stream = token_ends(WRIST, tiny_config())
    assert stream.tolist() == [0] * 8 + [1] * 8 + [2] * 4
    assert end_s[[7, 15, 19]].tolist() == [0.0, 0.0, 0.0] and end_s[0] == -3.5 and end_s[16] == -3.0
    cos, _ = rotary_tables(end_s, 8)
    torch.testing.assert_close(cos[0, 1], cos[0, 9])  # the same time in two streams
    torch.testing.assert_close(cos[0, 1, 0], torch.cos(torch.tensor(0.5 / POSITION_S)))


@pytest.mark.parametrize("causal", [True, False])
def test_what_a_slow_sensor_sends_later_reaches_no_earlier_token_of_another(causal):
    backbone = tiny_backbone(layout=WRIST, causal=causal)
    ppg, acc = random_signals(WRIST, 1)
    later = acc.clone()
    later[..., -32:] += 1.0  # its last token
    with torch.no_grad():
        change = (backbone(ppg, later) - backbone(ppg, acc)).abs().amax((0, 2))
    assert change[[7, 15, 19]].min() > 1e-4
    earlier = change[[*range(7), *range(8, 15), *range(16, 19)]]
    assert (earlier.max() == 0.0) if causal else (earlier.min() > 0.0)


def test_two_channels_of_one_kind_are_two_streams_with_the_same_weights():
    backbone = tiny_backbone(layout=WRIST)
    ppg, acc = random_signals(WRIST, 1)
    with torch.no_grad():
        once, swapped = backbone(ppg, acc), backbone(ppg.flip(1), acc)
    torch.testing.assert_close(once[:, :8], swapped[:, 8:16], atol=1e-5, rtol=0)
    assert backbone.pooled(once).shape == (1, 3 * 16) == (1, WRIST.embedding_dim(backbone.config))


def test_an_embedding_tells_means_and_where_asked_deviations_over_the_newest_tokens():
    ppg, acc = WRIST.sensors
    wide = Layout(sensors=(ppg, replace(acc, spread=True, pool_tokens=3)))
    backbone = tiny_backbone(layout=wide)
    tokens = torch.randn(2, wide.n_tokens(backbone.config), 16, generator=torch.Generator().manual_seed(0))
    found = backbone.pooled(tokens)
    assert found.shape == (2, wide.embedding_dim(backbone.config)) == (2, 4 * 16)
    torch.testing.assert_close(found[:, :16], tokens[:, :8].mean(1))
    torch.testing.assert_close(found[:, 32:48], tokens[:, -3:].mean(1))
    torch.testing.assert_close(found[:, 48:], tokens[:, -3:].std(1, correction=0), atol=1e-4, rtol=1e-4)
    assert Layout.from_dict(wide.to_dict()) == wide


def test_another_layout_shares_the_weights():
    backbone = tiny_backbone(layout=WRIST)
    other = backbone.laid_out(LAYOUT)
    assert dict(other.named_parameters()).keys() == dict(backbone.named_parameters()).keys()
    assert all(p is dict(backbone.named_parameters())[name] for name, p in other.named_parameters())
    assert other(random_windows(1)).shape == (1, 8, 16)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="kind 'eeg'"):
        tiny_config().modality("eeg")
    with pytest.raises(ShapeError, match="4 channels of acc"):
        tiny_backbone(layout=Layout(sensors=(SensorLayout(sensor="acc", kind="acc", channels=4, n_tokens=2),)))


def test_rotated_scores_depend_on_the_distance_only():
    torch.manual_seed(0)
    cos, sin = rotary_tables(torch.arange(12, dtype=torch.float64) * POSITION_S, 8)
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
    attention = Attention(tiny_config(), tables())
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
    x = random_windows(2)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), torch.cat([backbone(x[:1]), backbone(x[1:])]), atol=1e-5, rtol=0)


def test_configurations_survive_json_and_say_their_lengths():
    assert BackboneConfig.from_dict(TINY.to_dict()) == TINY
    ecg = TINY.modality("ecg")
    assert (ecg.context_samples, ECG_LAYOUT.sensors[0].window_samples(ecg)) == (249, 800)
    assert ECG_LAYOUT.input_shapes(TINY) == ECG_LAYOUT.input_shapes(PAPER) == [(1, 1049)] and PAPER.d_model == 768
    assert Layout.from_dict(WRIST.to_dict()) == WRIST
    with pytest.raises(TypeError):
        BackboneConfig.from_dict({**TINY.to_dict(), "colour": "red"})
