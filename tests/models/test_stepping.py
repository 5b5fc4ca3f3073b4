from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physioedge.models.backbone import Backbone, pooled_streams
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ACC, ECG, EDA, PPG, RR
from physioedge.models.network import Network, network_on
from physioedge.models.stepping import StepNetwork, step_spec
from physioedge_runtime.bundle.specs import StepSpec
from physioedge_runtime.engine.step_buffers import StepBuffers
from physioedge_runtime.errors import ShapeError

CONFIG = BackboneConfig(
    name="small", d_model=32, n_heads=2, n_layers=2, attention_window=5, modalities=(ECG, PPG, ACC, EDA, RR)
)


def sensor(kind: str, n_tokens: int, channels: int = 1, **more: int) -> SensorLayout:
    return SensorLayout(sensor=kind, kind=kind, channels=channels, n_tokens=n_tokens, spread=True, **more)


CASES = {
    "one sensor": (Layout(sensors=(sensor("ecg", 20),)), 1.0),
    "one sensor in columns": (Layout(sensors=(sensor("ecg", 20),)), 1.0),
    "three sensors": (Layout(sensors=(sensor("ppg", 16), sensor("acc", 8, 3), sensor("eda", 4))), 4.0),
    "a hop shorter than a token, three streams": (Layout(sensors=(sensor("acc", 4, 9),)), 0.5),
    "few tokens pooled": (Layout(sensors=(sensor("ppg", 8, pool_tokens=4), sensor("acc", 4, 3, pool_tokens=1))), 1.0),
    "a step as long as the window": (Layout(sensors=(sensor("rr", 6, 2),)), 30.0),
}


def network(layout: Layout, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    made = network_on(Backbone(CONFIG, layout), 3, classes=True, head_seed=0).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # far from where training begins, so that the order of things shows
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def spec_of(name: str, made: Network) -> StepSpec:
    return step_spec(made.backbone, CASES[name][1], "columns" if "columns" in name else None)


def stepped(
    made: Network, spec: StepSpec, hop_s: float, steps: int, seed: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Signals of a whole recording, and the outputs of every step over it."""
    model, buffers, layout = StepNetwork(made, spec), StepBuffers(spec), made.backbone.layout
    torch.manual_seed(seed)
    kinds = [CONFIG.modality(one.kind) for one in layout.sensors]
    sizes = [round(spec.hops * hop_s * kind.fs_hz) for kind in kinds]
    signals = [
        torch.randn(1, one.channels, kind.context_samples + steps * size)
        for one, kind, size in zip(layout.sensors, kinds, sizes, strict=True)
    ]
    outs = []
    for k in range(steps):
        parts = [
            x[..., k * size : k * size + kind.context_samples + size]
            for x, kind, size in zip(signals, kinds, sizes, strict=True)
        ]
        buffers.before(k)
        with torch.no_grad():
            found = model(*parts, *(torch.from_numpy(array) for array in buffers.inputs.values()))
        for target, value in zip(buffers.outputs.values(), found[2:], strict=True):
            target[...] = value.numpy()
        buffers.after(k)
        outs.append(found)
    return signals, outs


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_steps_give_what_one_causal_pass_over_the_whole_recording_gives(name: str, seed: int) -> None:
    layout, hop_s = CASES[name]
    made = network(layout, seed)
    spec, steps = spec_of(name, made), 14
    signals, outs = stepped(made, spec, hop_s, steps, seed)
    window = layout.sensors[0].n_tokens // spec.streams[0].new_tokens
    per_sensor = iter(spec.streams)
    longer = []
    for one in layout.sensors:
        streams = [next(per_sensor) for _ in range(one.streams(CONFIG.modality(one.kind)))]
        longer.append(replace(one, n_tokens=steps * streams[0].new_tokens, pool_tokens=0))
    whole = made.backbone.laid_out(Layout(sensors=tuple(longer)))
    with torch.no_grad():
        tokens = whole(*signals)
    for k in range(window - 1, steps):  # before that, what is pooled is not all there
        parts, first = [], 0
        for one, stream in zip(made.backbone.streams, spec.streams, strict=True):
            stop = first + (k + 1) * stream.new_tokens
            parts.append(tokens[:, stop - one.pooled : stop])
            first += steps * stream.new_tokens
        embedding = pooled_streams(parts, [one.spread for one in made.backbone.streams])
        torch.testing.assert_close(outs[k][1], embedding, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(outs[k][0], made.head(embedding), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_steps_over_a_window_from_scratch_give_what_the_network_gives_of_it(name: str) -> None:
    layout, hop_s = CASES[name]
    made = network(layout)
    spec = spec_of(name, made)
    steps = layout.sensors[0].n_tokens // spec.streams[0].new_tokens
    signals, outs = stepped(made, spec, hop_s, steps, 3)
    with torch.no_grad():
        logits, embedding = made(*signals)
    torch.testing.assert_close(outs[-1][0], logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outs[-1][1], embedding, atol=1e-5, rtol=1e-5)


def test_positions_of_a_month_ago_do_not_blur() -> None:
    """Angles grow without end; a step far out must give what the same step gives near the start."""
    made = network(CASES["one sensor"][0])
    spec = step_spec(made.backbone, 1.0)
    steps_a_month = 30 * 86_400 // 13 * 13  # the same phase of the ring
    found: list[torch.Tensor] = []
    masks: list[np.ndarray] = []
    for start in (0, steps_a_month):
        model, buffers = StepNetwork(made, spec), StepBuffers(spec)
        torch.manual_seed(1)
        for k in range(6):
            x = torch.randn(1, 1, ECG.context_samples + 125)
            buffers.before(start + k)
            if start:  # as much is there as near the start
                buffers.inputs["past.mask"][...] = masks[k]
            else:
                masks.append(buffers.inputs["past.mask"].copy())
            with torch.no_grad():
                out = model(x, *(torch.from_numpy(array) for array in buffers.inputs.values()))
            for target, value in zip(buffers.outputs.values(), out[2:], strict=True):
                target[...] = value.numpy()
            buffers.after(k)
        found.append(out[1])
    assert float((found[0] - found[1]).abs().max()) < 2e-5


def test_what_cannot_be_stepped_is_refused() -> None:
    with pytest.raises(ShapeError, match="20 tokens of ecg"):
        step_spec(network(CASES["one sensor"][0]).backbone, 0.6)
    unequal = Layout(sensors=(sensor("ppg", 8), sensor("eda", 4)))
    with pytest.raises(ShapeError, match="a window of 2 steps of eda beside one of 1"):
        step_spec(network(unequal).backbone, 4.0)
    twin = Backbone(replace(CONFIG, causal=False), CASES["one sensor"][0])
    with pytest.raises(ShapeError, match="bidirectional"):
        step_spec(twin, 1.0)


def test_a_mask_hides_what_is_too_old_and_what_is_not_there_yet() -> None:
    spec = step_spec(network(CASES["one sensor"][0]).backbone, 1.0, "columns")  # 5 new tokens, 5 kept, each sees 5
    buffers = StepBuffers(spec)
    buffers.before(0)
    assert (buffers.inputs["past.mask"] < 0).all()
    buffers.before(1)
    seen = buffers.inputs["past.mask"][0] == 0
    # the first new token sees itself and the four newest of the past; the last new one none of the past
    np.testing.assert_array_equal(seen.sum(1), [4, 3, 2, 1, 0])
    assert seen[0].tolist() == [False, True, True, True, True]
    rows = StepBuffers(step_spec(network(CASES["one sensor"][0]).backbone, 1.0))
    rows.before(1)
    np.testing.assert_array_equal(rows.inputs["past.mask"][0, 0, :, :5] == 0, seen)
    np.testing.assert_array_equal(rows.inputs["past.mask"][0, 0, :, 5:] == 0, np.tri(5, dtype=bool))


def test_heads_that_rows_do_not_suit_get_columns():
    """Onnxruntime's attention over rows takes heads of 16 numbers and multiples of that."""
    narrow = Backbone(replace(CONFIG, d_model=16), CASES["one sensor"][0])
    assert step_spec(narrow, 1.0).layout == "columns"
    assert step_spec(network(CASES["one sensor"][0]).backbone, 1.0).layout == "rows"
