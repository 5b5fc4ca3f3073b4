"""From rows to a set, from a set to a generator, and on to the device that asks it."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_residuals import FEATURES, ORIGIN, smooth_set

from physioedge.adapters.sets.making import Row
from physioedge.generator.assembling import set_of
from physioedge.generator.files import load_generator, save_generator
from physioedge.generator.fitted import fit_generator, for_device
from physioedge.generator.regression import KINDS
from physioedge_runtime.adaptation.condition import Condition


def row(person: str, value: float, stretches: int) -> Row:
    return Row(
        person=person, wearer=0, split=0, conditions=np.arange(stretches)[:, None] + np.full((1, FEATURES), value),
        residual=np.full(ORIGIN.width, value, np.float32), core_s=1.5,
    )  # fmt: skip


def test_every_condition_of_a_wearer_stands_beside_the_same_residual():
    found = set_of([row("a", 1.0, 2), row("b", 5.0, 3)], ORIGIN, {"seed": 3})
    assert found.person.tolist() == ["a", "a", "b", "b", "b"]
    assert found.adapters[:, 0].tolist() == [1.0, 1.0, 5.0, 5.0, 5.0]
    assert found.conditions[:, 0].tolist() == [1.0, 2.0, 5.0, 6.0, 7.0]
    assert found.details == {"seed": 3, "cost": {"core_s": 3.0, "adapters": 2}}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_device_gets_what_the_set_would_give_for_the_same_person(kind, tmp_path):
    found = smooth_set()
    common = np.linspace(-2, 3, FEATURES)
    np.savez(tmp_path / "reference.npz", mean=common[: FEATURES // 2], deviation=common[FEATURES // 2 :])
    plain = fit_generator(kind, found, seed=0)
    save_generator(tmp_path / "g", for_device(plain, tmp_path / "reference.npz"))
    whole = (found.conditions[4] + common).astype(np.float32)
    condition = Condition(
        kind=ORIGIN.kind, source=ORIGIN.source, task={"name": ORIGIN.task}, backbone=ORIGIN.backbone_digest,
        adapter="none", windows=100, mean=whole[: FEATURES // 2], deviation=whole[FEATURES // 2 :],
    )  # fmt: skip
    (arrays,) = load_generator(tmp_path / "g").generate([condition])
    wanted = ORIGIN.arrays(plain.weights(found.conditions[4][None])[0])
    for name, array in wanted.items():
        np.testing.assert_allclose(arrays[name], array, atol=2e-3)
