"""What is in a bundle, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

from physioedge_runtime.bundle.container import Bundle


def summary(bundle: Bundle) -> dict[str, Any]:
    """Plain values for JSON: the whole manifest, and the bundle's digest and signer."""
    manifest: dict[str, Any] = json.loads(bundle.manifest.to_bytes())
    return {"path": str(bundle.path), "digest": bundle.digest, "key_id": bundle.key_id, "manifest": manifest}


def text(bundle: Bundle) -> str:
    """A page to read."""
    m, c = bundle.manifest, bundle.contract
    s, w, fs = c.sensor, c.window, c.sensor.fs_hz
    subjects = m.provenance["training_subjects"]
    trigger = "each beat" if w.trigger == "beat" else f"every {w.hop_samples / fs:g} s"
    lines = [
        f"{m.name} {m.version} ({c.task})",
        f"  digest     {bundle.digest}",
        f"  signed by  {bundle.key_id} (trusted)",
        f"  labels     {', '.join(c.labels)}",
        f"  sensor     {s.name}: {s.modality}, {fs:g} Hz, {s.units}, channels {', '.join(s.channels)}, "
        f"{s.low:g} to {s.high:g} {s.units}",
        f"  window     {w.window_samples / fs:g} s at {trigger}, after {w.context_samples / fs:g} s of context, "
        f"looks {w.lookahead_samples / fs:g} s ahead ({w.input_samples} samples)",
        f"  withheld   below quality {c.thresholds.min_quality:g} or probability {c.thresholds.min_probability:g}",
        f"  slots      {len(c.slots) or 'none'}",
        f"  golden     {m.golden_windows} windows",
        f"  licence    {m.licence}",
        f"  trained on {len(subjects)} subjects: {', '.join(subjects[:8])}{' ...' if len(subjects) > 8 else ''}",
        "  graphs     (engine, precision, adapters; tolerance of logits and embedding)",
    ]
    for graph in m.graphs:
        limits = f"{graph.tolerance_logits:g}, {graph.tolerance_embedding:g}"
        size = m.files[graph.file].bytes
        lines.append(f"    {graph.file:<28} {size:>11,} bytes  {' / '.join(graph.variant)}; {limits}")
    lines.append("  files")
    lines += [f"    {name:<28} {f.bytes:>11,} bytes  {f.sha256}" for name, f in sorted(m.files.items())]
    return "\n".join(lines)


def differences(first: Bundle, second: Bundle) -> list[tuple[str, Any, Any]]:
    """Every value that differs, as (dotted name, first, second); None stands for a value that is not there."""
    rows: list[tuple[str, Any, Any]] = []
    _compare("", _comparable(first), _comparable(second), rows)
    return rows


def _comparable(bundle: Bundle) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(bundle.manifest.to_bytes())
    values["graphs"] = {graph["file"]: graph for graph in values["graphs"]}
    values["contract"]["slots"] = {slot["name"]: slot["shape"] for slot in values["contract"]["slots"]}
    return {**values, "key_id": bundle.key_id, "digest": bundle.digest}


def _compare(name: str, a: Any, b: Any, rows: list[tuple[str, Any, Any]]) -> None:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            _compare(f"{name}.{key}" if name else key, a.get(key), b.get(key), rows)
    elif a != b:
        rows.append((name, a, b))
