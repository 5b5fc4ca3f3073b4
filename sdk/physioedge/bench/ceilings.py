"""What this machine can do on one thread: int8 and fp32 products, and reading memory. Measured, never looked up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIDES = (512, 1024)
"""Sides of the square products; the best counts."""
MEMORY_BYTES = 512 * 1024 * 1024
"""Far beyond any cache."""
_TRIES = 7
_SHORT_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """Highest figures measured on one thread; an operation is half a MAC, a GB 10^9 bytes.

    Attributes
    ----------
    int8_gops : float
        10^9 operations a second of uint8 by int8 products with int32 sums.
    fp32_gflops : float
        The same in fp32.
    memory_gb_s : float
        Reading main memory.
    cache_gb_s : float
        Reading a buffer of `cache_mb` again and again.
    cache_mb : float
        Size of that buffer: the model's int8 weights.
    how : mapping of str to str
        What each figure was measured with.
    """

    int8_gops: float
    fp32_gflops: float
    memory_gb_s: float
    cache_gb_s: float
    cache_mb: float
    how: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def ceiling_graphs() -> dict[str, bytes]:
    """ONNX graphs of one product each, by name ``{int8|fp32}.{side}``. Needs onnx, running them does not."""
    from onnx import TensorProto, helper

    graphs = {}
    for side in SIDES:
        for name, operator, inputs, output in (
            ("int8", "MatMulInteger", (TensorProto.UINT8, TensorProto.INT8), TensorProto.INT32),
            ("fp32", "MatMul", (TensorProto.FLOAT, TensorProto.FLOAT), TensorProto.FLOAT),
        ):
            kind_of_weight = np.int8 if name == "int8" else np.float32
            weight = np.random.default_rng(0).integers(-127, 128, (side, side)).astype(kind_of_weight)
            graph = helper.make_graph(
                [helper.make_node(operator, ["a", "b"], ["c"])],
                "product",
                [helper.make_tensor_value_info("a", inputs[0], [side, side])],
                [helper.make_tensor_value_info("c", output, [side, side])],
                [helper.make_tensor("b", inputs[1], [side, side], weight.tobytes(), raw=True)],  # packed once, at load
            )
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
            graphs[f"{name}.{side}"] = bytes(model.SerializeToString())
    return graphs


def write_ceiling_graphs(folder: Path) -> None:
    """Write them as ``.onnx`` files of those names into a new folder."""
    folder.mkdir(parents=True)
    for name, data in ceiling_graphs().items():
        (folder / f"{name}.onnx").write_bytes(data)


def measure_ceilings(graphs: Mapping[str, bytes], cache_bytes: int, memory_bytes: int | None = None) -> Ceilings:
    """Best of several tries of each figure, about three seconds in all.

    Parameters
    ----------
    graphs : mapping
        Of `ceiling_graphs`.
    cache_bytes : int
        Size of a buffer that fits a cache.
    memory_bytes : int, optional
        Size of one that does not: by default `MEMORY_BYTES`, and no more than a quarter of the machine's memory.
    """
    memory_bytes = memory_bytes or min(MEMORY_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
    int8 = max(_gops(data, np.uint8) for name, data in graphs.items() if name.startswith("int8"))
    fp32 = max(_gops(data, np.float32) for name, data in graphs.items() if name.startswith("fp32"))
    sides = " and ".join(str(side) for side in sorted({int(name.partition(".")[2]) for name in graphs}))
    read = "numpy max of int64 or dot of float32 over one buffer"
    return Ceilings(
        int8_gops=int8,
        fp32_gflops=fp32,
        memory_gb_s=read_gb_s(memory_bytes),
        cache_gb_s=read_gb_s(cache_bytes),
        cache_mb=cache_bytes / 1e6,
        how={
            "int8_gops": f"onnxruntime MatMulInteger, u8 x s8, constant weights, square products of {sides}",
            "fp32_gflops": f"onnxruntime MatMul, constant weights, square products of {sides}",
            "memory_gb_s": f"{read}, {memory_bytes / 1e6:.0f} MB",
            "cache_gb_s": f"{read}, {cache_bytes / 1e6:.2f} MB",
        },
    )


def read_gb_s(n_bytes: int) -> float:
    """Speed of reading a buffer from end to end, in 10^9 bytes a second.

    Two loops that read and hardly compute, the largest of 64-bit integers and the dot product of a buffer with itself;
    the faster counts. The second takes one thread only where OMP_NUM_THREADS says so, as in the workers of the bench.
    """
    floats = np.ones(max(256, n_bytes // 8 * 2), np.float32)
    whole = floats.view(np.int64)
    return floats.nbytes / min(_best_s(whole.max), _best_s(lambda: np.dot(floats, floats))) / 1e9


def _gops(graph: bytes, kind: type) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    side = int(session.get_inputs()[0].shape[0])
    a: Any = np.random.default_rng(1).integers(0, 128, (side, side)).astype(kind)
    seconds = _best_s(lambda: session.run(None, {"a": a}))
    return 2 * side**3 / seconds / 1e9


def _best_s(run: Callable[[], Any]) -> float:
    """Seconds of the fastest of `_TRIES` tries, each as many runs as fill a moment."""
    run()
    began = time.perf_counter()
    run()
    runs = max(1, round(_SHORT_S / max(1e-9, time.perf_counter() - began)))
    best = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        for _ in range(runs):
            run()
        best = min(best, (time.perf_counter() - began) / runs)
    return best
