"""What careful abstention costs where nothing was done to the signal: windows of real recordings that are withheld."""

from __future__ import annotations

from collections import Counter

from physioedge.faults.recordings import records_of, sets_here, worn_of
from physioedge.faults.row import Setting
from physioedge.faults.worn import ECG, WRIST, Watching, Worn, arrived, fed, shipped
from physioedge_runtime.result import Result

_NO_WINDOW = {"warming_up", "incomplete"}


def withheld_on_clean(setting: Setting) -> tuple[dict[str, float], list[str]]:
    """Figures, and the reasons in words, of the shipped recordings and of the public ones here.

    The share of windows withheld for the signal's quality among those that are complete. The model is not asked: what
    it is unsure of comes on top.
    """
    figures: dict[str, float] = {}
    notes: list[str] = []
    for name in (ECG, WRIST):
        found = {"shipped": [shipped(name)]}
        counts = {"shipped": _counted(worn for worn in found["shipped"])}
        for dataset in sets_here(name):
            records = records_of(dataset)
            records = records[: setting.tries(len(records))]
            counts[dataset] = _counted(worn_of(name, dataset, record) for record in records)
        for dataset, reasons in counts.items():
            whole, withheld = reasons.pop("windows", 0), reasons.pop("withheld", 0)
            task = "arrhythmia" if name == ECG else "heart_rate"
            figures[f"clean_{task}_{dataset}_withheld_share"] = withheld / max(1, whole)
            why = ", ".join(f"{flag} {n}" for flag, n in reasons.most_common(6)) or "none"
            notes.append(f"nothing done, {task} on {dataset}: {withheld} of {whole} windows withheld ({why})")
    return figures, notes


def _counted(all_of: object) -> Counter[str]:
    counts: Counter[str] = Counter()
    for worn in all_of:  # type: ignore[attr-defined]
        for result in _results(worn):
            if _NO_WINDOW & set(result.flags):
                continue
            counts["windows"] += 1
            if not result.judged:
                counts["withheld"] += 1
                counts.update(flag for flag in result.flags if flag != "low_quality")
    return counts


def _results(worn: Worn) -> list[Result]:
    given = {sensor: worn.timed(sensor, [0.5]) for sensor in worn.samples}
    return fed(worn.stream(Watching(worn.contract)), arrived(given, given))
