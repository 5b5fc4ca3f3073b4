"""Cases of the native block of a step for `step_block_driver.cpp`, and how it is built and run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge_export.engine_build import SOURCES
from physioedge_export.quantize import quantize_weight
from physioedge_export.step_block import computed, packed

DRIVER = Path(__file__).with_name("step_block_driver.cpp")
FLAGS = ("-std=c++17", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
         "-ffinite-math-only", "-Wno-psabi")  # fmt: skip
EPS = 1e-5
NO_SUCH_SET = 3
BLOCKS = ((5, 4, 32, 65, 0), (1, 2, 8, 7, 4), (8, 2, 16, 24, 2), (13, 1, 48, 13, 0))
"""New tokens, heads, width, past tokens, rank."""
LAYERS = (*((n, n_in, 48) for n in (1, 2, 3, 4, 5, 6, 7, 8, 11) for n_in in (4, 8, 12, 20, 48)), (5, 512, 16))
"""Tokens, inputs, outputs: every number of tokens that is computed at once, and of inputs that are left over."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the driver reads, and what it is to answer."""

    data: bytes
    expected: tuple[NDArray[np.float32], ...]


def build(compiler: str, folder: Path, *flags: str) -> Path:
    """The driver, compiled as the engine is."""
    out = folder / "step_block_driver"
    subprocess.run([compiler, *FLAGS, *flags, f"-I{SOURCES[0].parent}", str(DRIVER), "-o", str(out)], check=True)
    return out


def answers(
    command: Sequence[str | Path], cases: Sequence[Case], *, repeats: int = 1
) -> list[list[NDArray[np.float32]]]:
    """What the driver gives for each case; none at all where the processor lacks the instructions.

    Parameters
    ----------
    command : sequence
        The driver with the name of its instructions, behind an emulator or alone.
    """
    data = b"".join(case.data for case in cases)
    done = subprocess.run([*map(str, command), "1"], input=data, capture_output=True, check=False, timeout=300)
    if done.returncode == NO_SUCH_SET:
        return []
    assert done.returncode == 0, f"the driver failed: {done.returncode}, {done.stderr[-300:]!r}"
    found, at = np.frombuffer(done.stdout, np.float32), 0
    split: list[list[NDArray[np.float32]]] = []
    for case in cases:
        split.append([])
        for array in case.expected:
            split[-1].append(found[at : at + array.size].reshape(array.shape))
            at += array.size
    assert at == found.size
    return split


def layer_case(n: int, n_in: int, n_out: int) -> Case:
    """One int8 layer of whole numbers, whose levels are one apart: its answers are the sums themselves, exactly.

    The weights hold the largest and the smallest level, some columns nothing else; some tokens hold nothing but zeros
    and one other number, so that 128 times 127 comes in every place at once.
    """
    rng = np.random.default_rng(1000 * n + n_in)
    low = rng.integers(-255, 1, (n, 1))
    x = rng.integers(0, 256, (n, n_in)) + low
    for row in range(n):
        ends = rng.permutation(n_in)[:2]
        x[row, ends] = low[row, 0], low[row, 0] + 255
        if row % 3 == 0:
            x[row] = 0
            x[row, ends[0]] = 255 if row % 2 else -255
    weight = rng.integers(-127, 128, (n_in, n_out))
    weight[:, 0::5], weight[:, 1::5] = 127, -127
    levels = torch.from_numpy(weight.astype(np.int8))
    expected = (x.astype(np.int64) @ weight.astype(np.int64)).astype(np.float32)
    arrays = (
        x.astype(np.float32), packed(levels).numpy(), np.ones(n_out, np.float32),
        weight.sum(0).astype(np.int32), np.zeros(n_out, np.float32),
    )  # fmt: skip
    return Case(data=np.array([0, n, n_in, n_out], np.int32).tobytes() + _told(arrays), expected=(expected,))


def block_case(n: int, heads: int, width: int, past: int, rank: int, *, int8: bool) -> Case:
    """A whole block, and what torch makes of it: features, keys and values."""
    given = arguments(n, heads, width, past, rank, int8)
    arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in given]
    told = _told([*arrays[:6], np.zeros_like(arrays[0]), *arrays[6:]])
    head = np.array([1, n, heads, width, past + n, rank, int(int8)], np.int32).tobytes() + np.float32(EPS).tobytes()
    return Case(data=head + told, expected=tuple(tensor.numpy() for tensor in computed(*given, EPS)))


def check_block(found: Sequence[NDArray[np.float32]], case: Case, *, past: int, int8: bool) -> None:
    """Hold a block's answers to torch's."""
    # a value halfway between two levels may fall to either side: then a whole level in one product differs
    limit = 0.05 if int8 else 2e-5
    np.testing.assert_allclose(found[0], case.expected[0], atol=limit, rtol=1e-4)
    assert np.abs(found[0] - case.expected[0]).mean() < (2e-3 if int8 else 2e-6)
    for held, wanted in zip(found[1:], case.expected[1:], strict=True):
        np.testing.assert_allclose(held, wanted, atol=limit, rtol=1e-4)
        np.testing.assert_array_equal(held[:, :, :past], wanted[:, :, :past], "only what is new is written")


def arguments(n: int, heads: int, width: int, past: int, rank: int, int8: bool, seed: int = 0) -> list[Tensor]:
    """Inputs of the operator in order, the slots' included."""
    torch.manual_seed(seed)
    d, total = heads * width, past + n
    mask = torch.zeros(1, 1, n, total)
    mask[..., past:] = torch.where(torch.ones(n, n).tril() > 0, 0.0, -1e4)
    mask[0, 0, :, : past // 3] = -1e4  # places that hold nothing yet
    angles = torch.rand(n, width // 2)
    held = [torch.randn(1, heads, total, width) for _ in range(2)]
    turns = [torch.cat([part, torch.zeros(past, width // 2)]) for part in (angles.cos(), angles.sin())]
    inputs = [torch.randn(1, n, d), *turns, mask, *held]
    for n_in, n_out in ((d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)):
        weight, bias = torch.randn(n_in, n_out) / n_in**0.5, 0.1 * torch.randn(n_out)
        if int8:
            levels, scale = (torch.from_numpy(array) for array in quantize_weight(weight.numpy()))
            inputs += [packed(levels), scale, levels.to(torch.int32).sum(0, dtype=torch.int32), bias]
        else:
            inputs += [weight, torch.zeros(0), torch.zeros(0, dtype=torch.int32), bias]
    shapes = ((d, 2 * rank), (2 * rank,), (rank, d), (rank, d)) if rank else ((0,),) * 4
    return [*inputs, *(0.3 * torch.randn(shape) for shape in shapes)]


def _told(arrays: Sequence[NDArray[np.generic]]) -> bytes:
    return b"".join(np.int32(array.nbytes).tobytes() + array.tobytes() for array in arrays)
