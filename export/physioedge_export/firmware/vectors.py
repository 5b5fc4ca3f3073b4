"""Golden vectors as C arrays."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from physioedge_export.firmware.c_text import c_array, c_float, c_guard
from physioedge_runtime.bundle.container import Bundle

NAME = "physio_golden.h"


def golden_files(bundle: Bundle, windows: int) -> dict[str, str]:
    """``physio_golden.h`` and ``.c``: inputs, the outputs of every graph, and the adapter they were made with.

    Parameters
    ----------
    bundle : Bundle
    windows : int
        How many of the bundle's windows, at most.
    """
    golden, contract = bundle.golden(), bundle.contract
    n = min(windows, bundle.manifest.golden_windows)
    digest = hashlib.sha256(bundle.read(bundle.manifest.golden_file)).digest()
    tables, names = [], []
    for index, graph_input in enumerate(contract.input_shapes):
        tables.append(c_array(f"static const float signal_{index}[]", golden[graph_input][:n]))
        names.append(f"signal_{index}")
    outputs = []
    for graph in bundle.manifest.graphs:
        held = [name for name in golden if name.startswith(f"{graph.file}/")]
        for name in held:
            label = f"physio_golden_{_identifier(name)}"
            columns = golden[name].shape[1]
            tables.append(c_array(f"const float {label}[{n}][{columns}]", _rows(golden[name][:n])))
            outputs.append(f"extern const float {label}[{n}][{columns}]; /* {name} */")
    arrays = [golden[f"adapter/{slot.name}"].reshape(-1) for slot in contract.slots if f"adapter/{slot.name}" in golden]
    adapter = np.concatenate(arrays) if arrays else np.zeros(1, np.float32)
    tables.append(c_array(f"const float physio_golden_adapter[{adapter.size}]", adapter))
    tables.append(c_array(f"const float *const physio_golden_signals[{len(names)}]", names))
    tables.append(c_array("const uint8_t physio_golden_digest[32]", [f"0x{value:02x}" for value in digest]))
    head = "\n".join(
        [
            "#include <stdint.h>",
            "",
            f"#define PHYSIO_GOLDEN_WINDOWS {n}",
            "",
            "/* (window, channel, sample) of each sensor, one window after the other. */",
            f"extern const float *const physio_golden_signals[{len(names)}];",
            "/* Every slot of the adapter, one after the other. */",
            f"extern const float physio_golden_adapter[{adapter.size}];",
            "/* What the exporter computed of them; `adapted` with the adapter, else with zeros. */",
            *outputs,
            "/* SHA-256 of the bundle's golden file. */",
            "extern const uint8_t physio_golden_digest[32];",
            "",
        ]
    )
    about = f"Golden vectors of {bundle.manifest.name} {bundle.manifest.version}: docs/bundle.md, section 5."
    body = "\n".join(['#include "physio_golden.h"\n', *tables])
    return {NAME: c_guard(NAME, about.replace("*/", ""), head), "physio_golden.c": body}


def _rows(values: NDArray[np.float32]) -> list[str]:
    """Rows in braces of their own, as nested arrays want them."""
    return ["{" + ", ".join(c_float(float(value)) for value in row) + "}" for row in values]


def _identifier(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
