"""In which forms a network comes into a bundle: what is chosen, the model of each form, and a graph file of one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnx import ModelProto
from torch import nn

from physioedge_export.ends import graph_ends
from physioedge_export.feeds import Array
from physioedge_export.fusion import joined
from physioedge_export.merge import LoraAdapter
from physioedge_export.quantize import KEEP_FLOAT
from physioedge_export.runners import Call, Runner, of_steps, of_two, one_step, onnx_call, torch_call
from physioedge_export.slots import SlottedModel, slot_arrays
from physioedge_runtime.bundle.contract import Contract, SlotSpec
from physioedge_runtime.bundle.manifest import STEP, WINDOW
from physioedge_runtime.errors import ExportError

TARGETS = ("onnx", "executorch")
ADAPTERS = ("merged", "slots")
PRECISIONS = ("fp32", "int8")
ENGINE_OF = {"onnx": "onnxruntime", "executorch": "executorch"}
PROBE_SEED = 1


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which graphs one bundle holds, and how they are quantised.

    Attributes
    ----------
    targets : tuple of str
        Of `TARGETS`.
    adapters : tuple of str
        Of `ADAPTERS`.
    precisions : tuple of str
        Of `PRECISIONS`.
    scheme : str
        One of `physioedge_export.quantize.SCHEMES`; ExecuTorch takes ``static`` for every static one.
    fallback : tuple of str
        Forms of adapters, of `ADAPTERS`, that also come as an ONNX graph ``int8_static`` where their int8 one is
        dynamic: another kernel, for devices whose dynamic one computes wrongly.
    keep_float : tuple of str
        Layers that stay in fp32 in ONNX, by parts of their names; see `QuantizeConfig`.
    step : nn.Module, optional
        The network as a step, for a contract with `step`: every graph then comes in both modes.
    float_budget_bytes : int
        ONNX files may grow by so much for the layers that int8 harms most to stay in fp32; see `with_float_layers`.
    """

    targets: tuple[str, ...] = ("onnx",)
    adapters: tuple[str, ...] = ("merged", "slots")
    precisions: tuple[str, ...] = ("int8",)
    scheme: str = "dynamic"
    fallback: tuple[str, ...] = ("merged", "slots")
    keep_float: tuple[str, ...] = KEEP_FLOAT
    step: nn.Module | None = None
    float_budget_bytes: int = 0

    def check(self) -> None:
        """Raise ExportError where a name is unknown or nothing is chosen."""
        for what, chosen, known in (
            ("target", self.targets, TARGETS),
            ("adapters", self.adapters, ADAPTERS),
            ("precision", self.precisions, PRECISIONS),
            ("fallback", self.fallback or ADAPTERS, ADAPTERS),
        ):
            odd = [name for name in chosen if name not in known]
            if odd or not chosen:
                raise ExportError(
                    f"{what} {', '.join(odd) or 'none'}", f"some of {', '.join(known)}", "Choose of those."
                )


@dataclass(frozen=True, kw_only=True)
class Form:
    """The model in one form of adapters.

    Attributes
    ----------
    adapters : str
        ``merged`` or ``slots``.
    model : nn.Module
        Takes the signals, what a step remembers, then every slot.
    contract : Contract
        Of the graphs, but for slots it may not have yet.
    slots : tuple of SlotSpec
        Empty for ``merged``.
    probe : mapping
        Slot inputs for checks: not zero, so that a slot wired wrongly shows.
    mode : str
        ``window`` or ``step``.
    """

    adapters: str
    model: nn.Module
    contract: Contract
    slots: tuple[SlotSpec, ...] = ()
    probe: Mapping[str, Array] = field(default_factory=dict)
    mode: str = WINDOW

    @property
    def signals(self) -> tuple[str, ...]:
        """Signal inputs of the graph, in order."""
        return tuple(self.contract.input_shapes)

    @property
    def names(self) -> list[str]:
        """Inputs in order."""
        return list(graph_ends(self.contract, self.slots, self.mode).inputs)

    @property
    def zero(self) -> dict[str, Array]:
        """Slot inputs that mean the global model."""
        return slot_arrays(self.slots, seed=None)

    def runner(self) -> Runner:
        """The torch module as a stage."""
        return self.stage(torch_call(self.model, self.names))

    def stage(self, call: Call) -> Runner:
        """A graph of this form as a stage, from whole windows to two outputs."""
        return of_steps(call, self.contract) if self.mode == STEP else of_two(call)

    def timed(self, call: Call) -> Runner:
        """As `stage`, but one step alone where it is one."""
        return one_step(call, self.contract) if self.mode == STEP else of_two(call)

    def call(self, artifact: Artifact) -> Call:
        """The file of a graph of this form."""
        if artifact.target == "onnx":
            return onnx_call(artifact.data)
        from physioedge_export.to_executorch import executorch_call

        return executorch_call(artifact.data, self.names)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One graph file.

    Attributes
    ----------
    file : str
        Name in the bundle.
    target, precision, adapters : str
    data : bytes
    proto : ModelProto or None
        The ONNX graph, for per-layer figures.
    shipped : bool
        False for an fp32 twin that is built for comparison only.
    delegated_pieces : int or None
        ExecuTorch only.
    not_delegated : mapping of str to int
        ExecuTorch only.
    """

    file: str
    target: str
    precision: str
    adapters: str
    data: bytes
    proto: ModelProto | None = None
    shipped: bool = True
    delegated_pieces: int | None = None
    not_delegated: Mapping[str, int] = field(default_factory=dict)


def forms(network: nn.Module, contract: Contract, adapter: LoraAdapter | None, choice: Choice) -> list[Form]:
    """The forms asked for of a network that holds its adapter merged in float; those of steps after those of windows.

    Raises
    ------
    ExportError
        Slots are asked for without an adapter to take A from, or a step without one in the contract.
    """
    models = {WINDOW: copy.deepcopy(network).eval()}
    if choice.step is not None:
        if contract.step is None:
            raise ExportError("a step and a contract without one", "both", "Say in the contract how it goes on.")
        models[STEP] = copy.deepcopy(choice.step).eval()
    return [_form(name, mode, model, contract, adapter) for mode, model in models.items() for name in choice.adapters]


def _form(name: str, mode: str, model: nn.Module, contract: Contract, adapter: LoraAdapter | None) -> Form:
    if name == "merged":
        return Form(adapters=name, model=_tidied(model, mode), contract=contract, mode=mode)
    if adapter is None:
        raise ExportError("slots without an adapter", "one, for its A", "Pass --adapter, or --adapters merged.")
    slotted = SlottedModel(model, adapter).eval()
    probe = slot_arrays(slotted.slots, seed=PROBE_SEED)
    return Form(
        adapters=name, model=_tidied(slotted, mode), contract=contract, slots=slotted.slots, probe=probe, mode=mode
    )


def _tidied(model: nn.Module, mode: str) -> nn.Module:
    """A step is so short that starting operators is most of it: fewer and larger ones."""
    return joined(model) if mode == STEP else model


def contract_with_slots(contract: Contract, found: Sequence[Form]) -> Contract:
    """The contract with the slots of the graphs.

    Raises
    ------
    ExportError
        The contract names other slots already.
    """
    slots = next((form.slots for form in found if form.slots), contract.slots)
    if contract.slots and contract.slots != slots:
        raise ExportError(
            "a contract with other slots than the graph", "the graph's", "Leave slots out of the contract."
        )
    return replace(contract, slots=slots)
