"""The fast engine: ExecuTorch with the XNNPACK delegate through a small C library, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.engine.buffered import BufferedEngine, check_contract, contradiction, graph_failed
from physioedge_runtime.engine.native.library import FLOAT32, Program, TensorInfo, load_library
from physioedge_runtime.errors import EngineError

FORWARD_METHOD = "forward"
CONTRACT_METHOD = "contract"
NOTES_METHOD = "graph_notes"
DISTANCES_METHOD = "distances"
"""The extractor of a bundle that offers conditions of shapelets, in the same program."""


class EtEngine(BufferedEngine):
    """One program of a bundle, run by ExecuTorch on the engine's own buffers.

    Parameters
    ----------
    bundle : Bundle
        Verified bundle.
    entry : GraphEntry
        Which of its programs.
    threads : int
        Threads of the whole process.
    folder : Path, optional
        The built engine; by default where `physioedge engines build` puts it.

    Raises
    ------
    EngineError
        The engine is not built, or refuses the program.
    ContractError
        The program's own contract, inputs or outputs are not the manifest's.
    """

    def __init__(self, bundle: Bundle, entry: GraphEntry, *, threads: int = 1, folder: Path | None = None) -> None:
        super().__init__(bundle.contract, entry)
        library = load_library(folder)
        library.set_threads(threads)
        self._version = library.version
        self.program: Program = library.open(bundle.read(entry.file))
        program = self.program
        self._check_methods(program)
        check_contract(program.text(CONTRACT_METHOD), bundle.contract, entry)
        notes = json.loads(program.text(NOTES_METHOD))
        self._method = program.method(FORWARD_METHOD)
        _check_ends("inputs", notes.get("inputs"), self._method.inputs, self._in, entry)
        _check_ends("outputs", notes.get("outputs"), self._method.outputs, self._out, entry)
        for index, buffer in enumerate(self._in.values()):
            self._method.bind_input(index, buffer)
        for index, buffer in enumerate(self._out.values()):
            self._method.bind_output(index, buffer)

    @property
    def name(self) -> str:
        """Engine and version."""
        return self._version

    def _check_methods(self, program: Program) -> None:
        missing = {FORWARD_METHOD, CONTRACT_METHOD, NOTES_METHOD} - set(program.methods)
        if missing:
            contradiction(
                f"{self.entry.file} without method {sorted(missing)[0]} (it has {', '.join(program.methods)})",
                "a program of this exporter",
            )

    def execute(self) -> None:
        """Fill the output buffers from the input buffers."""
        try:
            self._method.run()
        except EngineError as error:
            raise graph_failed(self.entry, "failed to run", error.came, self.name) from error


def _check_ends(
    kind: str,
    names: object,
    found: Sequence[TensorInfo],
    wanted: Mapping[str, NDArray[np.float32]],
    entry: GraphEntry,
) -> None:
    """Programs know their ends by position only, so the exporter's notes name them."""
    if names != list(wanted):
        contradiction(f"{entry.file} whose notes give {kind} {names}", f"{list(wanted)} by the contract")
    have = [(tensor.dtype, tensor.shape) for tensor in found]
    want = [(FLOAT32, buffer.shape) for buffer in wanted.values()]
    if have != want:
        contradiction(f"{entry.file} whose {kind} are {have}", f"{want} by the contract (6 is float32)")
