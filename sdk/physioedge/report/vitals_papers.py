"""Figures of the papers that the methods come from, with ours of the same kind beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from physioedge.results import Row

ZERO = "zero_shot"
HORIZON = "60 s"
"""Of ours that stand beside the paper's."""


@dataclass(frozen=True, kw_only=True)
class Forecasted:
    """A method's row in the paper on forecasting: trained numbers, mean squared errors on eICU."""

    name: str
    numbers: str
    pressure: float
    rate: float


FORECASTED: Mapping[str, Forecasted] = {
    ZERO: Forecasted(name="zero-shot", numbers="0", pressure=25.60, rate=7.37),
    "lora": Forecasted(name="LoRA", numbers="49,000", pressure=19.79, rate=7.22),
    "fourierft": Forecasted(name="FourierFT on Chronos-T5-tiny", numbers="2,400", pressure=19.51, rate=7.06),
}
"""By our arm. Source: Beyond LoRA: exploring efficient fine-tuning techniques for time series foundational models,
arXiv 2409.11302."""
_ESTIMATED: Sequence[tuple[str, str, str, tuple[tuple[str, str, str], ...]]] = (
    ("heart rate from PPG, 4-bit", "PTT-PPG, finger: 8.53 bpm", "7.64 bpm",
     (("heart_rate", "qlora_4bit", "TROIKA, wrist, running, no accelerometer"),)),
    ("heart rate from ECG, 4-bit", "-", "-", (("ecg_rate", "qlora_4bit", "MIT-BIH, chosen for arrhythmias"),)),
    ("age from ECG, 4-bit", "Idefics-9B: 2.77 years", "-",
     (("ecg_age", "qlora_4bit", "MIT-BIH, 20 people, half of them chosen for rare arrhythmias"),)),
    ("age from PPG, 4-bit", "GPT-2: 10.92 years", "-",
     (("ppg_age", "qlora_4bit", "none here: for recordings of your own"),)),
)  # fmt: skip
"""What, theirs by the signal alone, theirs with demographics, and our task, arm and data; ours with facts of the person
is the arm with ``_facts``. Source: DOI 10.1109/ICDMW69685.2025.00059."""


def forecast_table(rows: Sequence[Row]) -> list[str]:
    """Lines of a table of mean squared errors and what each method changes of the zero-shot one's."""
    found = {(row.arm, row.group): row.value for row in rows if row.metric == "mse"}
    numbers = {row.arm: row.value for row in rows if row.metric == "trained_numbers"}
    groups = [group for arm, group in found if arm == ZERO and group.endswith(f" {HORIZON}")]
    head = ["method", "their numbers", "eICU, mean blood pressure", "eICU, heart rate", "our numbers"]
    lines = _head([*head, *(f"ours, {group}" for group in groups)])
    for arm, theirs in FORECASTED.items():
        first = FORECASTED[ZERO]
        cells = [theirs.name, theirs.numbers, _changed(theirs.pressure, first.pressure),
                 _changed(theirs.rate, first.rate), f"{numbers[arm]:,.0f}" if arm in numbers else "-"]  # fmt: skip
        cells += [_changed(found[arm, group], found[ZERO, group]) if (arm, group) in found else "-" for group in groups]
        lines.append(_row(cells))
    return lines


def estimate_table(by_task: Mapping[str, Sequence[Row]]) -> list[str]:
    """Lines of a table of mean absolute errors, by the signal alone and with facts of the person."""
    lines = _head(["what", "theirs", "theirs, with demographics", "ours", "ours, with facts", "our data"])
    for what, theirs, with_facts, ours in _ESTIMATED:
        for task, arm, data in ours:
            mine = {row.arm: row for row in by_task.get(task, ()) if row.metric == "mae" and row.group == "test"}
            cells = [_error(mine.get(one)) for one in (arm, f"{arm}_facts")]
            lines.append(_row([what, theirs, with_facts, *cells, data]))
    return lines


def _error(row: Row | None) -> str:
    if row is None:
        return "-"
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}] {row.unit}"


def _changed(value: float, first: float) -> str:
    change = "" if value == first else f" ({100 * (value / first - 1):+.1f} %)"
    return f"{value:.3g}{change}"


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|" + "---|" * len(cells)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
