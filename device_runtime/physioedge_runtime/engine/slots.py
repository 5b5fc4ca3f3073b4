"""Checks that stand between an adapter and a graph: engines accept half an adapter, or NaN, without a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import NonFiniteAdapter, SlotMismatch

MAX_SLOT_NORM = 100.0
"""Largest Frobenius norm of one slot's array: far above any fitted adapter, far below what overflows."""
BIAS = "head.bias"
"""An array of an adapter that is no slot: added to the graph's first output, in whatever form the graph is."""


def split_adapter(
    adapter: Mapping[str, NDArray[np.float32]], slots: Sequence[SlotSpec], n_outputs: int
) -> tuple[dict[str, NDArray[np.float32]] | None, NDArray[np.float32] | None]:
    """An adapter's arrays for the slots, and its bias, each None where it has none; both checked.

    Parameters
    ----------
    adapter : mapping of str to float32
        One array for each slot, or none for any; and `BIAS`, float32 (n_outputs,), or not.
    slots : sequence of SlotSpec
        Of the graph in use.
    n_outputs : int
        Labels or values.

    Raises
    ------
    SlotMismatch, NonFiniteAdapter
        As `check_adapter`; of the bias likewise.
    """
    if not isinstance(adapter, Mapping):
        raise _mismatch(f"a {type(adapter).__name__} as adapter", "a mapping of slot names to arrays")
    arrays = {name: array for name, array in adapter.items() if name != BIAS}
    if BIAS in adapter:
        _check_array(BIAS, adapter[BIAS], (n_outputs,), MAX_SLOT_NORM)
    if arrays or BIAS not in adapter:
        check_adapter(arrays, slots)
    return (arrays or None), adapter.get(BIAS)


def copied_adapter(adapter: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Arrays of their own, of whatever numpy takes for one, to be checked by `split_adapter`.

    Raises
    ------
    SlotMismatch
        No mapping, or something in it is no array.
    """
    if not isinstance(adapter, Mapping):
        raise _mismatch(f"a {type(adapter).__name__} as adapter", "a mapping of slot names to arrays")
    try:
        return {name: np.array(array) for name, array in adapter.items()}
    except (TypeError, ValueError) as error:  # rows of unequal length
        raise _mismatch(f"an adapter with what is no array ({error})", "float32 arrays") from error


def check_adapter(
    adapter: Mapping[str, NDArray[np.float32]], slots: Sequence[SlotSpec], *, max_norm: float = MAX_SLOT_NORM
) -> None:
    """Passes an adapter that is complete, of the right shapes and types, finite and of bounded norm.

    Raises
    ------
    SlotMismatch
        Names, shapes or types differ from the slots.
    NonFiniteAdapter
        NaN, infinities or a norm over `max_norm`.
    """
    if not isinstance(adapter, Mapping):
        raise _mismatch(f"a {type(adapter).__name__} as adapter", "a mapping of slot names to arrays")
    if not slots:
        raise _mismatch("an adapter for a graph without slots", "None: its adapter is merged")
    wanted = {slot.name: slot.shape for slot in slots}
    if set(adapter) != set(wanted):
        missing, unknown = sorted(set(wanted) - set(adapter)), sorted(map(str, set(adapter) - set(wanted)))
        came = f"an adapter with {len(adapter)} arrays (missing {missing[:3]}, unknown {unknown[:3]})"
        raise _mismatch(came, f"exactly the {len(wanted)} slots")
    for name, shape in wanted.items():
        _check_array(f"slot {name}", adapter[name], shape, max_norm)


def _check_array(name: str, array: object, shape: tuple[int, ...], max_norm: float) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape != shape:
        kind = f"{array.dtype}{array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise _mismatch(f"{name} given {kind}", f"float32{shape}")
    norm = float(np.linalg.norm(array.astype(np.float64)))
    if not norm <= max_norm:  # also true for NaN
        raise NonFiniteAdapter(
            f"{name} with norm {norm:.4g}", f"finite values of norm at most {max_norm:g}", "Reject the adapter."
        )


def _mismatch(came: str, expected: str) -> SlotMismatch:
    return SlotMismatch(came, expected, "Ask for an adapter made for this bundle.")
