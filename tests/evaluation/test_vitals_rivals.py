"""Forecasts by other packages: naive ones and ETS by statsforecast, Chronos by its own on small random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physioedge.evaluation.vitals import rivals
from physioedge.models.forecaster import CONTEXT_STEPS, HORIZON_STEPS, LEVELS
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError

CONTEXT = 70 + 5 * np.sin(2 * np.pi * np.arange(CONTEXT_STEPS) / rivals.SEASON_STEPS)
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "is_encoder_decoder": True,
      "decoder_start_token_id": 0}  # fmt: skip


def test_the_mean_of_the_context_stays() -> None:
    found = rivals.RIVALS["context_mean"](CONTEXT)
    assert found.shape == (HORIZON_STEPS, len(LEVELS))
    assert np.allclose(found[:, 4], 70) and (np.diff(found, axis=1) >= 0).all()


def test_naive_forecasts_repeat_what_was() -> None:
    pytest.importorskip("statsforecast", reason="the extra 'forecast-rivals' is not installed")
    last, season = (rivals.RIVALS[name](CONTEXT) for name in ("naive", "seasonal_naive"))
    assert np.allclose(last[:, 4], CONTEXT[-1])
    assert np.allclose(season[: rivals.SEASON_STEPS, 4], CONTEXT[-rivals.SEASON_STEPS :])
    assert (np.diff(last, axis=1) >= 0).all() and last[-1, 8] - last[-1, 0] > last[0, 8] - last[0, 0]


def test_a_model_that_finds_nothing_gives_the_last_value() -> None:
    def fails(context: np.ndarray) -> np.ndarray:
        raise ValueError("still")

    assert (rivals._usable(fails, CONTEXT) == CONTEXT[-1]).all()


def bolt(folder: Path) -> None:
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    config = T5Config(vocab_size=2, **T5, chronos_pipeline_class="ChronosBoltPipeline", chronos_config={
        "context_length": 96, "prediction_length": HORIZON_STEPS, "input_patch_size": 16, "input_patch_stride": 16,
        "quantiles": list(LEVELS), "use_reg_token": True,
    })  # fmt: skip
    torch.manual_seed(0)
    ChronosBoltModelForForecasting(config).save_pretrained(folder)


def t5(folder: Path) -> None:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=32, **T5, chronos_config={
        "tokenizer_class": "MeanScaleUniformBins", "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
        "context_length": 96, "prediction_length": HORIZON_STEPS, "n_tokens": 32, "n_special_tokens": 2,
        "pad_token_id": 0, "eos_token_id": 1, "use_eos_token": True, "model_type": "seq2seq", "num_samples": 4,
        "temperature": 1.0, "top_k": 10, "top_p": 1.0,
    })  # fmt: skip
    torch.manual_seed(0)
    T5ForConditionalGeneration(config).save_pretrained(folder)


@pytest.mark.parametrize("make", [bolt, t5])
@pytest.mark.filterwarnings("ignore")  # other packages' own
def test_chronos_is_loaded_from_a_folder_and_forecasts(make, tmp_path: Path) -> None:
    pytest.importorskip("chronos", reason="the extra 'forecast-rivals' is not installed")
    make(tmp_path / make.__name__)
    contexts = np.stack([CONTEXT, CONTEXT + 30, CONTEXT[::-1]])
    found = rivals.chronos_quantiles(tmp_path / make.__name__, contexts)
    assert found.shape == (3, HORIZON_STEPS, len(LEVELS)) and np.isfinite(found).all()
    again = rivals.chronos_quantiles(tmp_path / make.__name__, contexts)
    assert np.array_equal(found, again)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("chronos", reason="the extra 'forecast-rivals' is not installed")
    with pytest.raises(PhysioEdgeError, match="Chronos"):
        rivals.chronos_quantiles(tmp_path / "none", CONTEXT[None])


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(MissingExtra, match="forecast-rivals"):
        rivals._module("no_such_module_here", "no-such-package")
