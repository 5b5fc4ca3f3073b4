"""Windows of many wearers as the blocks read them: what generators practise on when they are tuned end to end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.adapters.sets.base import Base
from physioedge.adapters.sets.making import save_arrays
from physioedge.adapters.sets.people import Worn
from physioedge.models.network import Network

Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is kept of each wearer.

    Attributes
    ----------
    calibration : int
        Unlabelled windows of a stretch.
    of_class : int
        Labelled windows of each class, at most, from outside the stretch.
    stretch_s : tuple of float
        Shortest and longest stretch. Of a recording shorter than three times the longest, the first half is the
        stretch.
    """

    calibration: int = 64
    of_class: int = 24
    stretch_s: tuple[float, float] = (60.0, 300.0)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One wearer: patches of some windows, the calibration first.

    Attributes
    ----------
    person : str
    patches : tuple of float16 (window, token, token_inputs)
        One array a stream.
    target : int64 (window,)
        Classes; -1 for the calibration.
    """

    person: str
    patches: tuple[Tensor, ...]
    target: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Practice:
    """Wearers to practise on, under one global model.

    Attributes
    ----------
    person : str (wearer,)
    patches : tuple of float16 (window, token, token_inputs)
        Of all wearers, one array a stream, where the network computes.
    target : int64 (window,)
    calibration : int64 (wearer, n)
        Windows without labels, as a device would have; some stand several times where there are few.
    known : int64 (wearer, class, n)
        Labelled windows; as many as `counts` say count.
    counts : int64 (wearer, class)
    conditions : float32 (wearer, feature)
        What a generator is told.
    """

    person: NDArray[np.str_]
    patches: tuple[Tensor, ...]
    target: Tensor
    calibration: Tensor
    known: Tensor
    counts: Tensor
    conditions: Tensor

    def scores(self, network: Network, index: Tensor) -> Tensor:
        """Scores without prior (..., class) of the windows of an index (...,), under what is in the slots."""
        flat = [x[index.ravel()].float() for x in self.patches]
        return network.raw(network.quick_pooled(flat)).reshape(*index.shape, -1)


def kept_of(person: str, worn: Worn, network: Network, keeping: Keeping, *, seed: int) -> Kept | None:
    """Patches of one wearer, computed by a network's frontends on the processor; None where no window has a class."""
    rng = np.random.default_rng(seed)
    inside = _stretch(worn.time_s, keeping, rng)
    chosen = [rng.permutation(np.flatnonzero(inside))[: keeping.calibration]]
    for label in np.unique(worn.target[worn.target >= 0]):
        of_class = np.flatnonzero(~inside & (worn.target == label))
        chosen.append(np.sort(rng.permutation(of_class)[: keeping.of_class]))
    index = np.concatenate(chosen)
    if len(index) == len(chosen[0]) or not len(chosen[0]):
        return None
    target = np.where(np.arange(len(index)) < len(chosen[0]), -1, worn.target[index])
    with torch.no_grad():
        patches = network.backbone.patches(tuple(x[torch.from_numpy(index)] for x in worn.signals))
    return Kept(person=person, patches=tuple(x.half() for x in patches), target=target)


def write_kept(path: Path, wearers: Sequence[Kept]) -> None:
    """Wearers of one person, or of many, as a file; see `read_kept`."""
    streams = range(len(wearers[0].patches)) if wearers else range(0)
    arrays = {f"patches{i}": torch.cat([one.patches[i] for one in wearers]).numpy() for i in streams}
    target = np.concatenate([one.target for one in wearers]) if wearers else np.zeros(0, np.int64)
    ends = np.cumsum([len(one.target) for one in wearers], dtype=np.int64)
    person = np.array([one.person for one in wearers], dtype=np.str_)
    save_arrays(path, **arrays, target=target, ends=ends, person=person)


def read_kept(path: Path) -> list[Kept]:
    """The wearers of a file."""
    with np.load(path, allow_pickle=False) as file:
        found = {key: file[key] for key in file.files}
    streams = [torch.from_numpy(found[key]) for key in sorted(found) if key.startswith("patches")]
    bounds = np.concatenate([[0], found["ends"]])
    return [
        Kept(person=str(name), patches=tuple(x[first:last] for x in streams), target=found["target"][first:last])
        for name, first, last in zip(found["person"], bounds, bounds[1:], strict=False)
    ]


def practice_of(wearers: Iterable[Kept], base: Base) -> Practice:
    """Wearers under a global model, on its device."""
    found, network, n_classes = list(wearers), base.network, len(base.log_prior)
    patches = tuple(
        torch.cat([one.patches[i] for one in found]).to(network.device) for i in range(len(found[0].patches))
    )
    first = np.cumsum([0, *(len(one.target) for one in found)])
    most = max(np.bincount(one.target[one.target >= 0]).max() for one in found)
    calibrations = [np.flatnonzero(one.target < 0) for one in found]
    calibration = np.zeros((len(found), max(map(len, calibrations))), np.int64)
    known = np.zeros((len(found), n_classes, most), np.int64)
    counts = np.zeros((len(found), n_classes), np.int64)
    for row, (one, at) in enumerate(zip(found, calibrations, strict=True)):
        calibration[row] = first[row] + np.resize(at, calibration.shape[1])
        for label in range(n_classes):
            here = first[row] + np.flatnonzero(one.target == label)
            known[row, label, : len(here)], counts[row, label] = here, len(here)
    conditions = _conditions(base, patches, [first[i] + at for i, at in enumerate(calibrations)])
    target = np.concatenate([one.target for one in found])

    def there(array: Index) -> Tensor:
        return torch.from_numpy(array).to(network.device)

    return Practice(
        person=np.array([one.person for one in found]), patches=patches, target=there(target),
        calibration=there(calibration), known=there(known), counts=there(counts), conditions=conditions,
    )  # fmt: skip


def _conditions(base: Base, patches: tuple[Tensor, ...], wearers: list[Index], at_once: int = 2048) -> Tensor:
    index, out = np.concatenate(wearers), []
    with torch.no_grad(), base.network.holding(None) as network:
        for first in range(0, len(index), at_once):
            chosen = torch.from_numpy(index[first : first + at_once]).to(base.network.device)
            out.append(network.quick_pooled([x[chosen].float() for x in patches]).cpu().numpy())
    ends = np.cumsum([len(one) for one in wearers])[:-1]
    found = [base.features(part) for part in np.split(np.concatenate(out), ends)]
    return torch.from_numpy(np.stack(found)).float().to(base.network.device)


def _stretch(time_s: NDArray[np.float64], keeping: Keeping, rng: np.random.Generator) -> NDArray[np.bool_]:
    begins_s, ends_s = float(time_s[0]), float(time_s[-1])
    shortest_s, longest_s = keeping.stretch_s
    if ends_s - begins_s < 3 * longest_s:
        return np.asarray(time_s < begins_s + (ends_s - begins_s) / 2)
    length_s = rng.uniform(shortest_s, longest_s)
    first_s = rng.uniform(begins_s, ends_s - length_s)
    return np.asarray((time_s >= first_s) & (time_s < first_s + length_s))
