"""The native block of a step against the same in torch, for every set of instructions of this processor."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
import torch
from torch import Tensor

from physioedge_export.engine_build import SOURCES, find_compiler
from physioedge_export.quantize import quantize_weight
from physioedge_export.step_block import computed, packed, unpacked

WRAPPER = """
#include "step_block.h"
using namespace physioedge;
extern "C" int one_block(int set, void** p, const int* n, float eps) {
  if (!use(static_cast<Instructions>(set))) return 1;
  Block b{};
  auto f = [&](int i) { return static_cast<float*>(p[i]); };
  b.x = f(0); b.cos = f(1); b.sin = f(2); b.mask = f(3); b.k = f(4); b.v = f(5); b.y = f(6);
  b.n = n[0]; b.heads = n[1]; b.width = n[2]; b.total = n[3]; b.rank = n[4]; b.eps = eps;
  const int d = b.heads * b.width, sizes[4][2] = {{d, 3 * d}, {d, d}, {d, 4 * d}, {4 * d, d}};
  Linear* const layers[4] = {&b.qkv, &b.o, &b.expand, &b.contract};
  for (int i = 0; i < 4; ++i) {
    void** at = p + 7 + 4 * i;
    *layers[i] = {};
    layers[i]->in = sizes[i][0]; layers[i]->out = sizes[i][1]; layers[i]->bias = static_cast<float*>(at[3]);
    if (n[5]) {
      layers[i]->levels = static_cast<int8_t*>(at[0]);
      layers[i]->scale = static_cast<float*>(at[1]);
      layers[i]->sums = static_cast<int32_t*>(at[2]);
    } else {
      layers[i]->weight = static_cast<float*>(at[0]);
    }
  }
  b.a = f(23); b.shift = f(24); b.b_q = f(25); b.b_v = f(26);
  run_block(b);
  return 0;
}
"""
SETS = {"plain": 1, "avx2": 2, "vnni": 3}
EPS = 1e-5


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C++ compiler here")
    folder = tmp_path_factory.mktemp("block")
    (folder / "wrapper.cpp").write_text(WRAPPER)
    native = SOURCES[0].parent
    flags = ["-std=c++17", "-O3", "-fPIC", "-shared", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math",
             "-fno-signed-zeros", "-ffinite-math-only", "-Wno-psabi"]  # fmt: skip
    sources = [str(folder / "wrapper.cpp"), str(native / "step_block.cpp")]
    subprocess.run([compiler, *flags, f"-I{native}", *sources, "-o", str(folder / "block.so")], check=True)
    return ctypes.CDLL(str(folder / "block.so"))


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


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize(
    ("n", "heads", "width", "past", "rank"), [(5, 4, 32, 65, 0), (1, 2, 8, 7, 4), (8, 2, 16, 24, 2), (13, 1, 48, 13, 0)]
)
def test_the_native_block_computes_what_torch_does(
    library: ctypes.CDLL, name: str, int8: bool, n: int, heads: int, width: int, past: int, rank: int
) -> None:
    given = arguments(n, heads, width, past, rank, int8)
    expected = computed(*given, EPS)
    arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in given]
    y = np.zeros_like(arrays[0])
    pointers = [*arrays[:6], y, *arrays[6:]]
    handles = (ctypes.c_void_p * len(pointers))(*(array.ctypes.data for array in pointers))
    sizes = (ctypes.c_int * 6)(n, heads, width, past + n, rank, int(int8))
    if library.one_block(SETS[name], handles, sizes, ctypes.c_float(EPS)):
        pytest.skip(f"this processor has no {name}")
    # a value halfway between two levels may fall to either side: then a whole level in one product differs
    limit = 0.05 if int8 else 2e-5
    np.testing.assert_allclose(y, expected[0].numpy(), atol=limit, rtol=1e-4)
    assert np.abs(y - expected[0].numpy()).mean() < (2e-3 if int8 else 2e-6)
    for held, wanted in zip(arrays[4:6], expected[1:], strict=True):
        np.testing.assert_allclose(held, wanted.numpy(), atol=limit, rtol=1e-4)
        np.testing.assert_array_equal(held[:, :, :past], wanted.numpy()[:, :, :past], "only what is new is written")


def test_panels_are_taken_apart_as_they_were_put_together() -> None:
    levels = torch.randint(-127, 128, (12, 32), dtype=torch.int8)
    panels = packed(levels)
    assert panels.shape == (2, 3, 16, 4) and panels[1, 2, 5, 3] == levels[11, 21]
    torch.testing.assert_close(unpacked(panels), levels)
