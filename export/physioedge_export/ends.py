"""Names and shapes of a graph's inputs and outputs, as the contract has them: of whole windows, or of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from physioedge_runtime.bundle.contract import EMBEDDING, Contract, SlotSpec
from physioedge_runtime.bundle.manifest import STEP, WINDOW
from physioedge_runtime.engine.step_buffers import step_inputs, step_outputs


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Both ends of a graph.

    Attributes
    ----------
    inputs : mapping of str to shape
        In order, batch 1.
    outputs : tuple of str
    """

    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]


def graph_ends(contract: Contract, slots: tuple[SlotSpec, ...] = (), mode: str = WINDOW) -> Ends:
    """What a graph of a mode takes and gives."""
    inputs: dict[str, tuple[int, ...]] = {name: (1, *shape) for name, shape in contract.input_shapes.items()}
    outputs: tuple[str, ...] = (contract.output_name, EMBEDDING)
    if mode == STEP and contract.step is not None:
        for sensor, (name, shape) in zip(contract.sensors, list(inputs.items()), strict=True):
            inputs[name] = (*shape[:2], sensor.context_samples + contract.step_samples(sensor.name))
        inputs |= step_inputs(contract.step)
        outputs += tuple(step_outputs(contract.step))
    return Ends(inputs={**inputs, **{slot.name: slot.shape for slot in slots}}, outputs=outputs)
