"""Results as text: JSON lines, CSV or a table, into a file or a stream."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from physioedge.sinks.rows import writer
from physioedge_runtime import Result
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import SinkError


class TextSink:
    """Rows as `physioedge.sinks.rows` has them, each written at once.

    Parameters
    ----------
    kind : str
        One of `physioedge.sinks.rows.FORMATS`.
    contract : Contract
    target : Path or text stream
        A file is made anew; a stream stays open.

    Raises
    ------
    SinkError
        The file cannot be written.
    """

    def __init__(self, kind: str, contract: Contract, target: Path | IO[str]) -> None:
        self._kind, self._contract, self._target = kind, contract, target
        self._open = ExitStack()

    def __enter__(self) -> Self:
        out = self._target
        if isinstance(out, Path):
            try:
                out = self._open.enter_context(out.open("w", encoding="utf-8", newline="\n"))
            except OSError as error:
                raise SinkError(f"{out}: {error.strerror}", "a file to write", "Name another one.") from error
        self._write = writer(self._kind, self._contract, out)
        return self

    def write(self, result: Result) -> None:
        """Write one row."""
        self._write(result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
