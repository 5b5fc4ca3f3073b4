"""What the live page plays: a recording with all its channels, or a live sensor, under the contract's names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from physioedge.cli import demo_wrist
from physioedge.cli.console import SHIPPED, SHIPPED_BUNDLE, SHIPPED_RECORD
from physioedge.cli.feeding import Said
from physioedge.models.shipped import stress_hour
from physioedge.signals.lanes import Track
from physioedge.sources.files import file_tracks
from physioedge.sources.fitting import FittedSource, factor
from physioedge.sources.opening import is_live, open_live
from physioedge.view.feed import Feed, Live, Replay
from physioedge_runtime.bundle.contract import Contract, SensorSpec
from physioedge_runtime.errors import UnitMismatch


@dataclass(frozen=True, kw_only=True)
class Along:
    """A recording that came along, the bundle that judges it, who signed that, and what it calls channels otherwise."""

    record: Path
    bundle: Path
    trust: Path | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)


def came_along(name: str) -> Along | None:
    """A recording by its name: resampled without asking, and played over and over; None for any other name.

    Raises
    ------
    MissingExtra
        It came with the weights, which are not installed.
    """
    if name == SHIPPED:
        return Along(record=SHIPPED_RECORD, bundle=SHIPPED_BUNDLE)
    if name == "wrist":
        return Along(record=demo_wrist.RECORD, bundle=demo_wrist.BUNDLE, renamed={"BVP": "PPG"})
    return Along(**stress_hour()._asdict()) if name == "stress" else None


@contextmanager
def opened(args: argparse.Namespace, contract: Contract) -> Iterator[tuple[Feed, str]]:
    """The feed, and what it is called. A live sensor is let go of at the end.

    Raises
    ------
    PhysioEdgeError
        It cannot be found or read, or says too little.
    """
    said = Said(fs_hz=args.fs_hz, units=args.units, channels=args.channel, sensors=args.sensor)
    if not is_live(args.record):
        yield _replay(args, contract, said)
        return
    found = open_live(args.record, contract.sensors, said.told)
    fitted = FittedSource(found, contract.sensors, renamed=said.renamed, convert_units=args.convert_units)
    with fitted as source:
        feed = Live(source)
        try:
            yield feed, next(iter(source.sensors.values())).origin
        finally:
            feed.close()


def _replay(args: argparse.Namespace, contract: Contract, said: Said) -> tuple[Replay, str]:
    along = came_along(args.record)
    path = Path(args.record) if along is None else along.record
    tracks = file_tracks(path, [sensor.name for sensor in contract.sensors], said.told)
    renamed = said.renamed if along is None else along.renamed
    fitted = {
        name: _fitted(track, contract.sensor_named(name), renamed, args.convert_units) for name, track in tracks.items()
    }
    title = next(iter(fitted.values()))[0].name
    return Replay(fitted, loop=args.loop or along is not None), f"{title}, over and over" if along else title


def _fitted(track: Track, spec: SensorSpec, renamed: Mapping[str, str], convert_units: bool) -> Track:
    """As `FittedSource`, but no channel is left out: what is not judged is shown."""
    units = track[0].units
    by = factor(units, spec.units) if convert_units else 1.0
    if by is None:
        came = f"{track[0].name}: {units}, to be converted"
        raise UnitMismatch(came, f"a unit of the kind of {spec.units}", "Choose another sensor.")
    return tuple(
        replace(
            piece,
            samples=piece.samples if by == 1.0 else (piece.samples * np.float64(by)).astype(np.float32),
            units=spec.units if convert_units else units,
            channels=tuple(renamed.get(name, name) for name in piece.channels),
        )
        for piece in track
    )
