"""Which tasks there are, by name: the project's own and those that other packages bring. Imports no task."""

from __future__ import annotations

from importlib.metadata import entry_points

GROUP = "physioedge.tasks"
"""Entry points of other packages: name is the task's, value a module or object as `windowed.task_module` says."""
ARRHYTHMIA = "arrhythmia"
WINDOWED = ("af", "heart_rate", "stress", "sleep_rr", "ppg_rhythm", "fog", "blood_pressure", "sleep")
"""The project's own tasks on windows."""


def plugged() -> tuple[str, ...]:
    """Tasks of other packages; none that has the name of an own one, which goes first."""
    found = dict.fromkeys(point.name for point in entry_points(group=GROUP))
    return tuple(name for name in found if name not in (ARRHYTHMIA, *WINDOWED))
