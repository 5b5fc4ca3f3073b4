"""Inference engines behind one protocol."""

from __future__ import annotations

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import ENGINES, STEP, WINDOW, GraphEntry
from physioedge_runtime.engine.buffered import BufferedEngine
from physioedge_runtime.engine.golden import check_golden
from physioedge_runtime.engine.protocol import Adapter, Engine
from physioedge_runtime.engine.stepped import Memory, SteppedEngine
from physioedge_runtime.errors import EngineError, GoldenMismatch

__all__ = ["Adapter", "Engine", "Memory", "SteppedEngine", "load_engine"]

AUTO = "auto"


def load_engine(
    bundle: Bundle,
    *,
    engine: str = "onnxruntime",
    precision: str = "int8",
    adapters: str = "merged",
    threads: int = 1,
    fallback: bool = False,
    mode: str = WINDOW,
) -> Engine:
    """A graph of the bundle, loaded and proven on this machine with the golden vectors.

    Parameters
    ----------
    bundle : Bundle
        Verified bundle.
    engine, precision, adapters : str
        Which graph; see `GraphEntry`. ``executorch`` needs the engine that `physioedge engines build` makes; ``auto``
        is that one where it is built and the bundle has such a program, else onnxruntime. Another name is that of an
        engine of another package, see `physioedge_runtime.engine.plugged`.
    threads : int
        Threads inside one operator, at least 1. ExecuTorch has one number for the whole process.
    fallback : bool
        Take the bundle's other graphs of the same form of adapters, in its order, when this one computes wrongly here
        or its engine is missing. What was passed over, and why, stands in `Engine.refused` and in the log.
    mode : str
        ``window``; ``step``, for a `SteppedEngine`; or ``auto``: a step graph where the bundle has one of this form.

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
    if threads < 1:
        raise EngineError(f"{threads} threads", "at least 1", "Pass threads=1.")
    if engine not in (*ENGINES, AUTO):
        from physioedge_runtime.engine.plugged import load_plugged  # importlib.metadata: paid by those who ask

        return load_plugged(engine, bundle, precision=precision, adapters=adapters, threads=threads)
    if engine == AUTO:
        from physioedge_runtime.engine.native.library import is_built  # ctypes: paid by those who ask

        held = ("executorch", precision, adapters) in [graph.variant for graph in bundle.manifest.graphs]
        engine = "executorch" if held and is_built() else "onnxruntime"
    if mode == AUTO:
        held = (engine, precision, adapters, STEP) in [graph.variant for graph in bundle.manifest.graphs]
        mode = STEP if held else WINDOW
    entry = bundle.graph(engine, precision, adapters, mode)
    others = [other for other in bundle.manifest.graphs if other.adapters == adapters and other is not entry]
    others = [other for other in others if mode == STEP or other.mode == WINDOW]
    others.sort(key=lambda other: other.mode != mode)
    refused: list[str] = []
    first: EngineError | GoldenMismatch | None = None
    for candidate in (entry, *others) if fallback else (entry,):
        try:
            loaded = _load(bundle, candidate, threads)
        except (EngineError, GoldenMismatch) as error:
            import logging  # takes as much memory as a small model: only who has something to say loads it

            logging.getLogger(__name__).warning("%s passed over: %s", candidate.file, error)
            refused.append(f"{candidate.file}: {error.came}")
            first = first or error
            continue
        loaded.refused = tuple(refused)
        return loaded
    assert first is not None  # the loop ran at least once
    raise first


def _load(bundle: Bundle, entry: GraphEntry, threads: int) -> BufferedEngine | SteppedEngine:
    loaded: BufferedEngine
    if entry.engine == "executorch":  # each engine's import is paid by those who use it
        from physioedge_runtime.engine.et import EtEngine

        loaded = EtEngine(bundle, entry, threads=threads)
    else:
        from physioedge_runtime.engine.ort import OrtEngine

        loaded = OrtEngine(bundle, entry, threads=threads)
    judging = SteppedEngine(bundle.contract, loaded) if entry.mode == STEP else loaded
    check_golden(judging, entry, bundle.golden())
    return judging
