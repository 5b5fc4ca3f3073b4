"""Three results of a tiny contract: one judged, one withheld, one judged."""

from __future__ import annotations

from physioedge_runtime import Result


def result(at_s: float, label: str | None, probabilities: tuple[float, ...], flags: tuple[str, ...] = ()) -> Result:
    return Result(
        t_start_s=at_s - 0.5, t_end_s=at_s + 0.5, t_anchor_s=at_s, label=label,
        probability=max(probabilities, default=0.0),
        probabilities=probabilities, quality=0.9, flags=flags, adapter="global", t_emitted_s=at_s + 0.6,
    )  # fmt: skip


def results() -> list[Result]:
    return [
        result(1.0, "N", (0.75, 0.125, 0.125)),
        result(2.0, None, (), ("noisy",)),
        result(3.0, "V", (0.05, 0.05, 0.9)),
    ]
