"""Bytes on disk of what an arm needs at run time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from physioedge_runtime.engine.native.library import engine_folder

OWN, NATIVE = "physioedge", "native engine"
_PACKAGES = ("physioedge", "physioedge_export", "physioedge_runtime")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ROOTS = {
    "onnx": ("numpy", "onnxruntime"),
    "pte": ("numpy", "executorch", "torch"),  # its Python runtime imports torch, though it does not declare it
    "torch": ("numpy", "torch"),
    "compile": ("numpy", "torch"),
    "numpy": ("numpy",),
}


def install_bytes(kind: str, engine: str = "onnxruntime") -> dict[str, int]:
    """Size of each distribution that an arm of this kind needs, with all that they require.

    Parameters
    ----------
    kind : str
        As `Arm.kind`.
    engine : str
        Of our own arms; ExecuTorch adds the folder of the built native engine.

    Returns
    -------
    dict of str to int
        Bytes by distribution or folder. Compilers, which ``torch.compile`` needs too, are not counted.
    """
    if kind != "bundle":
        return {name: distribution_bytes(found) for name, found in closure(_ROOTS[kind]).items()}
    roots = ("numpy", "pynacl") if engine == "executorch" else ("numpy", "pynacl", "onnxruntime")
    sizes = {name: distribution_bytes(found) for name, found in closure(roots).items()}
    sizes[OWN] = sum(folder_bytes(folder) for folder in _own_folders())
    if engine == "executorch":
        sizes[NATIVE] = folder_bytes(engine_folder())
    return sizes


def closure(roots: Iterable[str]) -> dict[str, Distribution]:
    """The named distributions and all they require, as far as installed here.

    Requirements of extras are left out. Those for other systems need no marker to be read: they are not installed.
    """
    found: dict[str, Distribution] = {}
    waiting = list(roots)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for requirement in found[name].requires or ():
            named, _, marker = requirement.partition(";")
            match = _NAME.match(named.strip())
            if match and "extra" not in marker:
                waiting.append(match[0])
    return dict(sorted(found.items()))


def distribution_bytes(found: Distribution) -> int:
    """Bytes of all files of an installed distribution, without bytecode that Python makes again by itself."""
    paths = [Path(str(found.locate_file(file))) for file in found.files or () if "__pycache__" not in file.parts]
    return sum(path.stat().st_size for path in paths if path.is_file())


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder, without ``__pycache__``; links are not counted."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    )


def _own_folders() -> list[Path]:
    # by their folders: an editable install lists only a pointer to them
    specs = [find_spec(name) for name in _PACKAGES]
    return [Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ()]
