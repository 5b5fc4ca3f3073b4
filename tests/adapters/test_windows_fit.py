"""Fitting windowed tasks: batches in the asked shares, a head in the target's unit, every way to fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physioedge.adapters.fitting import FULL, GLOBAL, PROBE
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.variation import varied
from physioedge.adapters.windows import WindowDraw, WindowFit, embeddings, fit_windows
from physioedge.models.network import Network
from physioedge.tasks.windowed import Task, TaskWindows, context_needed_s, inputs_of, layout_of
from physioedge_runtime.errors import ShapeError
from tiny_training import tiny_backbone, tiny_config

CONFIG = WindowFit(steps=60, batch=16, learning_rate=1e-2, full_learning_rate=3e-3, lora=LoraShape(rank=2), vary=False)


def task(labels: tuple[str, ...]) -> Task:
    return Task(
        name="made", dataset="none", labels=labels, units="class" if labels else "bpm", sensors=("ppg", "acc"),
        window_s=4.0, hop_s=4.0, metric="macro_f1" if labels else "mae", protocol="made up",
    )  # fmt: skip


def windows(labels: tuple[str, ...] = ("slow", "fast"), n: int = 48) -> TaskWindows:
    """A pulse of 1 or 3 Hz; four people, the last with half of the windows."""
    rng = np.random.default_rng(0)
    rate_hz = rng.choice([1.0, 3.0], n)
    t = np.arange(round(6.0 * 64)) / 64
    ppg = np.sin(2 * np.pi * (rate_hz[:, None] * t + rng.random((n, 1))))[:, None] + 0.1 * rng.standard_normal(
        (n, 1, t.size)
    )
    acc = 0.1 * rng.standard_normal((n, 3, 192)) + np.array([0.0, 0.0, 1.0])[:, None]
    target = (rate_hz > 2).astype(np.int64) if labels else (60 * rate_hz).astype(np.float32)[:, None]
    person = np.sort(rng.choice(4, n, p=(0.2, 0.2, 0.1, 0.5)))
    return TaskWindows(
        task=task(labels),
        samples={"ppg": ppg.astype(np.float32), "acc": acc.astype(np.float32)},
        context_s=2.0,
        target=target,
        subject=np.array([f"p{i}" for i in person]),
        record=np.array([f"r{i}" for i in person]),
        start_s=np.arange(n, dtype=np.float64),
        calibration=np.zeros(n, np.bool_),
        fold=person.astype(np.int64),
    )


def backbone(found: TaskWindows):
    channels = {kind: array.shape[1] for kind, array in found.samples.items()}
    return tiny_backbone(layout=layout_of(found.task, channels, tiny_config()))


@pytest.mark.parametrize("how", [GLOBAL, PROBE, FULL])
def test_every_way_to_fit_learns_the_classes(how):
    found = windows()
    module = fit_windows(backbone(found), found, CONFIG, how, seed=0)
    network: Network = module.base_model.model if how == GLOBAL else module
    with torch.no_grad():
        scores = network.head(torch.from_numpy(embeddings(network.eval(), found))).numpy()
    assert (scores.argmax(1) == found.target).mean() > 0.9
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    kinds = {GLOBAL: ".lora_B.", PROBE: "projection", FULL: "blocks"}
    assert any(kinds[how] in name for name in trained)
    assert how != PROBE or all("projection" in name for name in trained)


def test_values_come_in_their_unit():
    found = windows(labels=())
    module = fit_windows(backbone(found), found, CONFIG, GLOBAL, seed=0)
    network: Network = module.base_model.model
    with torch.no_grad():
        values, _ = network.eval()(
            *(
                torch.from_numpy(np.ascontiguousarray(x))
                for x in inputs_of(found, network.backbone.layout, tiny_config())
            )
        )
    assert np.abs(values.numpy() - found.target).mean() < 15.0
    assert network.head.offset[0] == pytest.approx(found.target.mean())


def test_classes_are_drawn_by_power_and_people_too():
    found = windows(n=200)
    layout = layout_of(found.task, {"ppg": 1, "acc": 3}, tiny_config())
    inputs = inputs_of(found, layout, tiny_config())
    marked = [np.broadcast_to(np.arange(200, dtype=np.float32)[:, None, None], inputs[0].shape), inputs[1]]
    flat = WindowFit(class_power=0.0, person_power=0.0, vary=False)
    draw = WindowDraw(found, marked, found.target, flat)
    (ppg, _), target = draw.batch(4000, np.random.default_rng(0))
    rows = ppg[:, 0, 0].astype(int)
    np.testing.assert_array_equal(found.target[rows], target)
    np.testing.assert_allclose(np.bincount(target) / 4000, draw.class_share, atol=0.03)
    shares = [np.mean(found.subject[rows] == p) for p in np.unique(found.subject)]
    np.testing.assert_allclose(shares, 0.25, atol=0.04)
    whole = WindowDraw(found, marked, found.target, WindowFit(class_power=1.0, person_power=1.0, vary=False))
    rows = whole.batch(4000, np.random.default_rng(0))[0][0][:, 0, 0].astype(int)
    assert np.mean(found.subject[rows] == "p3") == pytest.approx(np.mean(found.subject == "p3"), abs=0.05)


def test_a_layout_takes_whole_tokens_and_the_newest_samples():
    found = windows()
    layout = layout_of(found.task, {"ppg": 1, "acc": 3}, tiny_config(), {"ppg": 4})
    assert [one.n_tokens for one in layout.sensors] == [4, 4]
    ppg, acc = inputs_of(found, layout, tiny_config())
    assert ppg.shape[2] == 120 + 4 * 32 and acc.shape[2] == 32 + 4 * 32
    np.testing.assert_array_equal(ppg, found.samples["ppg"][:, :, -ppg.shape[2] :])
    assert context_needed_s(layout, tiny_config()) == 1.875
    with pytest.raises(ShapeError, match="of past"):
        inputs_of(found, layout_of(found.task, {"ppg": 1}, tiny_config(), {"ppg": 20}), tiny_config())
    odd = Task(**{**found.task.__dict__, "window_s": 4.2})
    with pytest.raises(ShapeError, match="whole number"):
        layout_of(odd, {"ppg": 1}, tiny_config())


@pytest.mark.parametrize("kind", ["ecg", "ppg", "acc", "eda", "temp", "rr"])
def test_a_variation_keeps_shape_and_original(kind):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, {"acc": 9, "rr": 2}.get(kind, 1), 40)).astype(np.float32)
    before = x.copy()
    made = varied(kind, x, np.random.default_rng(1))
    assert made.shape == x.shape and made.dtype == np.float32
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(made, varied(kind, x, np.random.default_rng(1)))
    if kind == "rr":
        np.testing.assert_array_equal(made[:, 1], x[:, 1])
    if kind == "acc":
        size = np.linalg.norm(made.reshape(6, 3, 3, 40), axis=2) / np.linalg.norm(x.reshape(6, 3, 3, 40), axis=2)
        assert size.min() > 0.89 and size.max() < 1.11 and np.ptp(size[0, 0]) < 1e-4
