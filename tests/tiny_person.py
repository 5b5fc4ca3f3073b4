"""A network of some thousand weights that knows three kinds of windows, and people who show them their own way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Base, logits_of
from physioedge.adapters.sets.slotted import SlottedNetwork
from physioedge.evaluation.personal.subject import Subject
from physioedge.models.network import Network, network_on
from physioedge.tasks.levels import levels, rule_of
from physioedge_export.merge import LoraAdapter, LoraPair
from tiny_training import FS_HZ, INPUT_SAMPLES, tiny_backbone

KINDS_HZ = (1.5, 5.0, 12.0)
"""What a window of each class swings at."""
N, S, V = range(3)
RANK = 4
LENGTH = 4.0
"""How far from zero the head's class means lie in the space it projects to."""


def windows_of(target: NDArray[np.int64], seed: int) -> tuple[torch.Tensor]:
    """Raw samples (window, 1, input_samples) of classes."""
    rng = np.random.default_rng(seed)
    t = np.arange(INPUT_SAMPLES) / FS_HZ
    rate = np.array(KINDS_HZ)[target][:, None] * rng.uniform(0.9, 1.1, (len(target), 1))
    x = np.sin(2 * np.pi * (t * rate + rng.random((len(target), 1)))) + 0.1 * rng.standard_normal((len(target), t.size))
    return (torch.from_numpy(x[:, None].astype(np.float32)),)


def adapter_for(network: Network) -> LoraAdapter:
    """Random A for every linear layer of the blocks; the network holds nothing of it."""
    rng = np.random.default_rng(3)
    pairs = {}
    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Linear) and ".blocks." in name:
            a = rng.standard_normal((RANK, layer.in_features)).astype(np.float32) / layer.in_features**0.5
            pairs[name] = LoraPair(a=a, b=np.zeros((layer.out_features, RANK), np.float32), scale=1.0)
    return LoraAdapter(pairs=pairs)


def slotted() -> SlottedNetwork:
    """Slots around a random backbone whose head has been fitted to the three kinds by least squares."""
    network = network_on(tiny_backbone(7), 3, classes=True, head_seed=0).eval()
    target = np.arange(240) % 3
    with torch.no_grad():
        known = network.quick_embed(*windows_of(target, seed=1)).double()
        wanted = LENGTH * network.head.prototypes[target].double()
        whole = torch.cat([known, torch.ones(len(known), 1, dtype=torch.float64)], dim=1)
        ridge = 0.1 * torch.eye(whole.shape[1], dtype=torch.float64)
        weight = torch.linalg.solve(whole.T @ whole + ridge, whole.T @ wanted)
        network.head.projection.weight.copy_(weight[:-1].T)
        network.head.projection.bias.copy_(weight[-1])
    return SlottedNetwork(network, adapter_for(network))


def base_of(network: SlottedNetwork, log_prior: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Base:
    """The network with the references of people who show every kind equally often."""
    with torch.no_grad():
        known = network.network.quick_embed(*windows_of(np.arange(240) % 3, seed=2)).double().numpy()
    prior = np.array(log_prior)
    return Base(
        network=network,
        log_prior=prior,
        reference=known.mean(0),
        reference_deviation=known.std(0),
        level=levels(logits_of(network, prior, known)),
        rule=rule_of("none", 3),
    )


def person(name: str, calibration: NDArray[np.int64], test: NDArray[np.int64], seed: int = 7) -> Subject:
    """A person with windows of these classes."""
    return Subject(
        name=name,
        calibration=windows_of(np.maximum(calibration, 0), seed),
        calibration_target=calibration,
        test=windows_of(test, seed + 1),
        target=test,
    )


def everyone(n_calibration: int = 60, n_test: int = 90) -> Subject:
    """A person who shows every kind equally often."""
    return person("100", np.arange(n_calibration) % 3, np.arange(n_test) % 3)


@dataclass(frozen=True, kw_only=True)
class Moved(Base):
    """A base under which the person at hand has embeddings elsewhere: ``scale * embedding + shift``."""

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]

    def embed(self, signals, residual=None):
        return (super().embed(signals, residual) * self.scale + self.shift).astype(np.float32)


def moved(base: Base, shift: NDArray[np.float64], scale: NDArray[np.float64] | float = 1.0) -> Moved:
    return Moved(**vars(base), shift=shift, scale=np.broadcast_to(scale, shift.shape))


def accuracy(logits: NDArray[np.float64], subject: Subject) -> float:
    return float((logits.argmax(1) == subject.target).mean())


def known_space(frequencies: tuple[float, ...], n: int, seed: int, network: SlottedNetwork, spread: float):
    """Embeddings (n, 16) and classes of Gaussians around ``LENGTH`` times each direction, by class frequencies.

    With the identity for a projection and a temperature of ``spread**2 / LENGTH`` the head's scores are their exact log
    densities.
    """
    rng = np.random.default_rng(seed)
    target = rng.choice(3, n, p=frequencies)
    means = LENGTH * network.network.head.prototypes.numpy().astype(np.float64)
    return means[target] + spread * rng.standard_normal((n, means.shape[1])), target
