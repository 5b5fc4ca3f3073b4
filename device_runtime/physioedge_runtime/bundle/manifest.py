"""What a bundle says about itself: the signed ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from physioedge_runtime.bundle.contract import EMBEDDING, Contract
from physioedge_runtime.bundle.plain import Fail, check_kinds, load_object
from physioedge_runtime.errors import BundleError, FormatError, SchemaTooNew

MANIFEST_SCHEMA = 1
ENGINES = ("onnxruntime", "executorch")
PRECISIONS = ("fp32", "int8", "int8_static")
ADAPTER_FORMS = ("merged", "slots")
WINDOW, STEP = "window", "step"
MODES = (WINDOW, STEP)
MAX_GOLDEN_WINDOWS = 64
MAX_TOLERANCE = 100.0
HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """Digest and size of one file in the bundle."""

    sha256: str
    bytes: int


def file_entry(content: bytes) -> FileEntry:
    """Digest and size of a content."""
    return FileEntry(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True)
class GraphEntry:
    """One form of the model.

    Attributes
    ----------
    file : str
        Name inside the bundle.
    engine : str
        ``onnxruntime`` or ``executorch``.
    precision : str
        ``fp32``, ``int8``, or ``int8_static``: the same weights on another int8 kernel.
    adapters : str
        ``merged`` (inputs: the signals) or ``slots`` (inputs: the signals and every slot of the contract).
    tolerance_logits, tolerance_embedding : float
        Largest absolute difference to the golden outputs that a right engine shows; `tolerance_logits` is that of the
        first output, also where it gives values.
    mode : str
        ``window``: a whole window at once; ``step``: what is new since the last one, see `StepSpec`.
    """

    file: str
    engine: str
    precision: str
    adapters: str
    tolerance_logits: float
    tolerance_embedding: float
    mode: str = WINDOW

    @property
    def variant(self) -> tuple[str, ...]:
        """What a graph is chosen by: engine, precision, form of the adapters, and ``step`` where it is one."""
        return (self.engine, self.precision, self.adapters, *((STEP,) if self.mode == STEP else ()))

    def to_dict(self, output_name: str) -> dict[str, Any]:
        """Plain values for JSON; `output_name` is the contract's."""
        tolerance = {output_name: self.tolerance_logits, EMBEDDING: self.tolerance_embedding}
        parts = {"file": self.file, "engine": self.engine, "precision": self.precision, "adapters": self.adapters}
        mode = {"mode": self.mode} if self.mode != WINDOW else {}  # no such field before contracts of schema 3
        return {**parts, **mode, "tolerance": tolerance}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything signed.

    Attributes
    ----------
    name, version : str
        Of the bundle, as its maker calls it.
    contract : Contract
        How the model is used rightly.
    graphs : tuple of GraphEntry
        At most one for each engine, precision, form of adapters and mode.
    files : mapping of str to FileEntry
        Every file of the archive but the manifest and its signature.
    golden_file, golden_windows : str, int
        Golden vectors and how many windows they hold.
    licence, licence_file, model_card : str
        SPDX expression, its text and the model card in the bundle.
    provenance : dict
        Where the weights come from; ``training_subjects`` lists every person they have seen.
    task_info : dict
        What the labels mean, for people.
    """

    name: str
    version: str
    contract: Contract
    graphs: tuple[GraphEntry, ...]
    files: Mapping[str, FileEntry]
    golden_file: str
    golden_windows: int
    licence: str
    licence_file: str
    model_card: str
    provenance: Mapping[str, Any]
    task_info: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = MANIFEST_SCHEMA

    def graph(self, engine: str, precision: str, adapters: str, mode: str = WINDOW) -> GraphEntry:
        """The graph of this variant.

        Raises
        ------
        BundleError
            The bundle does not hold it; the message lists what it holds.
        """
        for entry in self.graphs:
            if (entry.engine, entry.precision, entry.adapters, entry.mode) == (engine, precision, adapters, mode):
                return entry
        held = ", ".join("/".join(entry.variant) for entry in self.graphs)
        asked = "/".join((engine, precision, adapters, *((STEP,) if mode == STEP else ())))
        raise BundleError(
            f"graph {asked}, which {self.name} {self.version} does not hold",
            f"one of {held}",
            "Choose one of those, or export a bundle with it.",
        )

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, ASCII."""
        values = {
            "schema_version": self.schema_version,
            "name": self.name,
            "version": self.version,
            "contract": self.contract.to_dict(),
            "graphs": [graph.to_dict(self.contract.output_name) for graph in self.graphs],
            "files": {name: {"sha256": f.sha256, "bytes": f.bytes} for name, f in self.files.items()},
            "golden": {"file": self.golden_file, "windows": self.golden_windows},
            "licence": {"spdx": self.licence, "file": self.licence_file},
            "model_card": self.model_card,
            "provenance": dict(self.provenance),
            "task_info": dict(self.task_info),
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Checked inverse of `to_bytes`; call it on verified bytes only.

        Raises
        ------
        FormatError
            No JSON, or a field is missing, unknown, of the wrong kind or contradicts another.
        SchemaTooNew
            Written for a newer runtime.
        ContractError
            The contract inside does not hold together.
        """
        values = load_object(data, _fail)
        version = values.get("schema_version")
        if type(version) is int and version > MANIFEST_SCHEMA:
            raise SchemaTooNew(
                f"a bundle of schema {version}", f"at most {MANIFEST_SCHEMA}", "Update physioedge on this machine."
            )
        _shape("manifest", values, _MANIFEST_FIELDS)
        _shape("golden", values["golden"], {"file": str, "windows": int})
        _shape("licence", values["licence"], {"spdx": str, "file": str})
        contract = Contract.from_dict(values["contract"])
        manifest = cls(
            schema_version=values["schema_version"],
            name=values["name"],
            version=values["version"],
            contract=contract,
            graphs=tuple(_graph(row, contract.output_name) for row in values["graphs"]),
            files={name: read_file_entry(name, row, _fail) for name, row in values["files"].items()},
            golden_file=values["golden"]["file"],
            golden_windows=values["golden"]["windows"],
            licence=values["licence"]["spdx"],
            licence_file=values["licence"]["file"],
            model_card=values["model_card"],
            provenance=values["provenance"],
            task_info=values["task_info"],
        )
        manifest._check()
        return manifest

    def _check(self) -> None:
        variants = [graph.variant for graph in self.graphs]
        if self.schema_version != MANIFEST_SCHEMA or not self.graphs or len(set(variants)) != len(variants):
            _fail(f"schema {self.schema_version} with graphs {variants}", "schema 1 and one graph for each variant")
        named = [self.golden_file, self.licence_file, self.model_card, *(graph.file for graph in self.graphs)]
        missing = [name for name in named if name not in self.files]
        if missing or len(set(named)) != len(named):
            _fail(f"{missing or named} named", "every named file once in `files`")
        if not 1 <= self.golden_windows <= MAX_GOLDEN_WINDOWS:
            _fail(f"{self.golden_windows} golden windows", f"1 to {MAX_GOLDEN_WINDOWS}")
        if any(graph.adapters == "slots" for graph in self.graphs) and not self.contract.slots:
            _fail("a graph with slots and a contract without", "the slots in the contract")
        if any(graph.mode == STEP for graph in self.graphs) and self.contract.step is None:
            _fail("a step graph and a contract without `step`", "the step in the contract")
        subjects = self.provenance.get("training_subjects")
        if not isinstance(subjects, list) or not all(isinstance(s, str) for s in subjects):
            _fail(f"provenance.training_subjects = {subjects!r:.80}", "a list of names such as mitbih/101")


_MANIFEST_FIELDS: dict[str, type] = {
    "schema_version": int,
    "name": str,
    "version": str,
    "contract": dict,
    "graphs": list,
    "files": dict,
    "golden": dict,
    "licence": dict,
    "model_card": str,
    "provenance": dict,
    "task_info": dict,
}


def _graph(row: Any, output_name: str) -> GraphEntry:
    wanted = {"file": str, "engine": str, "precision": str, "adapters": str, "tolerance": dict}
    if isinstance(row, dict) and "mode" in row:
        wanted["mode"] = str
    _shape("graph", row, wanted)
    tolerance = row["tolerance"]
    _shape("tolerance", tolerance, {output_name: float, EMBEDDING: float})
    for key, known in (("engine", ENGINES), ("precision", PRECISIONS), ("adapters", ADAPTER_FORMS), ("mode", MODES)):
        if row.get(key, WINDOW) not in known:
            _fail(f"graph {row['file']} with {key} {row[key]!r}", f"one of {', '.join(known)}")
    if not all(0 < limit <= MAX_TOLERANCE for limit in tolerance.values()):
        _fail(f"graph {row['file']} with tolerance {tolerance!r:.80}", f"positive numbers up to {MAX_TOLERANCE:g}")
    limits = float(tolerance[output_name]), float(tolerance[EMBEDDING])
    mode = row.get("mode", WINDOW)
    return GraphEntry(row["file"], row["engine"], row["precision"], row["adapters"], *limits, mode)


def read_file_entry(name: str, row: Any, fail: Fail) -> FileEntry:
    """Digest and size of one file as a manifest states them."""
    check_kinds(f"file {name}", row, {"sha256": str, "bytes": int}, fail)
    if not HEX64.fullmatch(row["sha256"]) or row["bytes"] < 0:
        fail(f"file {name} with {row}", "64 lower-case hex digits and a size")
    return FileEntry(row["sha256"], row["bytes"])


def _shape(what: str, values: Any, wanted: Mapping[str, type]) -> None:
    check_kinds(what, values, wanted, _fail)


def _fail(came: str, expected: str) -> NoReturn:
    raise FormatError(f"a manifest with {came}", expected, "Export the bundle again with this version of physioedge.")
