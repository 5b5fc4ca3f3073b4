"""Kinds of forgeries: each is genuine in everything but one thing, and names the code that must refuse it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.faults.limits import HORIZON_S, LEAP
from physioedge.faults.made import DAY_S, DEVICE, FLEET, NOW_S, Maker, canonical
from physioedge_runtime.adaptation.freshness import FLOOR_S
from physioedge_runtime.adaptation.manifest import ARRAYS
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive, read_archive
from physioedge_runtime.bundle.signing import sign

LAST = 40
"""Counter of the adapter that serves."""


@dataclass(frozen=True)
class World:
    """Keys, whom the device trusts, and what is on its disk.

    Attributes
    ----------
    maker, by_revoked : Maker
        With the trusted key, and with the one that was revoked.
    trusted : Path
        Folder of keys.
    files, forgotten : mapping of str to bytes
        Of a store in which the adapter with the counter `LAST` serves, and of the same once it was forgotten.
    """

    maker: Maker
    by_revoked: Maker
    trusted: Path
    files: dict[str, bytes]
    forgotten: dict[str, bytes]


@dataclass(frozen=True)
class Attempt:
    """What is tried on a store.

    Attributes
    ----------
    data : bytes
        Given to it as an adapter.
    clock_s : float
        Of the device, in Unix seconds.
    forgotten : bool
        Whether it is tried after the person's adapters were erased.
    """

    data: bytes
    clock_s: float = float(NOW_S)
    forgotten: bool = False


Make = Callable[[World, int, np.random.Generator], Attempt]


@dataclass(frozen=True)
class Kind:
    """One kind of forgery.

    Attributes
    ----------
    says : str
        What its code stands for; kinds that say the same may share one.
    code : str
        Of the error that refuses it.
    make : callable
        From the world, a counter that was not used yet, and random numbers.
    """

    says: str
    code: str
    make: Make


def _by_stranger(world: World, counter: int, rng: np.random.Generator) -> Attempt:
    return Attempt(Maker(world.maker.target, key=rng.bytes(32)).adapter(counter))


def _by_revoked(world: World, counter: int, rng: np.random.Generator) -> Attempt:
    return Attempt(world.by_revoked.adapter(counter + int(rng.integers(20))))


def _understolen_name(world: World, counter: int, rng: np.random.Generator) -> Attempt:
    """A stranger's signature that names the trusted key."""
    return Attempt(stolen_name(entries_of(world.maker.adapter(counter)), rng))


def _altered(world: World, counter: int, rng: np.random.Generator) -> Attempt:
    """A later expiry, under the old signature."""
    files = entries_of(world.maker.adapter(counter))
    said = json.loads(files[MANIFEST])
    said["expires_s"] += int(rng.integers(1, 10**6))
    return Attempt(build_archive({**files, MANIFEST: canonical(said)}))


def _mixed(entry: str) -> Make:
    def make(world: World, counter: int, rng: np.random.Generator) -> Attempt:
        other = entries_of(world.maker.adapter(counter + 1 + int(rng.integers(20))))
        return Attempt(build_archive({**entries_of(world.maker.adapter(counter)), entry: other[entry]}))

    return make


def _said(
    values: Callable[[int, np.random.Generator], dict[str, Any]], clock_s: Callable[[float], float] = lambda now: now
) -> Make:
    """An adapter that says something else, rightly signed, on a device with this clock."""

    def make(world: World, counter: int, rng: np.random.Generator) -> Attempt:
        changes = values(counter, rng)
        return Attempt(world.maker.adapter(changes.pop("counter", counter), **changes), clock_s(float(NOW_S)))

    return make


def _after_forget(world: World, counter: int, rng: np.random.Generator) -> Attempt:
    return Attempt(world.maker.adapter(int(rng.integers(1, LAST + 1))), forgotten=True)


def _expired(counter: int, rng: np.random.Generator) -> dict[str, Any]:
    return {"issued_s": NOW_S - 40 * DAY_S, "expires_s": NOW_S - int(rng.integers(0, 30 * DAY_S))}


def _expired_before_signed(counter: int, rng: np.random.Generator) -> dict[str, Any]:
    """Over by the latest signed time, which the adapter that serves has told."""
    return {"issued_s": FLOOR_S, "expires_s": NOW_S - DAY_S - int(rng.integers(0, 30 * DAY_S))}


def _far_ahead(counter: int, rng: np.random.Generator) -> dict[str, Any]:
    return {"counter": LAST + LEAP + int(rng.integers(1, 10**9))}


def _hex(rng: np.random.Generator) -> str:
    return rng.bytes(32).hex()


KINDS = {
    "forged by a stranger": Kind("not by anybody trusted", "untrusted-key", _by_stranger),
    "revoked key": Kind("by somebody trusted once", "revoked-key", _by_revoked),
    "forged under a stolen name": Kind("the signature does not fit", "signature", _understolen_name),
    "altered after signing": Kind("the signature does not fit", "signature", _altered),
    "mixed: signature of another": Kind("the signature does not fit", "signature", _mixed(SIGNATURE)),
    "mixed: manifest of another": Kind("the signature does not fit", "signature", _mixed(MANIFEST)),
    "mixed: arrays of another": Kind("the arrays are not those that were signed", "digest", _mixed(ARRAYS)),
    "replayed": Kind("not newer than the last", "replayed", _said(lambda n, rng: {"counter": LAST})),
    "rolled back": Kind(
        "not newer than the last", "replayed", _said(lambda n, rng: {"counter": int(rng.integers(1, LAST))})
    ),
    "replayed after forget": Kind("not newer than the last", "replayed", _after_forget),
    "expired": Kind("its time is over", "expired", _said(_expired)),
    "expired, clock set back": Kind("its time is over", "expired", _said(_expired_before_signed, lambda now: 0.0)),
    "expired, clock far ahead": Kind(
        "its time is over", "expired", _said(_expired_before_signed, lambda now: now + 2 * HORIZON_S)
    ),
    "counter far ahead": Kind(
        "too far ahead", "fast-forward", _said(_far_ahead)
    ),
    "time far ahead": Kind(
        "too far ahead", "fast-forward",
        _said(lambda n, rng: {"issued_s": NOW_S + HORIZON_S + DAY_S * int(rng.integers(1, 999)),
                              "expires_s": NOW_S + 2 * HORIZON_S}),
    ),
    "other device": Kind(
        "for somebody else", "binding",
        _said(lambda n, rng: {"binding": {"kind": "device", "id": f"{DEVICE}{rng.integers(10**6)}"}}),
    ),
    "other fleet": Kind(
        "for somebody else", "binding",
        _said(lambda n, rng: {"binding": {"kind": "fleet", "id": f"{FLEET}{rng.integers(10**6)}"}}),
    ),
    "wrong task": Kind("for another task", "adapter-task", _said(lambda n, rng: {"task": f"t{rng.integers(10**6)}"})),
    "wrong backbone": Kind("for another backbone", "backbone", _said(lambda n, rng: {"backbone_digest": _hex(rng)})),
    "wrong bundle": Kind("for another bundle", "adapter-bundle", _said(lambda n, rng: {"bundle_digest": _hex(rng)})),
    "newer format": Kind(
        "for a newer reader", "schema", _said(lambda n, rng: {"schema_version": 2 + int(rng.integers(99))})
    ),
}  # fmt: skip


def stolen_name(files: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """The files under a stranger's signature that names the key of theirs."""
    theirs = json.loads(sign(files[MANIFEST], rng.bytes(32)))
    ours = json.loads(files[SIGNATURE])["key_id"]
    named = json.dumps({**theirs, "key_id": ours}, separators=(",", ":")).encode()
    return build_archive({**files, SIGNATURE: named})


def entries_of(data: bytes) -> dict[str, bytes]:
    """Entries of an archive by name."""
    return {name: bytes(entry.data) for name, entry in read_archive(data).items()}
