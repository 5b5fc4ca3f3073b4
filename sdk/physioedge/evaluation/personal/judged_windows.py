"""Who is judged of a windowed task: the people of its own table, in the folds of it; the others for choices."""

from __future__ import annotations

from pathlib import Path

from physioedge.adapters.sets.people import People
from physioedge.adapters.sets.windowed import STRETCHES, WindowPeople
from physioedge.evaluation.personal.judged import subject_of
from physioedge.evaluation.personal.subject import Subject


class JudgedWindows:
    """A windowed task: everybody of the stored folds is judged under an adapter and by generators of the other folds.

    People whom the backbone was pre-trained on are held out in the same folds and make a group of their own; some sets
    have none. Calibration is the first `Stretch.calibration_s` of a person, and windows that touch it are left out.

    Parameters
    ----------
    task : str
    backbone : Path
    data : Path, optional
    """

    variants: tuple[str, ...] = ("as worn",)
    groups: tuple[str, str] = ("others, folds", "judged, folds")

    def __init__(self, task: str, backbone: Path, data: Path | None) -> None:
        self.windows = WindowPeople(task, backbone, data)

    @property
    def people(self) -> People:
        """Everybody."""
        return self.windows

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes."""
        return self.windows.labels

    @property
    def tests(self) -> tuple[str, ...]:
        """Those of the stored folds."""
        return self.windows.judged

    @property
    def protocol(self) -> str:
        """In a sentence, for the table."""
        stretch = STRETCHES[self.windows.task].calibration_s
        return (
            f"Calibration is everybody's first {stretch:g} s of windows; a window that touches it is neither fitted on "
            "nor scored. Adapters and generators of a fold have seen nobody of it; nothing was chosen on this task."
        )

    def subject(self, name: str, variant: str) -> Subject:
        """One person, as recorded."""
        worn = self.windows.worn(name, 0, seed=0)
        calibration_s = STRETCHES[self.windows.task].calibration_s
        return subject_of(name, worn, self.windows.before_s, calibration_s=calibration_s)
