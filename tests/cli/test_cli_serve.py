"""``serve``: a generator's sampler is the operator's to shorten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra train")

from physioedge.cli.serve import _generator
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.dit.config import DitConfig, Sampling
from physioedge.generator.dit.fitting import fit_dit
from physioedge.generator.files import Generator, save_generator
from physioedge.generator.regression import fit_ridge
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import PhysioEdgeError

ORIGIN = Origin(
    task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source="0" * 64,
    slots=(SlotSpec(name="a.B", shape=(2, 3)),),
)  # fmt: skip


def people() -> AdapterSet:
    rng = np.random.default_rng(0)
    return AdapterSet(
        origin=ORIGIN, conditions=rng.normal(size=(4, 4)), adapters=rng.normal(size=(4, 6)),
        person=np.array(list("aabb")), details={},
    )  # fmt: skip


def test_steps_and_draws_of_diffusion_are_as_asked_for_or_as_in_the_file(tmp_path: Path) -> None:
    config = DitConfig(width=16, blocks=1, heads=2, steps=0, sampling=Sampling(steps=7, samples=3))
    weights = fit_dit(people(), config, seed=0, progress=False)
    save_generator(tmp_path / "dit", Generator(origin=ORIGIN, weights=weights))
    found = [_generator(tmp_path / "dit", *asked).weights.sampling for asked in ((None, None), (1, None), (2, 1))]  # type: ignore[union-attr]
    assert [(s.steps, s.samples) for s in found] == [(7, 3), (1, 3), (2, 1)]
    with pytest.raises(PhysioEdgeError, match="1 to 1000 steps"):
        _generator(tmp_path / "dit", 0, None)


def test_a_closed_form_has_no_sampler(tmp_path: Path) -> None:
    save_generator(tmp_path / "ridge", Generator(origin=ORIGIN, weights=fit_ridge(people())))
    assert _generator(tmp_path / "ridge", None, None).kind == "ridge"
    with pytest.raises(PhysioEdgeError, match="kind ridge"):
        _generator(tmp_path / "ridge", 1, None)
