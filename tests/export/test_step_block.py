"""The native block of a step against the same in torch, for every set of instructions of this processor."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from step_block_cases import BLOCKS, LAYERS, answers, block_case, check_block, layer_case

from physioedge_export.step_block import packed, unpacked

SETS = ("plain", "neon", "dot") if platform.machine() == "aarch64" else ("plain", "avx2", "vnni")


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize(("n", "heads", "width", "past", "rank"), BLOCKS)
def test_the_native_block_computes_what_torch_does(
    step_block_here: Path, name: str, int8: bool, n: int, heads: int, width: int, past: int, rank: int
) -> None:
    case = block_case(n, heads, width, past, rank, int8=int8)
    found = answers([step_block_here, name], [case])
    if not found:
        pytest.skip(f"this processor has no {name}")
    check_block(found[0], case, past=past, int8=int8)


@pytest.mark.parametrize("name", SETS)
def test_sums_of_int8_layers_are_exact(step_block_here: Path, name: str) -> None:
    cases = [layer_case(*sizes) for sizes in LAYERS]
    found = answers([step_block_here, name], cases)
    if not found:
        pytest.skip(f"this processor has no {name}")
    for (given,), case in zip(found, cases, strict=True):
        np.testing.assert_array_equal(given, case.expected[0])


def test_panels_are_taken_apart_as_they_were_put_together() -> None:
    levels = torch.randint(-127, 128, (12, 32), dtype=torch.int8)
    panels = packed(levels)
    assert panels.shape == (2, 3, 16, 4) and panels[1, 2, 5, 3] == levels[11, 21]
    torch.testing.assert_close(unpacked(panels), levels)
