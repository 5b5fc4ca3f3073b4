"""Centring on the device: an unlabelled mean becomes a bias that equals moving every embedding."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge_runtime.adaptation.centring import FILE, Centre, Centring
from physioedge_runtime.adaptation.under_adapter import MIN_WINDOWS
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import AdapterError, FormatError
from physioedge_runtime.result import Result

RNG = np.random.default_rng(0)
CENTRE = Centre(
    weight=RNG.normal(size=(3, 8)).astype(np.float32), reference=RNG.normal(size=8).astype(np.float32), share=0.5
)


def result(embedding, adapter="global"):
    return Result(
        t_start_s=0.0, t_end_s=1.0, t_anchor_s=1.0, t_emitted_s=1.0, label=None, probability=0.0, probabilities=(),
        quality=1.0, flags=(), adapter=adapter, embedding=embedding,
    )  # fmt: skip


def person(n=MIN_WINDOWS, seed=1):
    return np.random.default_rng(seed).normal(1.5, 1.0, (n, 8)).astype(np.float32)


def test_the_bias_equals_moving_every_embedding():
    embeddings = person()
    centring = Centring(CENTRE)
    centring.add(result(e) for e in embeddings)
    bias = centring.bias()
    moved = embeddings - CENTRE.share * (embeddings.mean(0) - CENTRE.reference)
    np.testing.assert_allclose(embeddings @ CENTRE.weight.T + bias[BIAS], moved @ CENTRE.weight.T, atol=1e-4)
    assert bias[BIAS].dtype == np.float32 and set(bias) == {BIAS}


def test_windows_that_the_model_did_not_see_and_other_adapters_do_not_count():
    centring = Centring(CENTRE)
    centring.add([result(None)] * 100)
    with pytest.raises(AdapterError, match="mean over 0 windows"):
        centring.bias()
    centring.add(result(e) for e in person(seed=1))
    after = person(seed=2)
    centring.add(result(e, "mine") for e in after)  # a swap: the mean is taken again
    assert centring.windows == len(after)
    alone = Centring(CENTRE)
    alone.add(result(e, "mine") for e in after)
    np.testing.assert_array_equal(centring.bias()[BIAS], alone.bias()[BIAS])
    centring.reset()
    with pytest.raises(AdapterError):
        centring.bias()


def bundle(**arrays):
    made = {"weight": CENTRE.weight, "reference": CENTRE.reference, "share": np.array([0.5], np.float32), **arrays}
    return SimpleNamespace(
        manifest=SimpleNamespace(files={FILE: None}, name="b"), contract=SimpleNamespace(n_outputs=3, embedding_dim=8),
        read=lambda name: write_tensors(made),
    )  # fmt: skip


def test_a_bundle_says_what_centring_needs():
    found = Centre.of(bundle())
    np.testing.assert_array_equal(found.weight, CENTRE.weight)
    assert found.share == 0.5
    plain = bundle()
    plain.manifest = replace_files(plain.manifest)
    with pytest.raises(AdapterError, match="without centring"):
        Centre.of(plain)


def replace_files(manifest):
    return SimpleNamespace(files={}, name=manifest.name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": np.zeros((2, 8), np.float32)},
        {"share": np.array([1.5], np.float32)},
        {"reference": np.full(8, np.nan, np.float32)},
        {"more": np.zeros(1, np.float32)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(wrong):
    with pytest.raises(FormatError):
        Centre.of(bundle(**wrong))


def test_shares_scale():
    rows = [result(e) for e in person()]
    biases = []
    for share in (0.0, 0.5, 1.0):
        one = Centring(replace(CENTRE, share=share))
        one.add(rows)
        biases.append(one.bias()[BIAS])
    np.testing.assert_array_equal(biases[0], 0.0)
    np.testing.assert_allclose(biases[2], 2 * biases[1], rtol=1e-6)
