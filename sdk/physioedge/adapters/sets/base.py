"""The global model that residuals are taken around, and what a generator sees of a person through it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.adapters.lora.files import load_network, load_note
from physioedge.adapters.sets.slotted import SlottedNetwork
from physioedge.models.network import Network
from physioedge.tasks.levels import LevelRule, rule_of
from physioedge_runtime.errors import AdapterError

Floats = NDArray[np.float64]
Signals = tuple[Tensor, ...]
"""Windows (window, channel, input_samples), one array a sensor."""
REFERENCE = "reference.npz"
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Base:
    """A global model that a person's adapter is a residual of.

    Attributes
    ----------
    network : SlottedNetwork
    log_prior : float64 (class,)
        What the head adds to its scores.
    reference : float64 (embedding_dim,)
        Mean over the people fitted on of their mean embeddings.
    reference_deviation : float64 (embedding_dim,)
        Mean over the same people of the deviation of their embeddings from their own mean.
    level : float64 (class,)
        Everybody's: `physioedge.adapters.sets.making.common_level`.
    rule : LevelRule
        What is done about a person's levels.
    """

    network: SlottedNetwork
    log_prior: Floats
    reference: Floats
    reference_deviation: Floats
    level: Floats
    rule: LevelRule

    def embed(self, signals: Signals, residual: NDArray[np.floating] | None = None) -> NDArray[np.float32]:
        """Embeddings (window, embedding_dim) with a residual (width,) in the slots, or without."""
        return embedded(self.network, signals, residual)

    def logits(self, embedding: NDArray[np.floating]) -> Floats:
        """Logits (window, class) of embeddings, prior included."""
        return logits_of(self.network, self.log_prior, embedding)

    def prior(self) -> Tensor:
        """What the head adds to its scores, (class,), where the network computes."""
        return torch.as_tensor(self.log_prior, dtype=torch.float32).to(self.network.device)

    def features(self, embedding: NDArray[np.floating]) -> Floats:
        """What a generator sees of a person's embeddings: means, then deviations, each less that of everybody.

        Global adapters fitted on other people put everybody elsewhere; what is left is where the person stands.
        """
        found = embedding.astype(np.float64)
        return np.concatenate([found.mean(0) - self.reference, found.std(0) - self.reference_deviation])


def embedded(
    network: SlottedNetwork, signals: Signals, residual: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Embeddings (window, embedding_dim) with a residual (width,) in the slots, or without."""
    out = []
    with torch.no_grad(), network.holding(residual) as held:
        for first in range(0, len(signals[0]), _AT_ONCE):
            part = (x[first : first + _AT_ONCE].to(network.device) for x in signals)
            out.append(held.quick_embed(*part).cpu().numpy())
    return np.concatenate(out)


def logits_of(network: SlottedNetwork, log_prior: Floats, embedding: NDArray[np.floating]) -> Floats:
    """Logits (window, class) of embeddings, prior included."""
    with torch.no_grad():
        scores = network.network.raw(torch.as_tensor(embedding, dtype=torch.float32).to(network.device))
    return np.asarray(scores.double().cpu().numpy() + log_prior)


def slotted(backbone: Path, folder: Path, device: str = "cpu") -> tuple[SlottedNetwork, Floats]:
    """The network of a global adapter with slots, on a device of torch, and the log prior of its head.

    Raises
    ------
    AdapterError
        Its head is not one of classes.
    """
    network, adapter, note, _ = load_network(backbone, folder)
    if not isinstance(network, Network) or "log_prior" not in note.head:
        raise AdapterError(f"an adapter of {note.task}", "one of a task with classes", "Choose another task.")
    return SlottedNetwork(network, adapter, device), np.array(note.head["log_prior"])


def load_base(backbone: Path, folder: Path, level: Floats, device: str = "cpu") -> Base:
    """The model of a folder with a global adapter and a `REFERENCE` beside it, and everybody's level (class,)."""
    network, prior = slotted(backbone, folder, device)
    rule = rule_of(load_note(folder).task, len(prior))
    with np.load(folder / REFERENCE, allow_pickle=False) as file:
        return Base(
            network=network, log_prior=prior, reference=file["mean"], reference_deviation=file["deviation"],
            level=level, rule=rule,
        )  # fmt: skip
