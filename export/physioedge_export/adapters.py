"""Writing an adapter file: the same values always give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_export.pack import replace_file
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.adaptation.manifest import ARRAYS, AdapterManifest
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive
from physioedge_runtime.bundle.manifest import file_entry
from physioedge_runtime.bundle.signing import public_key, read_private_key, sign
from physioedge_runtime.bundle.tensors import ADAPTER_TYPES, write_tensors
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import ExportError, NonFiniteAdapter

HALF_MAX = float(np.finfo(np.float16).max)


def build_adapter(
    said: AdapterManifest,
    arrays: Mapping[str, NDArray[np.float32]],
    *,
    signing_key: Path | str | bytes,
    half: bool = True,
) -> bytes:
    """A signed adapter file, which a reader was seen to accept.

    Parameters
    ----------
    said : AdapterManifest
        What is to be signed; its `files` and `arrays` are worked out here. Its counter is one above the device's last.
        Fractions in the provenance are better given as text, since JSON has many spellings for them.
    arrays : mapping of str to float32
        The slots' arrays, all or none, and ``head.bias`` or not.
    signing_key : path or bytes
        Private key: PEM file, PEM text or 32 raw bytes.
    half : bool
        Whether the slots' arrays are rounded to float16 in the file.

    Raises
    ------
    FormatError, NonFiniteAdapter
        It would be no adapter that a reader accepts.
    ExportError
        Provenance that is no JSON, or arrays that are not float32.
    """
    private = read_private_key(signing_key)
    odd = {name: str(array.dtype) for name, array in arrays.items() if array.dtype != np.float32}
    if odd:
        raise ExportError(f"arrays of other types, {odd}", "float32", "Convert them where they are made.")
    content = write_tensors({name: _stored(name, a, half=half) for name, a in arrays.items()}, ADAPTER_TYPES)
    shapes = {name: array.shape for name, array in arrays.items()}
    manifest = replace(said, files={ARRAYS: file_entry(content)}, arrays=shapes)
    try:
        text = manifest.to_bytes()
    except (TypeError, ValueError, RecursionError) as error:
        raise ExportError(
            f"provenance with {error}", "finite JSON values", "Pass numbers, texts, lists, dicts."
        ) from error
    data = build_archive({ARRAYS: content, MANIFEST: text, SIGNATURE: sign(text, private)})
    AdapterFile.open(data, trust=public_key(private))
    return data


def write_adapter(
    path: Path | str,
    said: AdapterManifest,
    arrays: Mapping[str, NDArray[np.float32]],
    *,
    signing_key: Path | str | bytes,
    half: bool = True,
) -> AdapterFile:
    """Writes what `build_adapter` gives, in one step or not at all, and gives it back as a reader opened it.

    Raises
    ------
    FormatError, NonFiniteAdapter, ExportError
        As `build_adapter`, or the target cannot be written.
    """
    private = read_private_key(signing_key)
    data = build_adapter(said, arrays, signing_key=private, half=half)
    return replace_file(Path(path), data, lambda written: AdapterFile.open(written, trust=public_key(private)))


def _stored(name: str, array: NDArray[np.float32], *, half: bool) -> NDArray[Any]:
    if not half or name == BIAS:
        return array
    if not float(np.abs(array).max(initial=0.0)) <= HALF_MAX:  # also true for NaN
        raise NonFiniteAdapter(f"{name} with values that float16 cannot hold", "finite, small ones", "Fit it again.")
    return array.astype(np.float16)
