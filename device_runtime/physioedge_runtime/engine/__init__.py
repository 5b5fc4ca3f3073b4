"""Inference engines behind one protocol."""

from __future__ import annotations

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine.golden import check_golden
from physioedge_runtime.engine.protocol import Adapter, Engine
from physioedge_runtime.errors import EngineError

__all__ = ["Adapter", "Engine", "load_engine"]


def load_engine(
    bundle: Bundle,
    *,
    engine: str = "onnxruntime",
    precision: str = "int8",
    adapters: str = "merged",
    threads: int = 1,
) -> Engine:
    """A graph of the bundle, loaded and proven on this machine with the golden vectors.

    Parameters
    ----------
    bundle : Bundle
        Verified bundle.
    engine, precision, adapters : str
        Which graph; see `GraphEntry`.
    threads : int
        Threads inside one operator, at least 1.

    Raises
    ------
    BundleError
        The bundle holds no such graph.
    EngineError
        The engine is not available, or refuses the graph.
    ContractError
        The graph contradicts the manifest.
    GoldenMismatch
        The engine computes something else here than it did at export.
    """
    entry = bundle.graph(engine, precision, adapters)
    if entry.engine != "onnxruntime":
        raise EngineError(
            f"a graph for {entry.engine}", "onnxruntime, the one engine of this version", "Use engine='onnxruntime'."
        )
    if threads < 1:
        raise EngineError(f"{threads} threads", "at least 1", "Pass threads=1.")
    from physioedge_runtime.engine.ort import OrtEngine  # a tenth of a second, paid by those who run

    loaded = OrtEngine(bundle, entry, threads=threads)
    check_golden(loaded, entry, bundle.golden())
    return loaded
