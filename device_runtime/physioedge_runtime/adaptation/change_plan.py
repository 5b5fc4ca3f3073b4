"""How much an adapter on trial may change of the results: a bundle's change plan, and its checked file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NoReturn

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.plain import check_kinds, load_object
from physioedge_runtime.errors import FormatError

FILE = "change-plan.json"
"""In a bundle that brings a plan of its own."""
SCHEMA = 1
MAX_WINDOWS = 10_000
_RANGES = {
    "min_windows": (2, MAX_WINDOWS),
    "max_windows": (2, MAX_WINDOWS),
    "max_label_shift": (0, 1),
    "max_withheld_increase": (0, 1),
    "min_margin_change": (-1, 1),
    "max_shift": (0, 1_000_000),
    "max_seconds": (1, 1_000_000_000),
}
_KINDS: dict[str, type] = {name: int if "windows" in name else float for name in _RANGES}


@dataclass(frozen=True, kw_only=True)
class ChangePlan:
    """What an adapter may change of the results without being reverted. What the defaults do: ``results/guard.md``.

    Attributes
    ----------
    min_windows : int
        Judged windows needed before a trial and in it, at least 2.
    max_windows : int
        Results that are kept of each side, the latest; a trial that has had as many and cannot be judged is reverted.
    max_label_shift : float
        Largest total-variation distance between the shares of labels before and during, 0 to 1; beside the model in
        use, the largest share of windows that are called otherwise.
    max_withheld_increase : float
        By how much the share of withheld results may grow, 0 to 1.
    min_margin_change : float
        Least change of the mean of (most probable minus second most probable): -0.05 lets it fall by 0.05.
    max_shift : float
        Of a model that gives values: how far mean and deviation of each may move, in deviations before the trial.
    max_seconds : float
        Time of signal after which a trial that cannot be judged is reverted.

    Raises
    ------
    FormatError
        A number is out of its range.
    """

    min_windows: int = 100
    max_windows: int = 1000
    max_label_shift: float = 0.2
    max_withheld_increase: float = 0.1
    min_margin_change: float = -0.05
    max_shift: float = 0.5
    max_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also NaN
                _malformed(f"{name} {value!r:.40}", f"{low} to {high}")
        if self.max_windows < self.min_windows:
            _malformed(f"max_windows {self.max_windows}", f"at least min_windows, {self.min_windows}")

    def to_bytes(self) -> bytes:
        """The file `FILE`: JSON in ASCII with sorted keys."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> ChangePlan:
        """Checked inverse of `to_bytes`.

        Raises
        ------
        FormatError
            A key is missing, unknown, of another kind or out of range, or the schema is another.
        """
        values = load_object(data, _malformed)
        check_kinds(FILE, values, {"schema": int, **_KINDS}, _malformed)
        if values.pop("schema") != SCHEMA:
            _malformed("another schema", f"schema {SCHEMA}")
        return cls(**values)

    @classmethod
    def of(cls, bundle: Bundle) -> ChangePlan:
        """A bundle's own plan, or the default where it holds none; FormatError as `from_bytes`."""
        return cls.from_bytes(bundle.read(FILE)) if FILE in bundle.manifest.files else cls()


def _malformed(came: str, expected: str) -> NoReturn:
    raise FormatError(f"{FILE}: {came}", expected, "Correct the plan, and export the bundle again.")
