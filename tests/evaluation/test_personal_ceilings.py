"""Ceilings: whose residual is taken, on which sensor, and what is left of it in components of everybody else's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from physioedge.evaluation.personal.asked import Asked
from physioedge.evaluation.personal.ceilings import CEILINGS, ask_themselves
from physioedge.evaluation.personal.run import OWN
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.report.personal_rows import KINDS, kind_of
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import EvaluationRefused

NAMES, WEARERS, STRETCHES, WIDTH = ("a", "b", "c", "d"), 2, 3, 6
OF_WEARER = np.random.default_rng(0).standard_normal((len(NAMES), WEARERS, WIDTH))


def asked(*judged: str, variant: int = 0) -> Asked:
    rows = len(NAMES) * WEARERS * STRETCHES
    found = AdapterSet(
        origin=Origin(task="t", backbone_digest="0", kind="embedding", source="0",
                      slots=(SlotSpec(name="s", shape=(2, 3)),)),
        conditions=np.zeros((rows, 4)), adapters=np.repeat(OF_WEARER.reshape(-1, WIDTH), STRETCHES, axis=0),
        person=np.repeat(NAMES, WEARERS * STRETCHES),
        details={"config": {"folds": 2, "splits": 1, "wearers": WEARERS, "stretches": STRETCHES}},
    )  # fmt: skip
    parts = dict.fromkeys(("people", "folder", "conditions", "work", "digest", "seed", "device"))
    return Asked(
        **parts, each=SimpleNamespace(barred=judged), subjects=[SimpleNamespace(name=name) for name in judged],
        variant=variant, found=found, kept={},
    )  # fmt: skip


def test_the_judged_sensors_own_residual_is_taken():
    for variant in range(WEARERS):
        np.testing.assert_array_equal(ask_themselves(asked("b", "d", variant=variant)), OF_WEARER[[1, 3], variant])


def test_components_are_of_everybody_else_and_more_of_them_leave_more():
    own = OF_WEARER[[1, 3], 0]
    left = {count: CEILINGS[f"own_pca{count}"](asked("b", "d")) for count in (4, 16)}
    error = {count: np.linalg.norm(found - own) for count, found in left.items()}
    assert 0 < error[16] <= error[4]
    others = OF_WEARER[[0, 2]].reshape(-1, WIDTH)  # four rows span three directions around their mean
    inside = np.linalg.lstsq((others - others.mean(0)).T, (own - others.mean(0)).T, rcond=None)[0]
    np.testing.assert_allclose(left[16], others.mean(0) + inside.T @ (others - others.mean(0)), atol=1e-9)


def test_people_who_are_not_in_the_set_have_none():
    with pytest.raises(EvaluationRefused, match="own residuals of e"):
        ask_themselves(asked("e"))


def test_they_stand_among_the_ceilings_of_the_page():
    assert set(CEILINGS) <= set(OWN)
    assert {kind_of(f"{arm}{step}") for arm in CEILINGS for step in ("", "_levelling")} == {KINDS[-1]}
