"""What every sink does with results."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from physioedge_runtime import Result


class Sink(Protocol):
    """Takes results one by one, in their order. A context manager: leaving it delivers what is still to be delivered.

    A sink never changes a result and never waits for whoever listens, so that a slow reader cannot hold up a stream;
    where it cannot deliver at all, it raises SinkError when it is opened or left.
    """

    def write(self, result: Result) -> None:
        """Take one result."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
