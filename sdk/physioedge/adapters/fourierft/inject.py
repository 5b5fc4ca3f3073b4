"""Put FourierFT layers into a network.

Source: Gao et al., Parameter-efficient fine-tuning with discrete Fourier transform, ICML 2024 (arXiv 2405.03003).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from physioedge.adapters.fourierft.config import FourierShape


def inject(model: nn.Module, shape: FourierShape, *, train_modules: tuple[str, ...] = ()) -> Any:
    """Wrap `model`, changed in place, so that coefficients and the named modules are trained: a peft model.

    Coefficients start at zero, so that nothing is changed before the first step.
    """
    import peft  # slow to import: 6 s

    config = peft.FourierFTConfig(
        n_frequency=shape.coefficients,
        scaling=shape.scaling,
        target_modules=list(shape.targets),
        modules_to_save=list(train_modules) or None,
        random_loc_seed=shape.seed,
        init_weights=True,
    )
    return peft.get_peft_model(model, config)
