"""From rows to a set, from a set to a generator, and on to the device that asks it."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_residuals import FEATURES, ORIGIN, smooth_set
from safetensors import safe_open
from safetensors.numpy import save_file

from physioedge.adapters.sets.making import Row
from physioedge.generator.assembling import set_of
from physioedge.generator.files import Generator, load_generator, save_generator
from physioedge.generator.fitted import fit_generator, for_device
from physioedge.generator.networks import MlpFit, as_arrays, fit_mlp
from physioedge.generator.perceptron import ARRAYS, FAR, LIMIT, MLP
from physioedge.generator.regression import KINDS
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.errors import PhysioEdgeError


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


@pytest.mark.parametrize("kind", [*sorted(KINDS), MLP])
def test_a_device_gets_what_the_set_would_give_for_the_same_person(kind, tmp_path):
    found = smooth_set()
    common = np.linspace(-2, 3, FEATURES)
    np.savez(tmp_path / "reference.npz", mean=common[: FEATURES // 2], deviation=common[FEATURES // 2 :])
    plain = fit_generator(kind, found, seed=0, steps=20)
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


@pytest.fixture(scope="module")
def mlp():
    """A fitted network, and the same as arrays."""
    found = smooth_set()
    return found, fit_mlp(found, MlpFit(components=4, hidden=8, steps=60), seed=1)


def test_an_mlp_answers_without_torch_as_with_it(mlp):
    found, fitted = mlp
    plain = as_arrays(fitted)
    asked = np.concatenate([found.conditions, 100 * found.conditions[:3]])  # far off, where features are clipped
    wanted = fitted(asked)
    np.testing.assert_allclose(plain(asked), wanted, atol=1e-5 * np.abs(wanted).max())
    assert np.std(wanted, axis=0).max() > 0


def test_what_is_far_from_everybody_gets_everybodys_mean(mlp):
    found, fitted = mlp
    plain = as_arrays(fitted)
    z = (found.conditions[:1] - plain.middle) / plain.size
    z *= 1 / np.sqrt((z**2).mean())

    def beyond(far: float) -> np.ndarray:
        return plain(plain.middle + far * z * plain.size) - plain.level

    x = np.clip(FAR * z, -LIMIT, LIMIT)
    for number, (weight, bias) in enumerate(plain.layers):
        x = (x / (1 + np.exp(-x)) if number else x) @ weight.T + bias
    np.testing.assert_allclose(beyond(FAR), x @ plain.axes, rtol=1e-9, atol=1e-12)  # whole up to there
    clipped = beyond(1e3 * FAR) * 1e6
    np.testing.assert_allclose(beyond(1e4 * FAR) * 1e8, clipped, rtol=1e-4)  # the square of the distance
    assert np.linalg.norm(beyond(1e3 * FAR)) < 1e-4 * np.linalg.norm(clipped)


def test_an_mlp_s_file_holds_nobodys_condition_and_must_fit(mlp, tmp_path):
    found, fitted = mlp
    save_generator(tmp_path / "g", Generator(origin=found.origin, weights=as_arrays(fitted)))
    with safe_open(tmp_path / "g", framework="numpy") as file:
        arrays, head = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    assert set(arrays) == {*ARRAYS, *(f"layer{i}.{part}" for i in range(3) for part in ("weight", "bias"))}
    assert all(len(found.conditions) not in array.shape for array in arrays.values())
    changes = {
        "layer1.bias": None, "layer9.bias": np.zeros(3, np.float32), "layer0.weight": arrays["layer0.weight"][:, :-1],
        "axes": arrays["axes"][:-1], "level": arrays["level"][:-1], "size": 0 * arrays["size"],
        "middle": arrays["middle"][None], "layer2.bias": arrays["layer2.bias"][:, None],
    }  # fmt: skip
    for name, array in changes.items():
        changed = {k: v for k, v in (arrays | {name: array}).items() if v is not None}
        save_file(changed, tmp_path / "bad", metadata=head)
        with pytest.raises(PhysioEdgeError, match="a generator of this version"):
            load_generator(tmp_path / "bad")
