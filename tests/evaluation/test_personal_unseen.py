"""Generators of other tasks: what conditions have in common, in whose units, and which sets they cannot learn from."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge.adapters.sets.making import EVERYBODY, GLOBALS
from physioedge.evaluation.personal import unseen
from physioedge.evaluation.personal.asked import Asked
from physioedge.evaluation.personal.unseen import BY_OTHERS, ask_unseen, shared_features
from physioedge.generator.adapter_set import SET_FILE, AdapterSet, Origin, save_set
from physioedge.models.layout import Layout
from physioedge.report.personal_rows import KINDS, kind_of
from physioedge_runtime.errors import EvaluationRefused
from tiny_person import base_of, slotted
from tiny_training import LAYOUT, WRIST, tiny_config

D = tiny_config().d_model
SPREAD = Layout(sensors=tuple(replace(one, spread=True) for one in WRIST.sensors))


@pytest.fixture(scope="module")
def base():
    return base_of(slotted())


def the_set(base, task, streams, *, seed, rows=24):
    rng = np.random.default_rng(seed)
    origin = Origin(
        task=task, backbone_digest="0", kind="embedding", source="0", slots=base.network.slots,
    )  # fmt: skip
    return AdapterSet(
        origin=origin, conditions=5 * seed + seed * rng.standard_normal((rows, 2 * streams * D)),
        adapters=rng.standard_normal((rows, origin.width)), person=np.repeat([f"{i}" for i in range(rows // 3)], 3),
        details={},
    )  # fmt: skip


@pytest.fixture
def asked(base, tmp_path, monkeypatch):
    """Asked about a task of one lead, beside a set of a wristband's task."""
    folder = tmp_path / "wrist" / "0"
    (folder / GLOBALS / EVERYBODY).mkdir(parents=True)
    save_set(folder / SET_FILE, the_set(base, "wrist", 6, seed=2))
    monkeypatch.setattr(unseen, "load_note", lambda path: SimpleNamespace(layout=SPREAD))
    found = the_set(base, "made_up", 1, seed=3)
    return Asked(
        people=SimpleNamespace(), each=SimpleNamespace(base=base, barred=("0",)), subjects=[],
        conditions=found.conditions[:2], variant=0, found=found, folder=tmp_path, work=tmp_path, digest="d", seed=0,
        device="cpu", kept={}, others=(folder,),
    )  # fmt: skip


def test_what_all_tasks_have_is_the_mean_over_streams_without_the_spread_of_tokens():
    one = np.arange(2.0 * D).reshape(1, -1)
    np.testing.assert_array_equal(shared_features(one, LAYOUT, tiny_config()), one)
    means, spreads = np.array([1.0, 2.0, 6.0]), np.array([100.0, 200.0, 300.0])
    half = np.repeat(np.stack([means, spreads], 1).ravel(), D)  # stream by stream: its mean, its spread
    both = np.concatenate([half, 10 * half])[None]
    expected = np.repeat([3.0, 30.0], D)[None]
    np.testing.assert_allclose(shared_features(both, SPREAD, tiny_config()), expected)


def test_conditions_are_measured_in_the_units_of_their_own_task(asked):
    plain = ask_unseen(asked, kind="krr")
    assert plain.shape == (2, asked.found.origin.width)
    scaled = replace(asked.found, conditions=7.0 * asked.found.conditions + 3.0)
    again = replace(asked, found=scaled, conditions=7.0 * asked.conditions + 3.0, kept={})
    np.testing.assert_allclose(ask_unseen(again, kind="krr"), plain, rtol=1e-4, atol=1e-6)


def test_no_adapter_of_the_judged_task_is_seen(asked):
    other = replace(asked.found, adapters=np.zeros_like(asked.found.adapters))
    for kind in ("mean", "krr"):
        blind = ask_unseen(replace(asked, found=other, kept={}), kind=kind)
        np.testing.assert_array_equal(blind, ask_unseen(asked, kind=kind))


def test_nobody_gets_what_somebody_like_everybody_would(asked):
    nobody = ask_unseen(asked, kind="krr", null=True)
    np.testing.assert_array_equal(nobody[0], nobody[1])
    assert np.abs(ask_unseen(asked, kind="krr") - nobody).max() > 1e-6


def test_sets_that_cannot_help_are_refused(asked, base):
    with pytest.raises(EvaluationRefused, match="other-sets"):
        ask_unseen(replace(asked, others=(), kept={}), kind="krr")
    save_set(asked.others[0] / SET_FILE, the_set(base, "made_up", 6, seed=2))
    with pytest.raises(EvaluationRefused, match="another task's than made_up"):
        ask_unseen(asked, kind="krr")


def test_the_page_knows_what_they_are():
    generated, controls = KINDS[2], KINDS[4]
    assert {kind_of(arm) for arm in BY_OTHERS} == {generated, controls}
