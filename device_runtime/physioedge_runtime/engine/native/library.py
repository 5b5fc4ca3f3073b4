"""Python's view of ``physioedge_engine.h``: finding the built library, loading it, calling it.

The library is built once, by ``physioedge engines build``, on any machine of the same processor family that has the
executorch package; what comes out is one folder that needs neither that package nor torch.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import EngineError

FOLDER_VARIABLE = "PHYSIOEDGE_ENGINE_DIR"
LIBRARY = "libphysioedge_engine.so"
ABI_VERSION = 1
ALIGNMENT = 16
FLOAT32 = 6
_MAX_RANK = 8
_BUILD = "Build it: physioedge engines build --fetch (needs a C++ compiler), or use engine='onnxruntime'."


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("sizes", ctypes.c_int32 * _MAX_RANK),
        ("bytes", ctypes.c_size_t),
        ("copied", ctypes.c_int32),
    )


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a method: ExecuTorch's type number, shape, and whether each run copies it."""

    dtype: int
    shape: tuple[int, ...]
    copied: bool


def engine_folder() -> Path:
    """Where the built engine belongs: ``$PHYSIOEDGE_ENGINE_DIR``, or else a folder of this Python environment."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path(sys.prefix) / "share" / "physioedge" / "engines" / platform.machine()


def is_built() -> bool:
    """Whether a built engine lies where it belongs; it may still fail to load."""
    return (engine_folder() / LIBRARY).is_file()


class Library:
    """The loaded library.

    Parameters
    ----------
    path : Path
        The shared library; those it needs lie beside it.

    Raises
    ------
    EngineError
        It is not there, does not load here, or is of another version of the interface.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise EngineError(f"no ExecuTorch engine at {path}", "a built one", _BUILD)
        try:
            self._calls: Any = ctypes.CDLL(str(path))
        except OSError as error:
            raise EngineError(
                f"an ExecuTorch engine that does not load ({error})", f"one built for {platform.machine()}", _BUILD
            ) from error
        found = int(self._calls.pe_abi_version())
        if found != ABI_VERSION:
            raise EngineError(f"an ExecuTorch engine of interface {found}", f"interface {ABI_VERSION}", _BUILD)
        _declare(self._calls)
        self.version = str(self._calls.pe_engine_version().decode())
        self._threads = 0

    def set_threads(self, threads: int) -> None:
        """Fix the number of threads, which is one for the whole process.

        Raises
        ------
        EngineError
            Another number was fixed before: it cannot change under methods that run.
        """
        if self._threads not in (0, threads):
            raise EngineError(
                f"{threads} threads for ExecuTorch",
                f"{self._threads}, as chosen before in this process",
                "Use one number for all engines of a process.",
            )
        if self._calls.pe_set_threads(threads) != threads:
            raise self.failed(f"{threads} threads")
        self._threads = threads

    def open(self, program: bytes) -> Program:
        """A program from its verified bytes; EngineError where they are none."""
        return Program(self._calls, self, _aligned(program))

    def failed(self, what: str) -> EngineError:
        """The error that the last call left."""
        reason = " ".join(self._calls.pe_last_error().decode(errors="replace").split())
        return EngineError(
            f"{what}, refused by {self.version} ({reason})",
            "a program exported for it",
            "Export the program with the same version of executorch, or build the engine again.",
        )


class Program:
    """An open program: text of its constant methods, and methods to run. Closed with its last reference."""

    def __init__(self, calls: Any, library: Library, data: NDArray[np.uint8]) -> None:
        self._calls, self._library, self._data = calls, library, data
        self._handle = calls.pe_program_open(data.ctypes.data, data.nbytes)
        if not self._handle:
            raise library.failed(f"a program of {data.nbytes} bytes")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._calls.pe_program_close(self._handle)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of all methods."""
        n = self._calls.pe_program_methods(self._handle)
        return tuple(self._calls.pe_program_method_name(self._handle, i).decode() for i in range(n))

    def method(self, name: str) -> Method:
        """A method ready to run; EngineError where there is none of this name or it cannot run here."""
        return Method(self._calls, self._library, self, name)

    def text(self, name: str) -> str:
        """What a constant method returns; EngineError where it returns no text."""
        return self.method(name).text()

    @property
    def handle(self) -> Any:
        """For `Method`."""
        return self._handle


class Method:
    """A method with its buffers bound. Holds on to its program and its buffers."""

    def __init__(self, calls: Any, library: Library, program: Program, name: str) -> None:
        self._calls, self._library, self._program, self.name = calls, library, program, name
        self._buffers: dict[tuple[str, int], NDArray[np.float32]] = {}
        self._handle = calls.pe_method_open(program.handle, name.encode())
        if not self._handle:
            raise library.failed(f"method {name}")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._calls.pe_method_close(self._handle)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs in order."""
        return self._described(self._calls.pe_method_inputs, self._calls.pe_method_input)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Outputs in order."""
        return self._described(self._calls.pe_method_outputs, self._calls.pe_method_output)

    def bind_input(self, index: int, buffer: NDArray[np.float32]) -> None:
        """Read this input from `buffer` in every run; EngineError where its size does not fit."""
        self._bind("input", self._calls.pe_method_bind_input, index, buffer)

    def bind_output(self, index: int, buffer: NDArray[np.float32]) -> None:
        """Write this output into `buffer` in every run; EngineError where its size does not fit."""
        self._bind("output", self._calls.pe_method_bind_output, index, buffer)

    def run(self) -> None:
        """Run on the bound buffers; EngineError with ExecuTorch's own words where it fails."""
        if self._calls.pe_method_run(self._handle):
            raise self._library.failed(f"method {self.name}")

    def text(self) -> str:
        """Text that a method without inputs returns; EngineError where it returns none."""
        at, n = ctypes.c_void_p(), ctypes.c_size_t()
        if self._calls.pe_method_text(self._handle, ctypes.byref(at), ctypes.byref(n)):
            raise self._library.failed(f"method {self.name}")
        return ctypes.string_at(at.value or 0, n.value).decode()

    def _bind(self, kind: str, call: Any, index: int, buffer: NDArray[np.float32]) -> None:
        if not buffer.flags.c_contiguous:
            raise EngineError(f"a scattered buffer for {kind} {index}", "a contiguous one", "Copy it first.")
        if call(self._handle, index, buffer.ctypes.data, buffer.nbytes):
            raise self._library.failed(f"method {self.name}")
        self._buffers[kind, index] = buffer

    def _described(self, count: Any, describe: Any) -> tuple[TensorInfo, ...]:
        found = []
        for index in range(count(self._handle)):
            tensor = _Tensor()
            if describe(self._handle, index, ctypes.byref(tensor)):
                raise self._library.failed(f"method {self.name}")
            found.append(TensorInfo(tensor.dtype, tuple(tensor.sizes[: tensor.rank]), bool(tensor.copied)))
        return tuple(found)


def load_library(folder: Path | None = None) -> Library:
    """The library of a folder, loaded once in each process; by default that of `engine_folder`."""
    return _loaded(((folder or engine_folder()) / LIBRARY).resolve())


@cache
def _loaded(path: Path) -> Library:
    return Library(path)


def _aligned(data: bytes) -> NDArray[np.uint8]:
    """The bytes where ExecuTorch can use them in place: aligned, and copied only if they are not."""
    found = np.frombuffer(data, np.uint8)
    if found.ctypes.data % ALIGNMENT == 0:
        return found
    room = np.empty(len(data) + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    room[start : start + len(data)] = found
    return room[start : start + len(data)]


def _declare(calls: Any) -> None:
    """C types of every function: without them ctypes cuts pointers to 32 bits."""
    pointer, size, status, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32, ctypes.c_char_p
    for name, result, arguments in (
        ("pe_engine_version", text, ()),
        ("pe_last_error", text, ()),
        ("pe_set_threads", status, (ctypes.c_uint32,)),
        ("pe_program_open", pointer, (pointer, size)),
        ("pe_program_close", None, (pointer,)),
        ("pe_program_methods", size, (pointer,)),
        ("pe_program_method_name", text, (pointer, size)),
        ("pe_method_open", pointer, (pointer, text)),
        ("pe_method_close", None, (pointer,)),
        ("pe_method_inputs", size, (pointer,)),
        ("pe_method_outputs", size, (pointer,)),
        ("pe_method_input", status, (pointer, size, pointer)),
        ("pe_method_output", status, (pointer, size, pointer)),
        ("pe_method_bind_input", status, (pointer, size, pointer, size)),
        ("pe_method_bind_output", status, (pointer, size, pointer, size)),
        ("pe_method_run", status, (pointer,)),
        ("pe_method_text", status, (pointer, pointer, pointer)),
    ):
        call = getattr(calls, name)
        call.restype, call.argtypes = result, arguments
