"""What ``physioedge export --steps`` and ``--hop-s`` change in a contract, and the network as a step."""

from __future__ import annotations

from dataclasses import replace

from physioedge.models.network import Network
from physioedge.models.rate import RateNetwork
from physioedge.models.stepping import StepNetwork, step_spec
from physioedge_runtime.bundle.contract import Contract, step_schema
from physioedge_runtime.errors import ContractError, ExportError


def with_hop(contract: Contract, hop_s: float) -> Contract:
    """The same contract with another time from one window to the next.

    Raises
    ------
    ContractError
        It judges beats, or the hop is no whole number of samples of every sensor.
    """
    samples = hop_s * contract.sensor.fs_hz
    if contract.trigger.kind != "hop" or abs(samples - round(samples)) > 1e-6:
        raise ContractError(
            f"a hop of {hop_s:g} s for {contract.trigger.kind} windows at {contract.sensor.fs_hz:g} Hz",
            "whole samples, of a task that judges hops", "Choose another hop.",
        )  # fmt: skip
    made = replace(contract, trigger=replace(contract.trigger, hop_samples=round(samples)))
    return Contract.from_dict(made.to_dict())


def with_steps(
    contract: Contract, network: Network | RateNetwork, layout: str = "fastest"
) -> tuple[Contract, StepNetwork]:
    """The contract with its step graphs, and the network as a step.

    Parameters
    ----------
    contract : Contract
    network : Network or RateNetwork
    layout : str
        ``columns``, or ``fastest``: what `step_spec` chooses.

    Raises
    ------
    ExportError
        Windows are judged at beats, or the network reads more of a window than tokens.
    ShapeError
        As `step_spec`.
    """
    if contract.trigger.kind != "hop" or not isinstance(network, Network):
        raise ExportError(
            f"steps for {contract.task}",
            "a task whose windows follow each other by a hop, and whose network reads tokens alone",
            "Leave --steps out: windows are computed whole.",
        )
    hop_s, chosen = contract.trigger.hop_samples / contract.sensor.fs_hz, None if layout == "fastest" else layout
    spec = step_spec(network.backbone, hop_s, chosen)
    made = replace(contract, schema_version=step_schema(spec), step=spec)
    return Contract.from_dict(made.to_dict()), StepNetwork(network, spec)
