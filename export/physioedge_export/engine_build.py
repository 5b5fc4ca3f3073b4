"""Builds the torch-free ExecuTorch engine: our C library and the few libraries of the executorch package it needs.

The result is one folder that runs on any machine of the same processor family: no torch, no executorch package.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from physioedge_runtime.engine.native import library as native
from physioedge_runtime.errors import ExportError, MissingExtra

LIBRARIES = (
    "libexecutorch.so",
    "libexecutorch_threadpool.so",
    "libexecutorch_backend_xnnpack.so",
    "libexecutorch_kernels_optimized.so",
)
INFO_FILE = "engine.json"
LICENCE_FILE = "LICENSE.executorch"
SOURCES = tuple(
    Path(native.__file__).parent / name for name in ("physioedge_engine.cpp", "step_operator.cpp", "step_block.cpp")
)
_NATIVE = ("*.cpp", "*.h", "*.inc")
OLDEST = (1, 5)
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fopenmp-simd",
    "-fno-math-errno",  # with the next three the loops of the step's operator become vector instructions
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-ffinite-math-only",
    "-Wno-psabi",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-DC10_USING_CUSTOM_GENERATED_MACROS",
    "-DET_EVENT_TRACER_ENABLED",  # as the package's own libraries were built: the layout of classes depends on it
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """Where ExecuTorch lies: its headers and libraries.

    Attributes
    ----------
    folder : Path
        The package ``executorch``, of this environment or unpacked from a wheel for another processor.
    version : str
    """

    folder: Path
    version: str

    @property
    def headers(self) -> Path:
        """Include folder."""
        return self.folder / "include"

    @property
    def libraries(self) -> Path:
        """Folder of the shared libraries."""
        return self.folder / "lib"


@dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """What was built.

    Attributes
    ----------
    folder : Path
    version : str
        Of ExecuTorch.
    machine : str
        Processor family, as `platform.machine` names it there.
    bytes : int
        Of all files.
    """

    folder: Path
    version: str
    machine: str
    bytes: int


def build_engine(
    folder: Path | None = None,
    *,
    compiler: str | None = None,
    package: Path | None = None,
    machine: str | None = None,
    flags: Sequence[str] = (),
) -> BuiltEngine:
    """Compile the engine and put it into one folder with what it needs.

    Parameters
    ----------
    folder : Path, optional
        Where to; by default where the runtime of this environment looks.
    compiler : str, optional
        C++17 compiler; ``$CXX``, c++, g++ or clang++ by default. A cross compiler builds for another processor.
    package : Path, optional
        Folder ``executorch`` of an unpacked wheel, for another processor than this one.
    machine : str, optional
        Processor family built for; this machine's by default.
    flags : sequence of str
        More for the compiler, such as ``-mcpu=cortex-a53``.

    Raises
    ------
    MissingExtra
        The executorch package is not installed.
    ExportError
        There is no compiler, the package is too old or lacks libraries, or compiling failed.
    """
    found = find_package(package)
    target = folder or native.engine_folder()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        _compile(_compiler(compiler), found, work / native.LIBRARY, flags)
        for library in LIBRARIES:
            shutil.copy2(found.libraries / library, work / library)
        _copy_licence(found, work / LICENCE_FILE)
        info = {
            "interface": native.ABI_VERSION,
            "executorch": found.version,
            "machine": machine or platform.machine(),
            "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(work.iterdir())},
        }
        (work / INFO_FILE).write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
        _replace(work, target)
    size = sum(path.stat().st_size for path in target.iterdir())
    return BuiltEngine(folder=target, version=found.version, machine=str(info["machine"]), bytes=size)


def is_current(folder: Path | None = None, version: str | None = None) -> bool:
    """Whether a built engine is of this source and of this version of executorch, or of the one installed here."""
    try:
        version = version or find_package(None).version
        info = json.loads(((folder or native.engine_folder()) / INFO_FILE).read_text(encoding="utf-8"))
        built_at = ((folder or native.engine_folder()) / native.LIBRARY).stat().st_mtime
        return bool(
            info["interface"] == native.ABI_VERSION
            and info["executorch"] == version
            and built_at >= max(path.stat().st_mtime for kind in _NATIVE for path in SOURCES[0].parent.glob(kind))
        )
    except (OSError, ValueError, KeyError, MissingExtra, ExportError):
        return False


def find_compiler() -> str | None:
    """A C++ compiler of this machine, if it has one."""
    named = os.environ.get("CXX")
    return next((path for name in (named, "c++", "g++", "clang++") if name and (path := shutil.which(name))), None)


@contextmanager
def fetched_package(version: str | None = None) -> Iterator[Package]:
    """The executorch package, fetched by pip into a folder that is gone afterwards: 130 MB, without torch.

    Parameters
    ----------
    version : str, optional
        Exact version; by default the newest that this exporter takes.

    Raises
    ------
    ExportError
        pip cannot fetch it.
    """
    wanted = f"executorch=={version}" if version else f"executorch>={'.'.join(map(str, OLDEST))},<2"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*command, "--target", folder, wanted], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = " ".join(done.stderr.strip().splitlines()[-1:])[:300]
            raise ExportError(
                f"{wanted}, which pip cannot fetch ({reason})", "a package index that has it", "Check the network."
            )
        yield find_package(Path(folder) / "executorch")


def find_package(folder: Path | None) -> Package:
    """The executorch package in this folder, or else of this environment; see `build_engine` for the errors."""
    if folder is None:
        spec = find_spec("executorch")
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra(
                "no executorch", "it for its libraries", "Add --fetch, or pip install 'physioedge[executorch]'"
            )
        folder = Path(next(iter(spec.submodule_search_locations)))
    found = Package(folder=folder, version=_version_of(folder))
    if tuple(int(part) for part in found.version.split(".")[:2] if part.isdigit()) < OLDEST:
        raise ExportError(
            f"executorch {found.version}",
            f"at least {'.'.join(map(str, OLDEST))}, whose package holds C++ libraries",
            "pip install 'executorch>=1.5'",
        )
    missing = [name for name in LIBRARIES if not (found.libraries / name).is_file()]
    if missing:
        raise ExportError(
            f"executorch {found.version} in {folder} without {', '.join(missing)}",
            "the Linux package with its C++ libraries",
            "Install executorch from its wheel for Linux, or pass the folder of an unpacked one.",
        )
    return found


def _version_of(folder: Path) -> str:
    """From the metadata beside the package, so that an unpacked wheel tells its own."""
    beside = sorted(folder.parent.glob("executorch-*.dist-info"))
    if beside:
        return beside[0].name.removeprefix("executorch-").removesuffix(".dist-info")
    try:
        return distribution("executorch").version
    except PackageNotFoundError:
        return "unknown"


def _compiler(named: str | None) -> str:
    found = shutil.which(named) if named else find_compiler()
    if found is None:
        raise ExportError(
            f"no C++ compiler{f' {named}' if named else ''}",
            "one that knows C++17",
            "On Debian or Ubuntu: apt install g++. Or name one with --compiler.",
        )
    return found


def _compile(compiler: str, package: Package, out: Path, flags: Sequence[str]) -> None:
    headers = package.headers
    command = [
        compiler,
        *_FLAGS,
        f'-DPE_ENGINE_VERSION="executorch {package.version}"',
        f"-I{headers}",
        f"-I{headers / 'executorch' / 'runtime' / 'core' / 'portable_type' / 'c10'}",
        *flags,
        *map(str, SOURCES),
        "-o",
        str(out),
        f"-L{package.libraries}",
        "-Wl,--no-as-needed",  # backends and kernels register themselves; nothing names them
        *(f"-l{name.removeprefix('lib').removesuffix('.so')}" for name in LIBRARIES),
        "-Wl,-rpath,$ORIGIN",
        "-s",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        raise ExportError(
            f"{Path(compiler).name} failing ({' '.join(lines[:2])[:300]})",
            "a C++17 compiler for the package's processor",
            "See its message; for another processor pass its cross compiler and its executorch wheel.",
        )


def _copy_licence(package: Package, target: Path) -> None:
    """The libraries are somebody else's and travel with their licence."""
    for info in package.folder.parent.glob("executorch-*.dist-info"):
        for path in sorted(info.rglob("LICENSE*")):
            shutil.copyfile(path, target)
            return
    target.write_text("ExecuTorch, BSD-3-Clause: https://github.com/pytorch/executorch/blob/main/LICENSE\n")


def _replace(work: Path, target: Path) -> None:
    """Put the finished folder in place of an older one, never a half."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and any(target.iterdir()) and not (target / INFO_FILE).is_file():
            raise ExportError(f"{target}, which holds other things", "an empty or new folder", "Choose another folder.")
        beside = Path(tempfile.mkdtemp(dir=target.parent))
        shutil.copytree(work, beside, dirs_exist_ok=True)
        beside.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        beside.replace(target)
    except OSError as error:
        raise ExportError(
            f"{target}, which cannot be written ({error.strerror or error})",
            "a writable folder",
            "Choose it with --to.",
        ) from error
