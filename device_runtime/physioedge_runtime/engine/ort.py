"""The default engine: onnxruntime on the CPU, from verified bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import METADATA_KEY, Contract, SlotSpec
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.engine.protocol import EMBEDDING, INPUT, LOGITS, Adapter
from physioedge_runtime.engine.slots import check_adapter
from physioedge_runtime.errors import ContractError, EngineError, ShapeError, SignalError

_FATAL_ONLY = 4
_FLOAT = "tensor(float)"


class OrtEngine:
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
        contract = bundle.contract
        self.slots: tuple[SlotSpec, ...] = contract.slots if entry.adapters == "slots" else ()
        self.entry = entry
        self._session = _session(bundle.read(entry.file), entry, threads)
        _check_metadata(self._session, contract, entry)
        inputs: dict[str, tuple[int, ...]] = {INPUT: (1, len(contract.sensor.channels), contract.window.input_samples)}
        inputs |= {slot.name: slot.shape for slot in self.slots}
        outputs = {LOGITS: (1, len(contract.labels)), EMBEDDING: (1, contract.embedding_dim)}
        _check_ends("inputs", self._session.get_inputs(), inputs, entry)
        _check_ends("outputs", self._session.get_outputs(), outputs, entry)
        self._adapter: Adapter | None = None
        self._binding = self._session.io_binding()
        self._in = {name: self._bind(self._binding.bind_ortvalue_input, name, shape) for name, shape in inputs.items()}
        self._out = {name: self._bind(self._binding.bind_ortvalue_output, name, s) for name, s in outputs.items()}
        self._window, self._logits, self._embedding = self._in[INPUT], self._out[LOGITS], self._out[EMBEDDING]

    @property
    def name(self) -> str:
        """Engine and version."""
        return f"onnxruntime {onnxruntime.__version__}"

    def run(
        self, window: NDArray[np.float32], adapter: Adapter | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (1, K) and embedding (1, D) of one window; see `Engine.run`."""
        if window.shape != self._window.shape or window.dtype != np.float32:
            raise ShapeError(
                f"a window {window.dtype}{window.shape}", f"float32{self._window.shape}", "Cut it as the contract says."
            )
        if adapter is not self._adapter:
            self._set_adapter(adapter)
        if not np.isfinite(window).all():  # int8 graphs turn NaN into plausible answers
            raise SignalError("a window with NaN or infinities", "finite samples", "Leave such windows out.")
        self._window[...] = window
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime has no base class of its own
            raise _failed(self.entry, "failed to run", error) from error
        logits, embedding = self._logits.copy(), self._embedding.copy()
        if not (np.isfinite(logits).all() and np.isfinite(embedding).all()):
            raise EngineError(
                f"outputs of {self.entry.file} that are not finite",
                "finite numbers",
                "Check the input's scale and units.",
            )
        return logits, embedding

    def _set_adapter(self, adapter: Adapter | None) -> None:
        if adapter is not None:
            check_adapter(adapter, self.slots)
        for slot in self.slots:
            self._in[slot.name][...] = 0.0 if adapter is None else adapter[slot.name]
        self._adapter = adapter

    @staticmethod
    def _bind(bind: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """A zeroed buffer that the session reads or writes in place."""
        buffer = np.zeros(shape, np.float32)
        bind(name, onnxruntime.OrtValue.ortvalue_from_numpy(buffer))
        return buffer


def _session(model: bytes, entry: GraphEntry, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Graphs are whole; left alone, onnxruntime would read weights from unverified files beside the program.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no base class of its own
        raise _failed(entry, "cannot be loaded", error) from error


def _check_metadata(session: Any, contract: Contract, entry: GraphEntry) -> None:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise _contradiction(f"{entry.file} without a contract in its metadata", f"the manifest's under {METADATA_KEY}")
    found, wanted = Contract.from_json(text).to_json(), contract.to_json()
    if found != wanted:
        theirs, ours = json.loads(found), json.loads(wanted)
        fields = [key for key in ours if theirs.get(key) != ours[key]]
        raise _contradiction(f"{entry.file} with another contract ({', '.join(fields)})", "the manifest's contract")


def _check_ends(kind: str, found: Sequence[Any], wanted: Mapping[str, tuple[int, ...]], entry: GraphEntry) -> None:
    have = {end.name: (end.type, tuple(end.shape)) for end in found}
    want = {name: (_FLOAT, shape) for name, shape in wanted.items()}
    if have != want:
        odd = sorted(name for name in have.keys() | want.keys() if have.get(name) != want.get(name))[0]
        raise _contradiction(
            f"{entry.file} whose {kind} have {odd} = {have.get(odd, 'nothing')}",
            f"{want.get(odd, 'no such name')} by the contract",
        )


def _contradiction(came: str, expected: str) -> ContractError:
    return ContractError(came, expected, "Export the bundle again with this version of physioedge.")


def _failed(entry: GraphEntry, what: str, error: Exception) -> EngineError:
    reason = " ".join(str(error).split())[:300]
    return EngineError(
        f"graph {entry.file}, which {what} ({reason})",
        f"a graph for onnxruntime {onnxruntime.__version__}",
        "Choose another graph of the bundle, or update onnxruntime.",
    )
