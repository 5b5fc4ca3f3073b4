"""Engines of other packages, by entry points: what they compute is proven with the golden vectors as everybody's is."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import ENGINES, GraphEntry
from physioedge_runtime.engine.golden import check_golden
from physioedge_runtime.engine.protocol import Engine
from physioedge_runtime.errors import EngineError

GROUP = "physioedge.engines"
"""Entry points: name is what `load_engine` is asked for, value an `EngineMaker`."""


class EngineMaker(Protocol):
    """A class or function that makes an engine of a graph.

    Attributes
    ----------
    graphs : str
        Whose graphs it takes: ``onnxruntime`` for ONNX files, ``executorch`` for programs.
    """

    graphs: str

    def __call__(self, bundle: Bundle, entry: GraphEntry, *, threads: int) -> Engine:
        """The engine; bytes of the graph come from ``bundle.read(entry.file)``, verified."""


def load_plugged(name: str, bundle: Bundle, *, precision: str, adapters: str, threads: int) -> Engine:
    """A window graph of the bundle in an engine of another package, proven on this machine.

    Raises
    ------
    EngineError
        No engine of that name is installed.
    BundleError
        The bundle holds no such graph.
    GoldenMismatch
        The engine computes something else than the model.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join((*ENGINES, *sorted(found)))
        raise EngineError(f"engine {name!r}", f"one of {known}", "Name one, or install the package that brings it.")
    maker: EngineMaker = found[name].load()
    entry = bundle.graph(maker.graphs, precision, adapters)
    engine = maker(bundle, entry, threads=threads)
    check_golden(engine, entry, bundle.golden())
    return engine
