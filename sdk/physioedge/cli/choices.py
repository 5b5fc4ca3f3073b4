"""Names that an option takes: the project's own, and those that other packages bring by entry points.

Installed packages are looked through only where a name is none of ours, or all are listed: that takes tens of
milliseconds, which a command that starts on a device need not pay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points

from physioedge_runtime.bundle import manifest
from physioedge_runtime.engine.plugged import GROUP as ENGINE_GROUP


class Known:
    """Choices for ``add_argument``, which wants a `metavar` beside them: without one it lists them at once.

    Parameters
    ----------
    own : sequence of str
    group : str
        Entry points of other packages.
    """

    def __init__(self, own: Sequence[str], group: str) -> None:
        self._own, self._group = tuple(own), group

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._plugged()

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._plugged()

    def _plugged(self) -> tuple[str, ...]:
        found = dict.fromkeys(point.name for point in entry_points(group=self._group))
        return tuple(name for name in found if name not in self._own)


ENGINES = Known((*manifest.ENGINES, "auto"), ENGINE_GROUP)
"""What ``--engine`` takes."""
