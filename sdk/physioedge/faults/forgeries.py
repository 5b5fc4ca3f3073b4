"""R4: adapters that are genuine in everything but one thing; and bundles likewise."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np

from physioedge.faults.forgery_kinds import KINDS, LAST, Attempt, World, entries_of, stolen_name
from physioedge.faults.made import NOW_S, SHIPPED_BUNDLE, Arrays, Maker, canonical, target
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.unreliable_disk import UnreliableDisk
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import make_keys, read_private_key, revoke, sign
from physioedge_runtime.errors import PhysioEdgeError

ROW = Row(
    id="R4",
    what="forged, replayed, rolled back, expired, fast-forwarded, mixed adapters; of another device, task, backbone, "
    "bundle; by a revoked key; forged and mixed bundles",
    target="all refused, each with its own code, and nothing changed by them",
)
TRIES = 100
"""Of each kind of adapter."""


def trial(setting: Setting) -> Outcome:
    """Try each kind on a store whose adapter serves, then forged bundles."""
    world, rng = _world(setting.work), setting.rng()
    found: dict[str, Counter[str]] = {}
    losses: list[str] = []
    for name, kind in KINDS.items():
        codes = found.setdefault(name, Counter())
        for number in range(setting.tries(TRIES)):
            counter = LAST + 1 + int(rng.integers(1000))
            code, fault = _tried(world, kind.make(world, counter, rng))
            codes[code] += 1
            if fault or code != kind.code:
                losses.append(f"{name}, try {number} of seed {setting.seed}: {fault or f'{code}, not {kind.code}'}")
    for name, (code, wanted) in _bundles(world, setting.work, rng).items():
        found[f"bundle, {name}"] = Counter([code])
        if code != wanted:
            losses.append(f"bundle, {name}: {code}, not {wanted}")
    shared = _shared_codes()
    notes = (
        *(f"{name}: {', '.join(codes)}" for name, codes in found.items()),
        "Kinds with one code mean the same thing: " + "; ".join(f"{code}: {says}" for code, says in shared.items()),
        "Not refused, and not meant to be: an older bundle that is rightly signed, since bundles have no counter; an "
        "old copy of the whole folder of a store, put back by somebody who can write there.",
        *losses[:5],
    )
    tried = sum(codes.total() for codes in found.values())
    figures = {"kinds": float(len(found)), "codes": float(len(shared))}
    return Outcome(tried=tried, lost=len(losses), holds=not losses and _one_meaning(), figures=figures, notes=notes)


def _tried(world: World, attempt: Attempt) -> tuple[str, str]:
    """Code of the refusal, and what should not have happened."""
    files, clock_s = world.forgotten if attempt.forgotten else world.files, attempt.clock_s
    disk = UnreliableDisk.holding(files)
    with AdapterStore.open(disk, target=world.maker.target, trust=world.trusted, clock=lambda: clock_s) as store:
        try:
            store.stage(attempt.data)
        except PhysioEdgeError as error:
            code, fault = error.code, ""
        except Exception as error:  # noqa: BLE001 - what is no error of ours is a loss
            code, fault = type(error).__name__, f"{type(error).__name__}: {error}"
        else:
            code, fault = "accepted", "it was accepted"
        if disk.files != files or store.phase:
            fault = fault or "the store changed"
        if not _serves(store, {} if attempt.forgotten else world.maker.arrays(LAST)):
            fault = fault or "another adapter serves"
    return code, fault


def _serves(store: AdapterStore, wanted: Arrays) -> bool:
    """Whether these very arrays are in use; none for the global model."""
    found = {} if store.serving is None else store.serving.arrays
    return set(found) == set(wanted) and all(found[name].tobytes() == a.tobytes() for name, a in wanted.items())


def _world(work: Path) -> World:
    """Two keys, of which one was revoked after it had signed, and a store in which an adapter serves."""
    trusted = work / "trusted"
    trusted.mkdir()
    makers = []
    for name in ("new", "old"):
        make_keys(work / name)
        shutil.copy(work / name / "public.pem", trusted / f"{name}.pem")
        makers.append(Maker(target(), key=read_private_key(work / name / "private.pem")))
    revoke(trusted / "old.pem")
    disk = UnreliableDisk()
    with AdapterStore.open(disk, target=target(), trust=trusted, clock=lambda: float(NOW_S)) as store:
        store.stage(makers[0].adapter(LAST))
        store.start_trial()
        store.confirm()
        files = disk.files
        store.forget()
    maker, by_revoked = makers
    return World(maker=maker, by_revoked=by_revoked, trusted=trusted, files=files, forgotten=disk.files)


def _bundles(world: World, work: Path, rng: np.random.Generator) -> dict[str, tuple[str, str]]:
    """Code and wanted code of the shipped bundle, signed anew by the trials' keys, with one thing wrong."""
    files = entries_of(SHIPPED_BUNDLE.read_bytes())
    ours = {**files, SIGNATURE: sign(files[MANIFEST], world.maker.key)}
    one, other = (name for name in sorted(files) if name.endswith("merged.int8.onnx") or name.endswith("_static.onnx"))
    said = json.loads(files[MANIFEST])
    named = canonical({**said, "name": said["name"] + "!"})
    adapter = world.maker.adapter(LAST + 1)
    cases = {
        "forged by a stranger": (build_archive(files), "untrusted-key"),
        "revoked key": (
            build_archive({**files, SIGNATURE: sign(files[MANIFEST], world.by_revoked.key)}),
            "revoked-key",
        ),
        "forged under a stolen name": (stolen_name(ours, rng), "signature"),
        "altered after signing": (build_archive({**ours, MANIFEST: named}), "signature"),
        "mixed: another graph": (build_archive({**ours, one: files[other]}), "digest"),
        "an adapter in its place": (adapter, "bundle-format"),
    }
    path, found = work / "forged.physio", {}
    path.write_bytes(build_archive(ours))
    Bundle.open(path, trust=world.trusted)  # without the forgery it opens
    for name, (data, wanted) in cases.items():
        path.write_bytes(data)
        found[name] = (_code_of(path, world.trusted), wanted)
    return found


def _code_of(path: Path, trust: Path) -> str:
    try:
        Bundle.open(path, trust=trust)
    except PhysioEdgeError as error:
        return error.code
    return "accepted"


def _shared_codes() -> dict[str, str]:
    """What each code says."""
    return {kind.code: kind.says for kind in KINDS.values()}


def _one_meaning() -> bool:
    """Whether no code says two things, and nothing has two codes."""
    pairs = {(kind.code, kind.says) for kind in KINDS.values()}
    return len(pairs) == len({code for code, _ in pairs}) == len({says for _, says in pairs})
