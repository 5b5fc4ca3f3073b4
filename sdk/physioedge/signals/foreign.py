"""Libraries that read other people's files fail in many ways; a caller sees one."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from physioedge_runtime.errors import MissingExtra, PhysioEdgeError, RecordError


def needed(package: str, extra: str, what: str) -> ModuleType:
    """A package of an extra.

    Raises
    ------
    MissingExtra
        It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package.partition(".")[0]:
            raise
        do = f"Install it with: pip install 'physioedge[{extra}]'"
        raise MissingExtra(f"{what} without the package {package!r}", f"the extra {extra!r}", do) from error


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Whatever a library raises or warns of inside, as one RecordError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a truncated file is a warning to some
            yield
    except PhysioEdgeError:
        raise
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}", expected, "Check the path and the file.") from error
    except Exception as error:
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise RecordError(f"{path}: {what}", expected, "The file is damaged: export or download it again.") from error
