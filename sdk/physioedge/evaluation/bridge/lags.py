"""The lag between every direction's two sensors, kept beside the fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from physioedge.bridge.directions import direction_of
from physioedge.bridge.pairs import PairStore, load_store
from physioedge.bridge.training import lag_between
from physioedge.evaluation.bridge.run import Finished

LAG = "lag"


def find_lags(work: Path, names: Sequence[str], tell: Callable[[str], None]) -> None:
    """Measure what is not known yet; both ways between two sensors are one measurement with the sign turned."""
    done = Finished(work)
    known: dict[tuple[str, str, str], dict[str, float]] = {}
    for name in names:
        direction = direction_of(name)
        pair = (direction.store, direction.old.sensor, direction.new.sensor)
        if (key := f"{name}/{LAG}") not in done.records:
            if pair not in known:
                store = load_store(work / f"{direction.store}.npz")
                found = lag_between(_with_both(store, pair[1:]), direction)
                values = {"lag_s": found.lag_s, "correlation": round(found.correlation, 4),
                          "by_chance": found.by_chance, "segments": found.segments}  # fmt: skip
                known[pair] = values
                known[pair[0], pair[2], pair[1]] = {**values, "lag_s": -found.lag_s}
            done.add({"key": key, **known[pair]}, {})
        tell(f"{key}: {done.records[key]['lag_s']:+.2f} s, correlation {done.records[key]['correlation']:.3f}")


def _with_both(store: PairStore, sensors: tuple[str, ...]) -> PairStore:
    return PairStore(name=store.name, strips=tuple(s for s in store.strips if set(sensors) <= set(s.signals)))
