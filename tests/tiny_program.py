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

    def forward(self, signal: Tensor, *b: Tensor) -> tuple[Tensor, Tensor]:
        embedding = torch.bmm(signal, self.w)
        if b:
            embedding = embedding + torch.bmm(torch.bmm(embedding, self.a), b[0][None])
        return torch.bmm(embedding, self.h)[:, 0], embedding[:, 0]


@cache
def tiny_program(*, slots: bool, scale: float = 1.0, labels: tuple[str, ...] = ("N", "S", "V")) -> bytes:
    contract = tiny_contract()
    ends = contract.slots if slots else ()
    example = (torch.zeros(1, 1, contract.window.input_samples), *(torch.zeros(slot.shape) for slot in ends))
    written = tiny_contract(labels=labels)
    return to_executorch(TinyNetwork(contract, scale), written, example, notes={}, slots=ends).data


def write_program_bundle(path: Path, files: dict[str, bytes] | None = None, **changes: Any) -> Bundle:
    """A bundle with both engines' graphs; `files` replace its files."""
    entries = tuple(
        GraphEntry(file, "executorch", "fp32", form, 1e-4, 1e-4)
        for file, form in ((MERGED, "merged"), (SLOTS, "slots"))
    )
    content = tiny_files(tiny_contract())
    golden = dict(read_tensors(content["golden.safetensors"]))
    for name, array in list(golden.items()):
        if ".fp32.onnx/" in name:
            golden[name.replace(".onnx/", ".pte/")] = array
    programs = {MERGED: tiny_program(slots=False), SLOTS: tiny_program(slots=True)}
    content = {**programs, "golden.safetensors": write_tensors(golden), **(files or {})}
    return write_tiny_bundle(path, files=content, graphs=(*tiny_graphs(), *entries), **changes)
