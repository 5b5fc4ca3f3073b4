"""The backbone on windowed tasks: global adapter, linear probe, prototypes, full fine-tuning, centring.

One fit serves several arms: what it says of the judged people is kept as embeddings beside the head that reads them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.fitting import FULL, GLOBAL
from physioedge.adapters.windows import (
    SETTINGS,
    TOKENS,
    WindowFit,
    embeddings,
    fit_head,
    fit_of,
    fit_windows,
    layout_for,
)
from physioedge.evaluation.metrics import softmax
from physioedge.evaluation.variants import spread_of, varied_fit
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.models.heads import PrototypeHead
from physioedge.models.layout import Layout
from physioedge.models.network import Network
from physioedge.tasks.levels import levels, rule_of
from physioedge.tasks.windowed import TaskWindows, chosen, context_needed_s

_FEW = 1e-6
_REFERENCE_WINDOWS = 400


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What an arm on the backbone needs beyond windows.

    Attributes
    ----------
    backbone : Path
        Weights file.
    digest : str
        Of its weights.
    windows : TaskWindows
        All of the task, with as much past as the backbone needs.
    cache : Path
        Folder of finished fits.
    fold : int
        Which fold is judged; part of a fit's name.
    variant : str
        Of the fit, see `variants`.
    """

    backbone: Path
    digest: str
    windows: TaskWindows
    cache: Path
    fold: int
    variant: str = ""

    @property
    def config(self) -> WindowFit:
        """How the task's network is fitted."""
        return varied_fit(fit_of(self.windows.task.name, SETTINGS), self.variant)

    def laid_out(self) -> Backbone:
        """The backbone for the task's windows."""
        return load_backbone(self.backbone, self.layout)[0]

    @property
    def layout(self) -> Layout:
        """What the task's network takes."""
        return _layout(self.windows, self.backbone, self.variant)


@dataclass(frozen=True)
class Read:
    """Embeddings of the judged people and the head that reads them.

    Attributes
    ----------
    embedding : float32 (n, embedding_dim)
    reference : float64 (embedding_dim,)
        Mean over the people fitted on of their mean embeddings.
    weight : float64 (output, embedding_dim)
        Embedding to scores or values, with `bias` (output,).
    bias : float64 (output,)
    """

    embedding: NDArray[np.float32]
    reference: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def answer(self, embedding: NDArray[np.floating], *, classes: bool) -> NDArray[np.float64]:
        """Probabilities (n, class) or values (n, k)."""
        out = self.logits(embedding)
        return softmax(out) if classes else out

    def logits(self, embedding: NDArray[np.floating]) -> NDArray[np.float64]:
        """Scores with the prior in them (n, class), or values (n, k)."""
        return np.asarray(embedding.astype(np.float64) @ self.weight.T + self.bias)


def settings_of(task: str, variant: str = "") -> dict[str, Any]:
    """How the networks of a task are fitted, as plain values."""
    fit = asdict(varied_fit(fit_of(task, SETTINGS), variant))
    return {"fit": fit, "tokens": dict(TOKENS.get(task, {})), "spread": spread_of(variant)}


def facts_of(windows: TaskWindows, backbone: Path) -> tuple[tuple[str, ...], str, float]:
    """People the weights have seen, their digest, and the past in s that their frontends need before these windows."""
    layout = _layout(windows, backbone)
    found, provenance, digest = load_backbone(backbone, layout)
    return provenance.training_subjects, digest, context_needed_s(layout, found.config)


def global_adapter(train: TaskWindows, test: TaskWindows, seed: int, *, setting: Setting) -> NDArray[np.float64]:
    """LoRA in every linear layer of the frozen backbone, and the head."""
    return _plain(train, test, seed, GLOBAL, setting)


def probe(train: TaskWindows, test: TaskWindows, seed: int, *, setting: Setting) -> NDArray[np.float64]:
    """The head alone on the frozen backbone."""
    frozen = frozen_embeddings(setting)
    known = frozen[setting.windows.fitted(setting.fold)]
    network = fit_head(setting.laid_out(), train, known, setting.config, seed=seed)
    weight, bias = _readout(network)
    asked = frozen[setting.windows.fold == setting.fold]
    return Read(asked, asked.mean(0), weight, bias).answer(asked, classes=bool(train.task.labels))


def full(train: TaskWindows, test: TaskWindows, seed: int, *, setting: Setting) -> NDArray[np.float64]:
    """Every weight."""
    return _plain(train, test, seed, FULL, setting)


def prototypes(train: TaskWindows, test: TaskWindows, seed: int, *, setting: Setting) -> NDArray[np.float64]:
    """Nothing fitted: the nearest class mean among the frozen backbone's embeddings, each number over its deviation.

    A person weighs the same in a class's mean however many windows of that class there are.
    """
    frozen = frozen_embeddings(setting)
    known, asked = frozen[setting.windows.fitted(setting.fold)], frozen[setting.windows.fold == setting.fold]
    middle, size = known.mean(0), known.std(0) + _FEW
    known, asked = (known - middle) / size, (asked - middle) / size
    scores = np.full((len(asked), len(train.task.labels)), -np.inf)
    for label in range(len(train.task.labels)):
        here = train.target == label
        if here.any():
            mean = np.mean([known[here & (train.subject == p)].mean(0) for p in np.unique(train.subject[here])], axis=0)
            scores[:, label] = -((asked - mean) ** 2).mean(1)
    return softmax(scores)


def centring(train: TaskWindows, test: TaskWindows, seed: int, *, setting: Setting) -> NDArray[np.float64]:
    """`global_adapter`, every embedding moved by the person's own unlabelled mean of the calibration part."""
    return _centred(train, test, seed, setting, 1.0)


def centring_half(train: TaskWindows, test: TaskWindows, seed: int, *, setting: Setting) -> NDArray[np.float64]:
    """As `centring`, by half of it."""
    return _centred(train, test, seed, setting, 0.5)


def levelling(train: TaskWindows, test: TaskWindows, seed: int, *, setting: Setting) -> NDArray[np.float64]:
    """`global_adapter`, every class brought to everybody's level as far as the task's rule says.

    A person's level is the median over the calibration part; everybody's is the median over the people of the other
    folds, each under the adapter that has not seen them.
    """
    rule, known = rule_of(train.task.name, len(train.task.labels)), []
    for fold in sorted(set(setting.windows.fold[setting.windows.fold >= 0].tolist()) - {setting.fold}):
        other, everything = replace(setting, fold=fold), setting.windows
        theirs = chosen(everything, everything.fold == fold)
        read = fitted(chosen(everything, everything.fitted(fold)), theirs, seed, GLOBAL, other)
        known += [found for _, _, found in _levels(read, theirs)]
    read = fitted(train, test, seed, GLOBAL, setting)
    logits = read.logits(read.embedding)
    for _, here, found in _levels(read, test):
        logits[here] += rule.bias(found, np.median(known, axis=0))
    return softmax(logits)


def _levels(read: Read, windows: TaskWindows) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    """Every person with a calibration part: name, windows, levels in that part."""
    logits = read.logits(read.embedding)
    for person in np.unique(windows.subject):
        here = windows.subject == person
        own = here & windows.calibration
        if own.any():
            yield str(person), here, levels(logits[own])


def frozen_embeddings(setting: Setting) -> NDArray[np.float32]:
    """Embeddings of all windows of a task under the backbone as it is, from the cache where they are made."""
    layout = hashlib.sha256(json.dumps(setting.layout.to_dict()).encode()).hexdigest()[:8]
    path = setting.cache.parent / f"frozen-{setting.digest[:8]}-{layout}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, embedding=embeddings(_bare(setting.laid_out()), setting.windows))
        part.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file["embedding"], np.float32)


def _plain(train: TaskWindows, test: TaskWindows, seed: int, how: str, setting: Setting) -> NDArray[np.float64]:
    read = fitted(train, test, seed, how, setting)
    return read.answer(read.embedding, classes=bool(train.task.labels))


def _centred(train: TaskWindows, test: TaskWindows, seed: int, setting: Setting, share: float) -> NDArray[np.float64]:
    read = fitted(train, test, seed, GLOBAL, setting)
    moved = read.embedding.astype(np.float64)
    for person in np.unique(test.subject):
        here = test.subject == person
        own = here & test.calibration
        if own.any():
            moved[here] -= share * (read.embedding[own].astype(np.float64).mean(0) - read.reference)
    return read.answer(moved, classes=bool(train.task.labels))


def fitted(train: TaskWindows, test: TaskWindows, seed: int, how: str, setting: Setting) -> Read:
    """A fit's embeddings of `test`, from the cache where it is finished."""
    path = setting.cache / f"{how}-seed{seed}-fold{setting.fold}.npz"
    if not path.exists():
        frozen = frozen_embeddings(setting)[setting.windows.fitted(setting.fold)]
        module = fit_windows(
            setting.laid_out(), train, setting.config, how, seed=seed, frozen=frozen, checkpoint=path.with_suffix(".pt")
        )
        network: Network = module.base_model.model if how == GLOBAL else module
        network.eval()
        weight, bias = _readout(network)
        reference = _reference(network, train)
        part = path.with_suffix(".part.npz")
        np.savez(part, embedding=embeddings(network, test), reference=reference, weight=weight, bias=bias)
        part.replace(path)
        path.with_suffix(".pt").unlink(missing_ok=True)
    with np.load(path, allow_pickle=False) as file:
        return Read(**{name: file[name] for name in ("embedding", "reference", "weight", "bias")})


def _reference(network: Network, train: TaskWindows) -> NDArray[np.float64]:
    """Mean over people of their mean embedding, from a share of their windows that is spread over the records."""
    every = np.arange(0, len(train.target), max(1, len(train.target) // _REFERENCE_WINDOWS))
    kept = np.zeros(len(train.target), np.bool_)
    kept[every] = True
    some = chosen(train, kept)
    known = embeddings(network, some)
    people = np.unique(some.subject)
    return np.asarray(np.mean([known[some.subject == p].mean(0, dtype=np.float64) for p in people], axis=0))


def _readout(network: Network) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The head as one linear map: embedding to logits or values."""
    head: Any = network.head
    weight = head.projection.weight.detach().double().numpy()
    bias = head.projection.bias.detach().double().numpy()
    if isinstance(head, PrototypeHead):
        towards = head.prototypes.double().numpy() / head.temperature
        return towards @ weight, towards @ bias + head.log_prior.double().numpy()
    scale, offset = head.scale.double().numpy(), head.offset.double().numpy()
    return scale[:, None] * weight, scale * bias + offset


def _bare(backbone: Backbone) -> Network:
    return Network(backbone, PrototypeHead(backbone.layout.embedding_dim(backbone.config), 2)).eval()


def _layout(windows: TaskWindows, backbone: Path, variant: str = "") -> Layout:
    channels = {kind: array.shape[1] for kind, array in windows.samples.items()}
    return layout_for(windows.task, channels, read_config(backbone), spread=spread_of(variant))
