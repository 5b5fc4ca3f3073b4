"""A person's adapter merged into the network: a bundle of one person, without slots, and what of the change survives.

What a host generates is small beside what int8 rounds away. Kept in slots it stays in float; merged it is rounded with
the weights. `fidelity` measures, at the outputs, how much of what the adapter changes in float a graph changes, too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import from_numpy, nn

from physioedge_export.merge import LoraAdapter, LoraPair, merged_state
from physioedge_export.slots import SlottedModel
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import WINDOW, GraphEntry
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.slots import split_adapter
from physioedge_runtime.errors import ExportError

Array = NDArray[np.float32]
PRIOR = "head.log_prior"
Net = TypeVar("Net", bound=nn.Module)
GRAPH, FLOAT = "everybody's graph", "float network"
"""What a graph's change is counted from: its twin in everybody's bundle, or, where that has none, the float network."""
_SLOT = ".B"
_FLAT = 1e-9


def merged_generated(
    network: Net, adapter: LoraAdapter, arrays: Mapping[str, Array], n_outputs: int
) -> tuple[Net, LoraAdapter]:
    """A copy of the network that holds a generated adapter, and that adapter by the network's layers.

    Parameters
    ----------
    network : nn.Module
        Holds the global adapter, merged in float.
    adapter : LoraAdapter
        The global one: gives A of every slot.
    arrays : mapping of str to float32
        As ``AdapterFile.arrays``: B of every slot, or ``head.bias``, or both.
    n_outputs : int
        Of the contract.

    Raises
    ------
    SlotMismatch, NonFiniteAdapter
        The arrays are not those of the network's slots.
    ExportError
        It has a bias, and the network's head adds nothing that a bias could be added to.
    """
    slots, bias = split_adapter(arrays, SlottedModel(network, adapter).slots, n_outputs)
    layers = {layer.removeprefix("backbone."): layer for layer in adapter.pairs}
    pairs = {
        layers[name.removesuffix(_SLOT)]: LoraPair(
            a=adapter.pairs[layers[name.removesuffix(_SLOT)]].a, b=np.ascontiguousarray(b.T), scale=1.0
        )
        for name, b in (slots or {}).items()
    }  # fmt: skip
    person = LoraAdapter(pairs=pairs)
    state = merged_state(network.state_dict(), person)
    if bias is not None:
        if PRIOR not in state or tuple(state[PRIOR].shape) != bias.shape:
            raise ExportError("a bias for this network", "a head with a prior of each class", "Export slots instead.")
        state[PRIOR] = state[PRIOR] + from_numpy(np.array(bias)).to(state[PRIOR].dtype)
    made = copy.deepcopy(network)
    made.load_state_dict(state)
    return made.eval(), person


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How much of an adapter's change at the outputs a graph keeps.

    Attributes
    ----------
    graph : str
        Engine, precision, and whether the adapter was merged or lay in slots.
    correlation : float
        Of its change with the one in float, over all windows and outputs.
    error : float
        Root mean square of the difference of both, over that of the change in float.
    same_label : float
        Share of windows to which it gives the label that the person's float network gives.
    changed_label : float
        Share of windows whose label the adapter changes, in float.
    beside : str
        What its change is counted from: `GRAPH`, or `FLOAT`, where all that the graph rounds is error, too.
    """

    graph: str
    correlation: float
    error: float
    same_label: float
    changed_label: float
    beside: str


def fidelity(
    person: Bundle, everybody: Bundle, arrays: Mapping[str, Array], changed: tuple[Array, Array],
    windows: tuple[Array, ...],
) -> list[Fidelity]:  # fmt: skip
    """What a person's merged graphs change beside everybody's, and what everybody's slots change that hold the adapter.

    Parameters
    ----------
    person, everybody : Bundle
        A merged graph that everybody's lacks stands beside the float network instead.
    arrays : mapping of str to float32
        The adapter.
    changed : tuple of two float32 (window, output)
        Logits of the float network with the person's adapter, and without.
    windows : tuple of float32 (window, channel, input_samples)
        Of every sensor.
    """
    theirs = {_kind(entry): entry for entry in everybody.manifest.graphs if entry.mode == WINDOW}
    slots, bias = split_adapter(arrays, everybody.contract.slots, everybody.contract.n_outputs)
    found = []
    for entry in person.manifest.graphs:
        if entry.mode != WINDOW:
            continue
        twin, mine = theirs.get(_kind(entry)), _outputs(person, entry, windows)
        before, beside = (changed[1], FLOAT) if twin is None else (_outputs(everybody, twin, windows), GRAPH)
        found.append(_kept(entry, mine, before, changed, beside))
    for entry in theirs.values():
        if entry.adapters == "slots" and slots is not None:
            mine = _outputs(everybody, entry, windows, slots) + (0 if bias is None else bias)
            found.append(_kept(entry, mine, _outputs(everybody, entry, windows), changed, GRAPH))
    return found


def _kind(entry: GraphEntry) -> tuple[str, str, str]:
    return entry.engine, entry.precision, entry.adapters


def _outputs(
    bundle: Bundle, entry: GraphEntry, windows: tuple[Array, ...], adapter: Mapping[str, Array] | None = None
) -> Array:
    engine = load_engine(bundle, engine=entry.engine, precision=entry.precision, adapters=entry.adapters)
    rows = []
    for i in range(len(windows[0])):
        signals = tuple(array[i : i + 1] for array in windows)
        rows.append(engine.run(signals if len(signals) > 1 else signals[0], adapter)[0])
    return np.concatenate(rows)


def _kept(entry: GraphEntry, mine: Array, theirs: Array, changed: tuple[Array, Array], beside: str) -> Fidelity:
    after, before = changed
    wanted, got = (x.astype(np.float64) for x in (after - before, mine - theirs))
    size, noise = (float(np.sqrt((x**2).mean())) for x in (wanted, got - wanted))
    flat = min(wanted.std(), got.std()) < _FLAT
    return Fidelity(
        graph=" ".join(_kind(entry)),
        correlation=float(noise < _FLAT) if flat else float(np.corrcoef(got.ravel(), wanted.ravel())[0, 1]),
        error=noise / max(size, _FLAT),
        same_label=float((mine.argmax(1) == after.argmax(1)).mean()),
        changed_label=float((after.argmax(1) != before.argmax(1)).mean()),
        beside=beside,
    )
