"""The default engine: onnxruntime on the CPU, from verified bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import METADATA_KEY
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.engine.buffered import BufferedEngine, check_contract, contradiction, graph_failed

_FATAL_ONLY = 4
_FLOAT = "tensor(float)"


class OrtEngine(BufferedEngine):
    """One graph of a bundle, loaded into onnxruntime and compared with the manifest.

    Parameters
    ----------
    bundle : Bundle
        Verified bundle.
    entry : GraphEntry
        Which of its graphs.
    threads : int
        Threads inside one operator; 1 is the fastest for small models and the kindest to a battery.

    Raises
    ------
    EngineError
        onnxruntime refuses the graph.
    ContractError
        The graph's own metadata, inputs or outputs are not the manifest's.
    """

    def __init__(self, bundle: Bundle, entry: GraphEntry, *, threads: int = 1) -> None:
        super().__init__(bundle.contract, entry)
        self._session = new_session(bundle.read(entry.file), entry, threads)
        check_contract(self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), bundle.contract, entry)
        _check_ends("inputs", self._session.get_inputs(), self._in, entry)
        _check_ends("outputs", self._session.get_outputs(), self._out, entry)
        self._binding = self._session.io_binding()
        for name, buffer in self._in.items():
            self._binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(buffer))
        for name, buffer in self._out.items():
            self._binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(buffer))

    @property
    def name(self) -> str:
        """Engine and version."""
        return f"onnxruntime {onnxruntime.__version__}"

    def execute(self) -> None:
        """Fill the output buffers from the input buffers."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime has no base class of its own
            raise graph_failed(self.entry, "failed to run", error, self.name) from error


def new_session(model: bytes, entry: GraphEntry, threads: int) -> Any:
    """A session on the CPU that reads no file beside the verified bytes; EngineError where the graph is refused."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Graphs are whole; left alone, onnxruntime would read weights from unverified files beside the program.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime has no base class of its own
        raise graph_failed(entry, "cannot be loaded", error, f"onnxruntime {onnxruntime.__version__}") from error
    # It keeps the model beside its own copy of the weights, to try other providers: there are none to try. A later
    # version that calls it otherwise is not broken by this, it only keeps it: tests/engine/test_footprint.py notices.
    session._model_bytes = None
    return session


def _check_ends(kind: str, found: Sequence[Any], wanted: Mapping[str, NDArray[np.float32]], entry: GraphEntry) -> None:
    have = {end.name: (end.type, tuple(end.shape)) for end in found}
    want = {name: (_FLOAT, buffer.shape) for name, buffer in wanted.items()}
    if have != want:
        odd = sorted(name for name in have.keys() | want.keys() if have.get(name) != want.get(name))[0]
        contradiction(
            f"{entry.file} whose {kind} have {odd} = {have.get(odd, 'nothing')}",
            f"{want.get(odd, 'no such name')} by the contract",
        )
