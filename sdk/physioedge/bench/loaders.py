"""How a worker loads each kind of arm: imports first, then what is left to do, so that both can be timed.

Nothing is imported here that an arm does not need: its memory and its imports are figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Run = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An arm ready to run.

    Attributes
    ----------
    run : callable
        Window float32 (1, channel, sample) to logits or values (1, K) and embedding (1, D).
    engine_name : str
    bundle, engine
        Of our own arms.
    verify_ms : float or None
        Of our own arms.
    """

    run: Run
    engine_name: str
    bundle: Any = None
    engine: Any = None
    verify_ms: float | None = None


def prepare(arm: dict[str, Any]) -> Callable[[], Loaded]:
    """Import what an arm needs and return the function that loads it."""
    kinds = {
        "bundle": _bundle, "onnx": _onnx, "pte": _pte, "torch": _torch, "compile": _torch, "numpy": _numpy,
    }  # fmt: skip
    return kinds[arm["kind"]](arm)


def _bundle(arm: dict[str, Any]) -> Callable[[], Loaded]:
    if arm["engine"] == "executorch":
        import physioedge_runtime.engine.et
    else:
        import physioedge_runtime.engine.ort  # noqa: F401 - its import is counted as import, not as load
    from physioedge_runtime.bundle.container import Bundle
    from physioedge_runtime.engine import Memory, SteppedEngine, load_engine

    def load() -> Loaded:
        began = time.perf_counter()
        bundle = Bundle.open(arm["path"], trust=arm["trust"])
        verify_ms = 1e3 * (time.perf_counter() - began)
        form = {key: arm[key] for key in ("engine", "precision", "adapters", "mode")}
        engine = load_engine(bundle, threads=1, **form)
        run: Run = engine.run
        if isinstance(engine, SteppedEngine):
            stepped, memory = engine, Memory()
            run = lambda window: stepped.run_on(window, None, memory)  # noqa: E731
        return Loaded(run=run, engine_name=engine.name, bundle=bundle, engine=engine, verify_ms=verify_ms)

    return load


def _onnx(arm: dict[str, Any]) -> Callable[[], Loaded]:
    import onnxruntime

    def load() -> Loaded:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(arm["path"], options, providers=["CPUExecutionProvider"])
        name = f"onnxruntime {onnxruntime.__version__}"
        return Loaded(run=lambda window: session.run(None, {"signal": window}), engine_name=name)

    return load


def _pte(arm: dict[str, Any]) -> Callable[[], Loaded]:
    from importlib.metadata import version

    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    def load() -> Loaded:
        portable_lib._unsafe_reset_threadpool(1)
        program = Runtime.get().load_program(arm["path"])
        method = program.load_method("forward")

        def run(window: Any) -> Any:
            return [output.numpy() for output in method.execute([torch.from_numpy(window)])]

        # the method does not keep its program alive
        return Loaded(run=run, engine_name=f"executorch {version('executorch')}", engine=program)

    return load


def _torch(arm: dict[str, Any]) -> Callable[[], Loaded]:
    import torch

    from physioedge.bench.network import torch_network

    torch.set_num_threads(1)

    def load() -> Loaded:
        network = torch_network(Path(arm["path"]))
        compiled = arm["kind"] == "compile"
        model = torch.compile(network) if compiled else network

        def run(window: Any) -> Any:
            with torch.inference_mode():
                return [output.numpy() for output in model(torch.from_numpy(window))]

        return Loaded(run=run, engine_name=f"torch {torch.__version__}{', compiled' if compiled else ''}")

    return load


def _numpy(arm: dict[str, Any]) -> Callable[[], Loaded]:
    import numpy as np

    from physioedge.bench.numpy_arm import numpy_network, read_weights

    def load() -> Loaded:
        return Loaded(run=numpy_network(*read_weights(Path(arm["path"]))), engine_name=f"numpy {np.__version__}")

    return load
