"""Put VeRA layers into a network.

Source: Kopiczko, Blankevoort and Asano, VeRA: Vector-based random matrix adaptation, ICLR 2024 (arXiv 2310.11454).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from physioedge.adapters.vera.config import VeraShape


def inject(model: nn.Module, shape: VeraShape, *, train_modules: tuple[str, ...] = ()) -> Any:
    """Wrap `model`, changed in place, so that two vectors a layer and the named modules are trained: a peft model.

    The random matrices are saved with the vectors: another version of torch may draw others from the same seed.
    """
    import peft  # slow to import: 6 s

    config = peft.VeraConfig(
        r=shape.rank,
        target_modules=list(shape.targets),
        modules_to_save=list(train_modules) or None,
        projection_prng_key=shape.seed,
        save_projection=True,
        vera_dropout=0.0,
    )
    return peft.get_peft_model(model, config)
