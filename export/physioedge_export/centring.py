"""What a bundle carries so that a device can centre embeddings: the head's slope, and where everybody's mean lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from physioedge_export.feeds import Array
from physioedge_export.runners import Outputs
from physioedge_runtime.adaptation.centring import FILE, REFERENCE, SHARE, WEIGHT
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.errors import ExportError

TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Head:
    """How the first output follows from the embedding, where it does so linearly.

    Attributes
    ----------
    weight : float32 (n_outputs, embedding_dim)
    constant : float32 (n_outputs,)
        The first output of an embedding of zeros: biases, and the log prior where there is one.
    share : float
        How much of a person's distance from everybody's mean is taken away; chosen on people who were fitted on.
    """

    weight: Array
    constant: Array
    share: float


def head_of(module: nn.Module, embedding_dim: int, share: float) -> Head:
    """Slope and constant of a head that is a linear function of the embedding, by asking it."""
    with torch.no_grad():
        constant = module(torch.zeros(1, embedding_dim))
        slope = module(torch.eye(embedding_dim)) - constant
    return Head(weight=slope.T.contiguous().numpy(), constant=constant[0].numpy(), share=share)


def centring_file(head: Head, outputs: Outputs) -> dict[str, bytes]:
    """The file for a bundle, by its name.

    Parameters
    ----------
    head : Head
    outputs : Outputs
        Of the graph that ships, on windows of the people it was fitted on: their mean is the reference.

    Raises
    ------
    ExportError
        The first output is no such function of the embedding.
    """
    level = outputs.first - outputs.embedding @ head.weight.T
    strays = float(np.ptp(level, axis=0).max()) if len(level) else 0.0
    if not strays <= TOLERANCE * max(1.0, float(np.abs(outputs.first).max())):
        raise ExportError(
            f"a first output that strays {strays:.3g} from the head's slope times the embedding",
            f"at most {TOLERANCE:g} of the largest output", "Export without a head: this one cannot be centred.",
        )  # fmt: skip
    arrays = {
        WEIGHT: np.ascontiguousarray(head.weight, np.float32),
        REFERENCE: outputs.embedding.mean(0, dtype=np.float64).astype(np.float32),
        SHARE: np.array([head.share], np.float32),
    }
    return {FILE: write_tensors(arrays)}
