"""What is in a bundle, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract, SensorSpec


def summary(bundle: Bundle) -> dict[str, Any]:
    """Plain values for JSON: the whole manifest, and the bundle's digest and signer."""
    manifest: dict[str, Any] = json.loads(bundle.manifest.to_bytes())
    return {"path": str(bundle.path), "digest": bundle.digest, "key_id": bundle.key_id, "manifest": manifest}


def text(bundle: Bundle) -> str:
    """A page to read."""
    m, c = bundle.manifest, bundle.contract
    subjects = m.provenance["training_subjects"]
    least = f" or probability {c.thresholds.min_probability:g}" if c.labels else ", and values out of range"
    lines = [
        f"{m.name} {m.version} ({c.task})",
        f"  digest     {bundle.digest}",
        f"  signed by  {bundle.key_id} (trusted)",
        _gives(c),
        *(line for sensor in c.sensors for line in _sensor(sensor)),
        _trigger(c),
        f"  withheld   below quality {c.thresholds.min_quality:g}{least}",
        f"  slots      {len(c.slots) or 'none'}",
        f"  golden     {m.golden_windows} windows",
        f"  licence    {m.licence}",
        f"  trained on {len(subjects)} subjects: {', '.join(subjects[:8])}{' ...' if len(subjects) > 8 else ''}",
        f"  graphs     (engine, precision, adapters; tolerance of {c.output_name} and embedding)",
    ]
    for graph in m.graphs:
        limits = f"{graph.tolerance_logits:g}, {graph.tolerance_embedding:g}"
        size = m.files[graph.file].bytes
        lines.append(f"    {graph.file:<28} {size:>11,} bytes  {' / '.join(graph.variant)}; {limits}")
    lines.append("  files")
    lines += [f"    {name:<28} {f.bytes:>11,} bytes  {f.sha256}" for name, f in sorted(m.files.items())]
    return "\n".join(lines)


def _gives(contract: Contract) -> str:
    if contract.labels:
        return f"  labels     {', '.join(contract.labels)}"
    ranges = (f"{v.name} ({v.low:g} to {v.high:g} {v.units})" for v in contract.values)
    return f"  values     {', '.join(ranges)}"


def _sensor(s: SensorSpec) -> list[str]:
    return [
        f"  sensor     {s.name}: {s.modality}, {s.fs_hz:g} Hz, {s.units}, channels {', '.join(s.channels)}, "
        f"{s.low:g} to {s.high:g} {s.units}",
        f"             window of {s.window_samples / s.fs_hz:g} s after {s.context_samples / s.fs_hz:g} s of context "
        f"({s.input_samples} samples)",
    ]


def _trigger(contract: Contract) -> str:
    trigger, fs_hz = contract.trigger, contract.sensor.fs_hz
    when = f"each beat of {contract.sensor.name}"
    if trigger.kind == "hop":
        when = f"every {trigger.hop_samples / fs_hz:g} s of {contract.sensor.name}"
    return f"  judged     {when}, {trigger.lookahead_samples / fs_hz:g} s after the judged instant"


def differences(first: Bundle, second: Bundle) -> list[tuple[str, Any, Any]]:
    """Every value that differs, as (dotted name, first, second); None stands for a value that is not there."""
    rows: list[tuple[str, Any, Any]] = []
    _compare("", _comparable(first), _comparable(second), rows)
    return rows


def _comparable(bundle: Bundle) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(bundle.manifest.to_bytes())
    values["graphs"] = {graph["file"]: graph for graph in values["graphs"]}
    values["contract"]["sensors"] = {sensor["name"]: sensor for sensor in values["contract"]["sensors"]}
    values["contract"]["slots"] = {slot["name"]: slot["shape"] for slot in values["contract"]["slots"]}
    return {**values, "key_id": bundle.key_id, "digest": bundle.digest}


def _compare(name: str, a: Any, b: Any, rows: list[tuple[str, Any, Any]]) -> None:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            _compare(f"{name}.{key}" if name else key, a.get(key), b.get(key), rows)
    elif a != b:
        rows.append((name, a, b))
