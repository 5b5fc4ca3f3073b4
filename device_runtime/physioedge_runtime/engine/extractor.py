"""The extractor of a bundle: a second graph, from the same windows to distances to shapelets; always in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.engine.buffered import contradiction
from physioedge_runtime.engine.ort import new_session
from physioedge_runtime.engine.protocol import Signals
from physioedge_runtime.errors import EngineError, GoldenMismatch

OUTPUT = "distances"
TOLERANCE = 1e-3
"""Of distances, which are in units of squared deviations; float32 on another machine rounds elsewhere."""


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
        self._names = tuple(bundle.contract.input_shapes)
        self._session = new_session(bundle.read(file), self._entry, threads=1)
        wanted = {name: (1, *shape) for name, shape in bundle.contract.input_shapes.items()}
        inputs = {end.name: tuple(end.shape) for end in self._session.get_inputs()}
        outputs = {end.name: tuple(end.shape) for end in self._session.get_outputs()}
        if inputs != wanted or outputs != {OUTPUT: (1, golden.shape[1])}:
            contradiction(f"{file} from {inputs} to {outputs}", f"{wanted} and {golden.shape[1]} {OUTPUT}")
        signals = bundle.golden()
        for i, expected in enumerate(golden):
            found = self.run(tuple(signals[name][i : i + 1] for name in self._names))
            off = float(np.abs(found - expected).max())
            if not off <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
                raise GoldenMismatch(
                    f"{OUTPUT} of {file} off by {off:.4g}", "those of the exporter", "Leave shapelets out here."
                )

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
