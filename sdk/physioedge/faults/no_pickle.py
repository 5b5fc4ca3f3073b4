"""Whether anything that is shipped could run code when it is read: by its source, and by its bytes."""

from __future__ import annotations

import ast
import io
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

RUNS_CODE = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"})
"""Modules that load objects by running what a file says."""
HARMLESS = {"joblib": {"Parallel", "delayed"}}
_PICKLE = re.compile(rb"\A\x80[\x02-\x05]")
_OBJECTS = re.compile(rb"'descr':\s*(?:'[|<>=]?O|\[.*?'[|<>=]?O)", re.DOTALL)
_NPY = b"\x93NUMPY"
DEPTH = 4
"""Archives in archives that are looked into."""


def in_source(text: str) -> list[str]:
    """What a module does to load objects that may run code, each as line and words; empty for nothing."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, f"import {a.name}") for a in node.names if a.name.partition(".")[0] in RUNS_CODE]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in RUNS_CODE:
            names = {alias.name for alias in node.names}
            if not names <= HARMLESS.get(str(node.module), set()):
                found.append((node.lineno, f"from {node.module} import {', '.join(sorted(names))}"))
        elif isinstance(node, ast.Call):
            found += [(node.lineno, said) for said in _call(node)]
    return [f"line {line}: {said}" for line, said in sorted(found)]


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {word.arg: word.value for word in node.keywords}

    def is_said(word: str, value: bool) -> bool:
        told = given.get(word)
        return isinstance(told, ast.Constant) and told.value is value

    if name in ("torch.load",) and not is_said("weights_only", True):
        yield f"{name} without weights_only=True"
    if "allow_pickle" in given and not is_said("allow_pickle", False):
        yield f"{name} with allow_pickle"
    if name in ("eval", "exec", "yaml.load", "yaml.unsafe_load"):
        yield name


def in_bytes(data: bytes, depth: int = DEPTH) -> list[str]:
    """What in a file, or in the archives inside it, is a pickle or an array of objects; empty for nothing."""
    if _PICKLE.match(data) and b"." in data[-2:]:
        return ["a pickle"]
    if data.startswith(_NPY):
        size = struct.unpack("<H", data[8:10])[0] if data[6:7] == b"\x01" else struct.unpack("<I", data[8:12])[0]
        return ["an array of objects"] if _OBJECTS.search(data[10 : 12 + size]) else []
    if data.startswith(b"PK\x03\x04") and depth:
        return list(_in_archive(data, depth))
    return []


def _in_archive(data: bytes, depth: int) -> Iterator[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.endswith((".pkl", ".pickle")):
                    yield f"{name}, by its name a pickle"
                yield from (f"{name}: {what}" for what in in_bytes(archive.read(name), depth - 1))
    except (zipfile.BadZipFile, NotImplementedError):
        yield "an archive that cannot be read"


def in_folder(folder: Path) -> tuple[list[str], int]:
    """The same of every file below a folder, by its path, and how many files were looked at."""
    found, count = [], 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        count += 1
        if path.suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth"):
            found.append(f"{path.relative_to(folder)}, by its name a pickle")
        said = in_source(path.read_text(encoding="utf-8")) if path.suffix == ".py" else in_bytes(path.read_bytes())
        found += [f"{path.relative_to(folder)}: {what}" for what in said]
    return found, count
