"""The extractor of a bundle: from the same windows to distances to shapelets, always in float32.

It is a graph of its own for onnxruntime, and a method of the model's own program for ExecuTorch. A device that runs the
model by ExecuTorch needs no second engine for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.engine.buffered import contradiction
from physioedge_runtime.engine.protocol import Engine, Signals
from physioedge_runtime.errors import EngineError, GoldenMismatch, ShapeError

if TYPE_CHECKING:
    from physioedge_runtime.engine.et import EtEngine

OUTPUT = "distances"
TOLERANCE = 1e-3
"""Of distances, which are in units of squared deviations; float32 on another machine rounds elsewhere."""


class Distances(Protocol):
    """An extractor in whatever engine."""

    def run(self, signals: Signals) -> NDArray[np.float32]:
        """Distances (distance,) of one window, given as to `Engine.run`; EngineError where it fails."""
        ...


def load_extractor(bundle: Bundle, file: str, golden: NDArray[np.float32], engine: Engine) -> Distances:
    """The extractor in the program that `engine` runs, if it holds one, and else by onnxruntime; see `Extractor`."""
    if engine.name.startswith("executorch"):
        from physioedge_runtime.engine.et import DISTANCES_METHOD, EtEngine  # ctypes: paid by those who use it

        if isinstance(engine, EtEngine) and DISTANCES_METHOD in engine.program.methods:
            return MethodExtractor(bundle, engine, golden)
    return Extractor(bundle, file, golden)


class Extractor:
    """One extractor, loaded into onnxruntime and proven with the golden windows.

    Parameters
    ----------
    bundle : Bundle
    file : str
        Name of the graph in the bundle.
    golden : float32 (window, distance)
        What it gave for the golden windows at export.

    Raises
    ------
    BundleError, EngineError
        The file is not there, or onnxruntime refuses it.
    ContractError
        Its inputs are not the contract's, or its output is not as long as `golden` says.
    GoldenMismatch
        It computes something else here.
    """

    def __init__(self, bundle: Bundle, file: str, golden: NDArray[np.float32]) -> None:
        self._entry = GraphEntry(file, "onnxruntime", "fp32", "merged", TOLERANCE, TOLERANCE)
        from physioedge_runtime.engine.ort import new_session  # onnxruntime: paid by those who use it

        self._names = tuple(bundle.contract.input_shapes)
        self._session = new_session(bundle.read(file), self._entry, threads=1)
        wanted = {name: (1, *shape) for name, shape in bundle.contract.input_shapes.items()}
        inputs = {end.name: tuple(end.shape) for end in self._session.get_inputs()}
        outputs = {end.name: tuple(end.shape) for end in self._session.get_outputs()}
        if inputs != wanted or outputs != {OUTPUT: (1, golden.shape[1])}:
            contradiction(f"{file} from {inputs} to {outputs}", f"{wanted} and {golden.shape[1]} {OUTPUT}")
        _prove(self, bundle, file, golden)

    def run(self, signals: Signals) -> NDArray[np.float32]:
        """Distances (distance,) of one window, given as to `Engine.run`.

        Raises
        ------
        EngineError
            The graph failed.
        """
        given = signals if isinstance(signals, tuple) else (signals,)
        try:
            (found,) = self._session.run([OUTPUT], dict(zip(self._names, given, strict=True)))
        except Exception as error:  # onnxruntime has no base class of its own
            raise EngineError(
                f"{self._entry.file}, which failed to run ({' '.join(str(error).split())[:200]})",
                "windows of the contract", "Leave shapelets out here.",
            ) from error  # fmt: skip
        return np.asarray(found[0], np.float32)


class MethodExtractor:
    """The extractor of a program that is open already, proven with the golden windows.

    Parameters
    ----------
    bundle : Bundle
    engine : EtEngine
        Whose program holds it.
    golden : float32 (window, distance)

    Raises
    ------
    ContractError
        Its inputs are not the contract's, or its output is not as long as `golden` says.
    EngineError, GoldenMismatch
        It does not run here, or computes something else.
    """

    def __init__(self, bundle: Bundle, engine: EtEngine, golden: NDArray[np.float32]) -> None:
        from physioedge_runtime.engine.et import DISTANCES_METHOD

        self._method = engine.program.method(DISTANCES_METHOD)
        shapes = [(1, *shape) for shape in bundle.contract.input_shapes.values()]
        found = [end.shape for end in self._method.inputs], [end.shape for end in self._method.outputs]
        if found != (shapes, [(1, golden.shape[1])]):
            wanted = f"{shapes} and {golden.shape[1]} {OUTPUT}"
            contradiction(f"{engine.entry.file} with {OUTPUT} from {found[0]} to {found[1]}", wanted)
        self._in = [np.zeros(shape, np.float32) for shape in shapes]
        self._out = np.zeros((1, golden.shape[1]), np.float32)
        for index, buffer in enumerate(self._in):
            self._method.bind_input(index, buffer)
        self._method.bind_output(0, self._out)
        _prove(self, bundle, engine.entry.file, golden)

    def run(self, signals: Signals) -> NDArray[np.float32]:
        """Distances (distance,) of one window; EngineError where the method fails."""
        given = signals if isinstance(signals, tuple) else (signals,)
        for buffer, signal in zip(self._in, given, strict=True):
            if signal.shape != buffer.shape:  # numpy would repeat a smaller one
                raise ShapeError(f"a signal {signal.shape}", f"{buffer.shape}", "Pass windows of the contract.")
            buffer[...] = signal
        self._method.run()
        return np.array(self._out[0], np.float32)


def _prove(extractor: Distances, bundle: Bundle, file: str, golden: NDArray[np.float32]) -> None:
    signals, names = bundle.golden(), tuple(bundle.contract.input_shapes)
    for i, expected in enumerate(golden):
        found = extractor.run(tuple(signals[name][i : i + 1] for name in names))
        off = float(np.abs(found - expected).max())
        if not off <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise GoldenMismatch(
                f"{OUTPUT} of {file} off by {off:.4g}", "those of the exporter", "Leave shapelets out here."
            )
