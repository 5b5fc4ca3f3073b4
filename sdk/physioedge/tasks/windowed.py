"""What every windowed task hands to models and opponents alike: windows by sensor, targets, people, folds."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ALL
from physioedge.tasks.names import GROUP, plugged
from physioedge_runtime.errors import DatasetError, ShapeError

CANONICAL_HZ: Mapping[str, float] = {modality.kind: modality.fs_hz for modality in ALL}
"""The one rate of each kind of sensor that graphs take; ``rr`` is the interval series, held between beats."""

CONTEXT_S = 2.0
"""Past before every window unless a frontend needs more: the same for every arm, so that all judge the same windows."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is predicted and how it is scored.

    Attributes
    ----------
    name : str
        As in the results files: ``af``, ``heart_rate``, ``stress``, ...
    dataset : str
        Set it is defined on.
    labels : tuple of str
        Classes in order; empty for a value.
    units : str
        ``class``, or the unit of the value.
    sensors : tuple of str
        Kinds of sensor it uses, the leading one first.
    window_s, hop_s : float
        Length of what is judged once, and the step from one to the next.
    metric : str
        The one that decides: ``macro_f1``, ``balanced_accuracy``, ``mae``.
    protocol : str
        One sentence: who is fitted on, who is judged, what is left out.
    """

    name: str
    dataset: str
    labels: tuple[str, ...]
    units: str
    sensors: tuple[str, ...]
    window_s: float
    hop_s: float
    metric: str
    protocol: str


@dataclass(frozen=True, kw_only=True)
class TaskWindows:
    """All windows of a task, in the order of subject, record and time.

    Attributes
    ----------
    task : Task
    samples : mapping of sensor to float32 (n, channel, sample)
        At `CANONICAL_HZ`, in the sensor's unit: `context_s` of real past, then the window.
    context_s : float
        Past that comes before each window; filters need it.
    target : int64 (n,) or float32 (n, k)
        Index into ``task.labels``, or the value.
    subject, record : str (n,)
        Who and where; windows of one record may share samples, windows of one person never straddle a split.
    start_s : float64 (n,)
        Of the window without its context, in the record's clock.
    calibration : bool (n,)
        Belongs to the part of a judged person that is never scored.
    fold : int64 (n,)
        Fold in which the person is judged; -1 for people who are only fitted on.

    Raises
    ------
    ShapeError
        The parts do not fit together.
    """

    task: Task
    samples: Mapping[str, NDArray[np.float32]]
    context_s: float
    target: NDArray[np.int64] | NDArray[np.float32]
    subject: NDArray[np.str_]
    record: NDArray[np.str_]
    start_s: NDArray[np.float64]
    calibration: NDArray[np.bool_]
    fold: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.target)
        columns = {name: getattr(self, name) for name in ("subject", "record", "start_s", "calibration", "fold")}
        for name, column in {**columns, **self.samples}.items():
            if len(column) != n:
                raise ShapeError(f"{len(column)} entries of {name}", f"{n}, one a target", "Give one for each window.")
        for sensor, array in self.samples.items():
            wanted = round((self.context_s + self.task.window_s) * CANONICAL_HZ[sensor])
            if array.ndim != 3 or array.dtype != np.float32 or array.shape[2] != wanted:
                raise ShapeError(
                    f"{sensor} windows {array.dtype}{array.shape}", f"float32 (n, channel, {wanted})", "Cut them so."
                )
        for person in np.unique(self.subject):
            if len(np.unique(self.fold[self.subject == person])) > 1:
                raise ShapeError(f"{person} in several folds", "one fold a person", "Use the stored split.")

    def judged(self, fold: int) -> NDArray[np.bool_]:
        """Windows that are scored in a fold."""
        return np.asarray((self.fold == fold) & ~self.calibration, np.bool_)

    def fitted(self, fold: int) -> NDArray[np.bool_]:
        """Windows that may be fitted on when a fold is judged: everybody else's."""
        return np.asarray(self.fold != fold, np.bool_)


def task_module(name: str) -> Any:
    """The module of a task: ``TASK``, ``windows``; optional ``VERSION``, ``COLUMNS``, ``BY_RECORD``, ``smoothed``.

    Where the source gives recordings rather than windows, ``recordings(record, root)`` too; where values are learned as
    deviations from the person's own, ``relative(windows)`` and ``calibrated(values, windows)``. Tasks of other packages
    come by an entry point of `GROUP`; what they may say beside that is in docs/plugins.md.

    Raises
    ------
    DatasetError
        No task of that name.
    """
    if name.isidentifier() and find_spec(f"physioedge.tasks.{name}") is not None:
        return importlib.import_module(f"physioedge.tasks.{name}")
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point.load()
    raise DatasetError(f"task {name!r}", f"a module of physioedge.tasks or an entry point of {GROUP}", "Name one.")


def of_plugin(name: str, attribute: str, otherwise: Any = None) -> Any:
    """What a task of another package says of itself, by the name of an attribute; `otherwise` where it says nothing.

    Also for the project's own tasks, whose facts are in tables.
    """
    return getattr(task_module(name), attribute, otherwise) if name in plugged() else otherwise


def chosen(windows: TaskWindows, kept: NDArray[np.bool_], without: tuple[str, ...] = ()) -> TaskWindows:
    """Some of the windows, without some of the sensors."""
    columns = ("target", "subject", "record", "start_s", "calibration", "fold")
    return replace(
        windows,
        samples={sensor: array[kept] for sensor, array in windows.samples.items() if sensor not in without},
        **{name: getattr(windows, name)[kept] for name in columns},
    )


def layout_of(
    task: Task, channels: Mapping[str, int], config: BackboneConfig, tokens: Mapping[str, int] | None = None,
    *, spread: bool = False,
) -> Layout:  # fmt: skip
    """What a graph of a task takes: every sensor's whole window, or the last so many tokens of it.

    Parameters
    ----------
    task : Task
    channels : mapping of sensor to int
        Rows of each sensor, such as those of `TaskWindows.samples`.
    config : BackboneConfig
    tokens : mapping of sensor to int, optional
        Of sensors whose newest part alone is looked at.
    spread : bool
        The embedding holds deviations over the tokens beside means.

    Raises
    ------
    ShapeError
        The window is no whole number of a sensor's tokens.
    """
    sensors = []
    for kind in channels:
        modality = config.modality(kind)
        n_tokens = task.window_s / modality.patch_s
        if abs(n_tokens - round(n_tokens)) > 1e-9:
            raise ShapeError(
                f"a window of {task.window_s:g} s for {kind} tokens of {modality.patch_s:g} s",
                "a whole number of them",
                "Choose another window.",
            )
        kept = (tokens or {}).get(kind, round(n_tokens))
        rows = channels[kind]
        sensors.append(SensorLayout(sensor=kind, kind=kind, channels=rows, n_tokens=kept, spread=spread))
    return Layout(sensors=tuple(sensors))


def inputs_of(windows: TaskWindows, layout: Layout, config: BackboneConfig) -> list[NDArray[np.float32]]:
    """What a graph of `layout` takes of windows: the newest samples of each sensor, (n, channel, input_samples) each.

    Of a sensor with more channels than the layout has, the first are taken.

    Raises
    ------
    ShapeError
        The windows have less past than the layout's frontends need, or fewer channels.
    """
    out = []
    for one, (_, length) in zip(layout.sensors, layout.input_shapes(config), strict=True):
        array = windows.samples[one.sensor][:, : one.channels]
        if array.shape[1] < one.channels:
            raise ShapeError(f"{array.shape[1]} channels of {one.sensor}", f"{one.channels}", "Use all channels.")
        if array.shape[2] < length:
            needed_s = length / CANONICAL_HZ[one.kind] - windows.task.window_s
            raise ShapeError(
                f"windows of {one.sensor} with {windows.context_s:g} s of past",
                f"{needed_s:g} s",
                "Cut them with more.",
            )
        out.append(array[:, :, -length:])
    return out


def context_needed_s(layout: Layout, config: BackboneConfig) -> float:
    """Past that the frontends of a layout need before their windows."""
    return max(config.modality(one.kind).context_samples / CANONICAL_HZ[one.kind] for one in layout.sensors)
