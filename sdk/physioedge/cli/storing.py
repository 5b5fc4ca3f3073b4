"""What the commands about a device's adapters share: which store, for which bundle, trusting whom."""

from __future__ import annotations

import argparse
from pathlib import Path

from physioedge.cli.console import SHIPPED, SHIPPED_BUNDLE
from physioedge_runtime import Bundle
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.store import AdapterStore

DEVICE = "local"
"""Who a device is that no host knows."""


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Bundle, store, keys and the device's name."""
    parser.add_argument("--bundle", type=bundle_path, required=True, metavar="FILE",
                        help="bundle file, or 'shipped'")  # fmt: skip
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="folder of the person's adapters")
    parser.add_argument("--trust", type=Path, metavar="PEM", help="who may sign bundles (default: the shipped keys)")
    parser.add_argument("--adapter-trust", type=Path, metavar="PEM", help="public key, or folder of keys, of who may "
                        "sign adapters (default: as --trust)")  # fmt: skip
    parser.add_argument("--device", metavar="ID", default=DEVICE, help="who this device is: adapters are bound to it "
                        f"(default {DEVICE!r})")  # fmt: skip


def open_store(args: argparse.Namespace, bundle: Bundle, trust: Path | bytes | None = None) -> AdapterStore:
    """The store that the options name; `trust` in place of theirs, where given.

    Raises
    ------
    StoreError, BundleError
        As `AdapterStore.open`.
    """
    trust = trust or args.adapter_trust or args.trust
    return AdapterStore.open(args.store, target=Target.of(bundle, device=args.device), trust=trust)


def bundle_path(text: str) -> Path:
    """A bundle's path; ``shipped`` is the one that came along."""
    return SHIPPED_BUNDLE if text == SHIPPED else Path(text)
