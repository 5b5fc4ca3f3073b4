"""Whether what makes the old model personal still does so through a bridge: centring, and an adapter of the person's.

Both come from the old sensor: the mean embedding of everybody, and a LoRA fitted with labels of the old sensor. The
person then wears the new sensor alone.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.adapters.lora.inject import inject
from physioedge.bridge.config import BridgeConfig
from physioedge.bridge.fitting import fit_bridge, rows_of
from physioedge.bridge.layers import upper_part
from physioedge.bridge.module import Positions
from physioedge.bridge.pairs import load_store
from physioedge.evaluation.bridge.fits import Place, Prepared, prepared, windows_of
from physioedge.models.network import Network
from physioedge.training.losses import balanced_prototype_loss

FIRST_S = 300.0
"""What a person is known by; the rest is judged."""
SHARES = (0.5, 1.0)
STEPS, BATCH, RATE = 60, 64, 3e-3
_AT_ONCE = 512


def carried_record(
    place: Place, name: str, fold: int, config: BridgeConfig, positions: Positions, *, seed: int = 0
) -> dict[str, Any]:
    """Confusion matrices of every judged person after their first minutes, under each way, on both sensors."""
    here = prepared(place, name, fold)
    frozen, device = here.frozen, here.frozen.device
    rows = rows_of(here.pairs, frozen.made.answer, frozen.subject, config, seed=seed)
    bridge = fit_bridge(frozen, [rows], positions, config, seeds=(seed,)).team.member(0)
    early = _early(place, here)
    ways: dict[str, list[Any]] = {}
    people = np.unique(frozen.subject[here.test])
    old = copy.deepcopy(frozen.old).to(device)
    head = old.head
    upper = upper_part(old.backbone, positions.old).to(device)
    h = frozen.put(np.ascontiguousarray(frozen.made.new[:, positions.new]))
    own = frozen.put(frozen.made.embedding)
    everybody = _reference(own, here.pairs, frozen.subject)
    length = here.direction.old_layout.input_shapes(frozen.old.backbone.config)[0][1]
    windows = windows_of(place, here.direction, old=True, length=length)
    for person in people:
        mine = here.test[frozen.subject[here.test] == person]
        first, rest = mine[early[mine]], mine[~early[mine]]
        if not len(first) or not len(rest):
            continue
        truth = frozen.target[rest]
        bridged = _embedded(lambda at: upper.pooled(upper.transformed(bridge(h[at].float()))), mine, device)
        seen = own[frozen.put(mine)].float()
        for sensor, embedding in (("bridged", bridged), ("old", seen)):
            known, asked = embedding[frozen.put(early[mine])], embedding[frozen.put(~early[mine])]
            _count(ways, sensor, head(asked), truth)
            for share in SHARES:
                moved = asked - share * (known.mean(0) - everybody)
                _count(ways, f"{sensor} centred {share:g}", head(moved), truth)
        personal = _adapted(frozen.old, windows[first], frozen.target[first], device, seed)
        theirs = upper_part(personal.backbone, positions.old).to(device)
        at = frozen.put(rest)
        with torch.no_grad():
            tokens = bridge(h[at].float())
            _count(ways, "bridged adapted", personal.head(theirs.pooled(theirs.transformed(tokens))), truth)
            _count(ways, "old adapted", _answers(personal, windows[rest], device), truth)
    return {"key": f"{name}/carried/{fold}", "positions": [positions.new, positions.old], "ways": ways}


def _early(place: Place, here: Prepared) -> NDArray[np.bool_]:
    """Windows that end in a record's first minutes."""
    store, sensor = load_store(place.work / f"{here.direction.store}.npz"), here.direction.old
    fs_hz = here.frozen.old.backbone.config.modality(sensor.kind).fs_hz
    ends = np.concatenate([strip.ends[sensor.sensor] - strip.ends[sensor.sensor][0] for strip in store.strips])
    return np.asarray(ends[:: place.thin] < FIRST_S * fs_hz, np.bool_)


def _reference(embedding: Tensor, pairs: NDArray[np.int64], subject: NDArray[np.int64]) -> Tensor:
    """Mean over the pairs' people of their mean embeddings, of the old sensor."""
    means = []
    for person in np.unique(subject[pairs]):
        rows = torch.from_numpy(pairs[subject[pairs] == person]).to(embedding.device)
        means.append(embedding[rows].float().mean(0))
    return torch.stack(means).mean(0)


def _embedded(embed: Any, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    with torch.no_grad():
        parts = [embed(torch.from_numpy(rows[i : i + _AT_ONCE]).to(device)) for i in range(0, len(rows), _AT_ONCE)]
    return torch.cat(parts)


def _adapted(
    old: Network, windows: NDArray[np.float32], target: NDArray[np.int64], device: torch.device, seed: int
) -> Network:
    """The old model with a LoRA fitted on a person's first minutes of the old sensor, with their labels."""
    torch.manual_seed(seed)
    network = copy.deepcopy(old).to(device)
    head_counts = torch.bincount(torch.from_numpy(target), minlength=int(target.max()) + 1)
    n_classes = network.get_buffer("head.log_prior").shape[0]
    counts = nn.functional.pad(head_counts.float(), (0, n_classes - len(head_counts))).to(device)
    wrapped: Any = inject(network, BridgeConfig().lora).to(device)
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=RATE)
    x, y = torch.from_numpy(windows).to(device), torch.from_numpy(target).to(device)
    for step in range(STEPS):
        rows = torch.from_numpy(np.random.default_rng((seed, step)).integers(0, len(target), BATCH)).to(device)
        head: Any = network.head
        loss = balanced_prototype_loss(head.scores(network.embed(x[rows])), y[rows], counts)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    merged: Network = wrapped.merge_and_unload()
    return merged.eval().requires_grad_(False)


def _answers(network: Network, windows: NDArray[np.float32], device: torch.device) -> Tensor:
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(windows[i : i + _AT_ONCE]).to(device))[0] for i in range(0, len(windows), _AT_ONCE)
        ]
    return torch.cat(parts)


def _count(ways: dict[str, list[Any]], way: str, logits: Tensor, truth: NDArray[np.int64]) -> None:
    n = logits.shape[1]
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (truth, logits.detach().argmax(1).cpu().numpy()), 1)
    ways.setdefault(way, []).append(counts.tolist())
