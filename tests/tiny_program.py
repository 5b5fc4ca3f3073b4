"""The model of `tiny_bundle` as ExecuTorch programs, and a bundle that holds them beside the ONNX graphs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from physioedge_export.to_executorch import to_executorch
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.bundle.tensors import read_tensors, write_tensors
from tiny_bundle import tiny_contract, tiny_files, tiny_graphs, tiny_weights, write_tiny_bundle

MERGED, SLOTS = "graphs/merged.fp32.pte", "graphs/slots.fp32.pte"


class TinyNetwork(nn.Module):
    """`tiny_model` in torch; `scale` makes it another network."""

    def __init__(self, contract: Contract, scale: float = 1.0) -> None:
        super().__init__()
        for name, array in tiny_weights(contract).items():
            self.register_buffer(name, torch.from_numpy(array * (scale if name == "h" else 1.0))[None])
        self.n_signals = len(contract.sensors)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        signals, b = inputs[: self.n_signals], inputs[self.n_signals :]
        flat = signals[0] if len(signals) == 1 else torch.cat([s.reshape(1, 1, -1) for s in signals], 2)
        embedding = torch.bmm(flat, self.w)
        if b:
            embedding = embedding + torch.bmm(torch.bmm(embedding, self.a), b[0][None])
        return torch.bmm(embedding, self.h)[:, 0], embedding[:, 0]


@cache
def tiny_program(
    *, slots: bool, scale: float = 1.0, contract: Contract | None = None, written: Contract | None = None
) -> bytes:
    """The network of a contract; `written` is the one that the program claims."""
    contract = contract or tiny_contract()
    ends = contract.slots if slots else ()
    shapes = [(1, *shape) for shape in contract.input_shapes.values()] + [slot.shape for slot in ends]
    example = tuple(torch.zeros(shape) for shape in shapes)
    return to_executorch(TinyNetwork(contract, scale), written or contract, example, notes={}, slots=ends).data


def write_program_bundle(
    path: Path, files: dict[str, bytes] | None = None, *, contract: Contract | None = None, **changes: Any
) -> Bundle:
    """A bundle with both engines' graphs; `files` replace its files."""
    entries = tuple(
        GraphEntry(file, "executorch", "fp32", form, 1e-4, 1e-4)
        for file, form in ((MERGED, "merged"), (SLOTS, "slots"))
    )
    contract = contract or tiny_contract()
    content = tiny_files(contract)
    golden = dict(read_tensors(content["golden.safetensors"]))
    for name, array in list(golden.items()):
        if ".fp32.onnx/" in name:
            golden[name.replace(".onnx/", ".pte/")] = array
    programs = {file: tiny_program(slots=slots, contract=contract) for file, slots in ((MERGED, False), (SLOTS, True))}
    content = {**programs, "golden.safetensors": write_tensors(golden), **(files or {})}
    return write_tiny_bundle(path, contract=contract, files=content, graphs=(*tiny_graphs(), *entries), **changes)
