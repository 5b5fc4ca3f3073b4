"""From a file to a generator."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from physioedge.host.protocol import Generator
from physioedge_runtime.errors import HostError

HOME = "physioedge.generator.files"
"""Its ``load_generator`` reads the files that training writes."""


def load_generator(path: Path | str) -> Generator:
    """The generator in a file.

    Raises
    ------
    HostError
        This installation has nothing that reads generators.
    """
    try:
        load = import_module(HOME).load_generator
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not HOME.startswith(str(error.name)):
            raise  # a package of another extra is missing
        raise HostError(
            f"the generator {path}, where {HOME} cannot load any", "a version of physioedge that can", "Update it."
        ) from error
    generator: Generator = load(Path(path))
    return generator
