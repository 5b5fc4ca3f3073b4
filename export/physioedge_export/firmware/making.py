"""From a verified bundle to a folder that a C compiler can take."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from physioedge_export.firmware.c_text import c_array, c_guard
from physioedge_export.firmware.contract_header import NAME as CONTRACT
from physioedge_export.firmware.contract_header import contract_header
from physioedge_export.firmware.taps import resampler_files
from physioedge_export.firmware.vectors import golden_files
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import load_trust
from physioedge_runtime.engine.native import library as native
from physioedge_runtime.errors import ExportError

KIT = Path(__file__).parent / "kit"
ENGINE_HEADER = "physioedge_engine.h"
BUNDLE, KEY, MAKEFILE, README = "bundle.physio", "physio_key.h", "Makefile", "README.md"
WINDOWS = 4


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What was made.

    Attributes
    ----------
    folder : Path
    graphs : tuple of str
        Files of graphs, as in the bundle.
    resamplers : tuple of str
        As ``ecg 360 to 125 Hz``.
    windows : int
        Golden windows that are compiled in.
    bytes : int
        Of all files.
    """

    folder: Path
    graphs: tuple[str, ...]
    resamplers: tuple[str, ...]
    windows: int
    bytes: int


def make_kit(
    bundle: Bundle,
    folder: Path,
    *,
    trust: Path | str | bytes | None = None,
    from_hz: Mapping[str, Sequence[float]] | None = None,
    windows: int = WINDOWS,
) -> Kit:
    """Write the firmware kit of a bundle.

    Parameters
    ----------
    bundle : Bundle
        As opened, so verified.
    folder : Path
        Made where it is not there; a folder with other things than an older kit is left alone.
    trust : path, 32 raw bytes or None
        As for `Bundle.open`: the key that signed it is compiled in.
    from_hz : mapping of sensor to rates, optional
        Rates at which the device samples, where they are not the contract's: their filters become tables.
    windows : int
        How many golden windows become C arrays; the bundle has them all.

    Raises
    ------
    ExportError
        The folder holds other things, a filter is too long, or the bundle was pinned and no key is known.
    UnknownSensor, SampleRateMismatch
        As `resampler_files`.
    """
    keys = {} if isinstance(trust, str) and trust.startswith("sha256:") else load_trust(trust)
    if bundle.key_id not in keys:
        do = "Open the bundle with the public key that firmware is to trust."
        raise ExportError("a bundle whose signing key is not known", "the key", do)
    rates = dict(from_hz or {})
    texts = {
        CONTRACT: contract_header(bundle),
        **golden_files(bundle, windows),
        **resampler_files(bundle.contract, rates),
        KEY: _key_header(bundle.key_id, keys[bundle.key_id]),
        README: _readme(bundle, rates),
    }
    _empty(folder)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    shutil.copyfile(bundle.path, folder / BUNDLE)
    for graph in bundle.manifest.graphs:
        target = folder / graph.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bundle.read(graph.file))
    for source in sorted(KIT.iterdir()):
        if source.suffix in (".c", ".h"):
            shutil.copyfile(source, folder / "kit" / source.name)
    shutil.copyfile(Path(native.__file__).parent / ENGINE_HEADER, folder / "kit" / ENGINE_HEADER)
    shutil.copyfile(KIT / MAKEFILE, folder / MAKEFILE)
    return Kit(
        folder=folder,
        graphs=tuple(graph.file for graph in bundle.manifest.graphs),
        resamplers=tuple(
            f"{name} {hz:g} to {bundle.contract.sensor_named(name).fs_hz:g} Hz"
            for name, listed in rates.items()
            for hz in listed
        ),
        windows=min(windows, bundle.manifest.golden_windows),
        bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def _empty(folder: Path) -> None:
    """A folder for the kit; an older kit in it is taken away."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / CONTRACT).is_file() or not (folder / "kit").is_dir():
            raise ExportError(
                f"{folder}, which holds other things", "an empty folder, or an older kit", "Name another."
            )
        shutil.rmtree(folder)
    try:
        (folder / "kit").mkdir(parents=True)
    except OSError as error:
        raise ExportError(f"{folder}: {error.strerror}", "a folder to write to", "Name another one.") from error


def _key_header(key_id: str, key: bytes) -> str:
    values = [f"0x{value:02x}" for value in key]
    body = f"#include <stdint.h>\n\n{c_array('static const uint8_t physio_key[32]', values)}"
    return c_guard(KEY, f"The one key whose bundles this firmware takes, id {key_id}.", body)


def _readme(bundle: Bundle, from_hz: Mapping[str, Sequence[float]]) -> str:
    manifest = bundle.manifest
    ends = {"onnxruntime": ".onnx", "executorch": ".pte"}
    held = ", ".join(sorted({ends[graph.engine] for graph in manifest.graphs}))
    rates = ", ".join(f"{name} {hz:g} Hz" for name, listed in from_hz.items() for hz in listed)
    return f"""# Firmware kit of {manifest.name} {manifest.version}

Research software; not a medical device.

```
physioedge engines build --fetch --to ../engine   # once; beside this folder, which is written anew as a whole
make ENGINE=../engine run                         # verifies bundle.physio, runs every graph, prints the parity
```

It needs a C11 compiler and libsodium, or Monocypher: `make MONOCYPHER=DIR`. With `ORT=DIR` the ONNX graphs run as well.

| file | what |
|---|---|
| `bundle.physio` | the signed bundle, digest `{bundle.digest}` |
| `graphs/` | its graphs as files ({held}), for other tools |
| `physio_contract.h` | rates, window, context, labels, thresholds, slot layout |
| `physio_golden.h`, `.c` | golden vectors |
| `physio_resampler.h`, `.c` | taps of rate converters: {rates or "none; name rates with --from-hz"} |
| `physio_key.h` | the key that must have signed a bundle |
| `kit/` | C11 sources: container, JSON, SHA-256, signature, golden vectors, rate converter, both engines, `main.c` |

The whole story is in docs/firmware.md of physioedge.
"""
