"""A contract as a C header: everything firmware must know to use the model rightly."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

from physioedge_export.firmware.c_text import c_array, c_double, c_float, c_guard, c_text
from physioedge_runtime.bundle.archive import MANIFEST, read_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import DigestMismatch

NAME = "physio_contract.h"
_TYPES = """\
typedef struct physio_sensor {
  const char *name, *input; /* name in the contract, and of the graph's input */
  const char *modality, *units;
  double fs_hz; /* the one rate the graph takes */
  uint32_t channels, context_samples, window_samples, input_samples; /* input = context + window */
  float low, high; /* plausible range in units: flag what is outside, do not clip it */
} physio_sensor;

typedef struct physio_value {
  const char *name, *units;
  double low, high; /* withhold what is outside */
} physio_value;

typedef struct physio_slot {
  const char *name;
  uint32_t axes, shape[PHYSIO_MAX_SLOT_AXES];
  uint32_t numbers, offset; /* how many, and where they begin when all slots lie one after the other */
} physio_slot;
"""

_UNUSED = """\
#if defined(__GNUC__)
#define PHYSIO_TABLE __attribute__((unused))
#else
#define PHYSIO_TABLE
#endif

"""


def contract_header(bundle: Bundle) -> str:
    """Text of ``physio_contract.h``; DigestMismatch where the file was changed since it was opened."""
    contract = bundle.contract
    numbers = [math.prod(slot.shape) for slot in contract.slots]
    axes = max((len(slot.shape) for slot in contract.slots), default=1)
    text = _contract_text(bundle)
    lines = [
        "#include <stdint.h>",
        "",
        f"#define PHYSIO_TASK {c_text(contract.task)}",
        f"#define PHYSIO_OUTPUT {c_text(contract.output_name)}",
        f"#define PHYSIO_BACKBONE_DIGEST {c_text(contract.backbone_digest)}",
        f"#define PHYSIO_N_OUTPUTS {contract.n_outputs}",
        f"#define PHYSIO_N_LABELS {len(contract.labels)}",
        f"#define PHYSIO_N_VALUES {len(contract.values)}",
        f"#define PHYSIO_EMBEDDING_DIM {contract.embedding_dim}",
        f"#define PHYSIO_N_SENSORS {len(contract.sensors)}",
        f"#define PHYSIO_N_SLOTS {len(contract.slots)}",
        f"#define PHYSIO_SLOT_NUMBERS {sum(numbers)}",
        f"#define PHYSIO_MAX_SLOT_AXES {axes}",
        "",
        *_trigger(contract),
        "/* Judge no window of lower quality; withhold what is less probable. */",
        f"#define PHYSIO_MIN_QUALITY {c_float(contract.thresholds.min_quality)}",
        f"#define PHYSIO_MIN_PROBABILITY {c_float(contract.thresholds.min_probability)}",
        "",
        _TYPES,
        c_array("static const char *const physio_labels[]", [c_text(label) for label in contract.labels]),
        *_sensors(contract),
        c_array(
            "static const physio_value physio_values[]",
            [f"{{{c_text(v.name)}, {c_text(v.units)}, {c_double(v.low)}, {c_double(v.high)}}}" for v in contract.values]
            or ['{"", "", 0.0, 0.0}'],
        ),
        _slots(contract, numbers),
        "/* SHA-256 of the contract as the manifest spells it: a bundle with another one needs another kit. */",
        c_array("static const uint8_t physio_contract_digest[32]", _bytes(hashlib.sha256(text).digest())),
    ]
    about = f"Contract of {bundle.manifest.name} {bundle.manifest.version}: docs/bundle.md, section 4."
    # a program may use only some of the tables
    body = "\n".join(lines).replace("static const", "PHYSIO_TABLE static const")
    unused = (
        "#if defined(__GNUC__)\n#define PHYSIO_TABLE __attribute__((unused))\n#else\n#define PHYSIO_TABLE\n#endif\n\n"
    )
    return c_guard(NAME, about.replace("*/", ""), unused + body)


def _contract_text(bundle: Bundle) -> bytes:
    """The contract's bytes as they stand in the manifest, which is canonical; of an older schema they stay that."""
    manifest = bytes(read_archive(bundle.path.read_bytes())[MANIFEST].data)
    if hashlib.sha256(manifest).hexdigest() != bundle.digest:
        raise DigestMismatch(f"{bundle.path}, changed since it was opened", bundle.digest, "Open it again.")
    return json.dumps(json.loads(manifest)["contract"], sort_keys=True, separators=(",", ":")).encode()


def _trigger(contract: Contract) -> list[str]:
    t, sensor = contract.trigger, contract.sensor
    beat = t.kind == "beat"
    when = f"at each beat of {sensor.name}" if beat else f"every {t.hop_samples / sensor.fs_hz:g} s of {sensor.name}"
    return [
        f"/* Judged {when}; samples of {sensor.name}. */",
        f"#define PHYSIO_TRIGGER_BEAT {int(beat)}",
        f"#define PHYSIO_HOP_SAMPLES {t.hop_samples}",
        f"#define PHYSIO_LOOKAHEAD_SAMPLES {t.lookahead_samples}",
        "",
    ]


def _sensors(contract: Contract) -> list[str]:
    rows, channels = [], []
    for sensor, graph_input in zip(contract.sensors, contract.input_shapes, strict=True):
        texts = ", ".join(map(c_text, (sensor.name, graph_input, sensor.modality, sensor.units)))
        sizes = (len(sensor.channels), sensor.context_samples, sensor.window_samples, sensor.input_samples)
        rows.append(
            f"{{{texts}, {c_double(sensor.fs_hz)}, {', '.join(map(str, sizes))}, "
            f"{c_float(sensor.low)}, {c_float(sensor.high)}}}"
        )
        channels += [c_text(f"{sensor.name}/{channel}") for channel in sensor.channels]
    return [
        "/* The first one leads. */",
        c_array("static const physio_sensor physio_sensors[PHYSIO_N_SENSORS]", rows),
        "/* Sensor and channel, in the order of the graph's inputs. */",
        c_array("static const char *const physio_channels[]", channels),
    ]


def _slots(contract: Contract, numbers: Sequence[int]) -> str:
    rows, offset = [], 0
    for slot, n in zip(contract.slots, numbers, strict=True):
        shape = ", ".join(map(str, slot.shape))
        rows.append(f"{{{c_text(slot.name)}, {len(slot.shape)}, {{{shape}}}, {n}, {offset}}}")
        offset += n
    return c_array("static const physio_slot physio_slots[]", rows or ['{"", 0, {0}, 0, 0}'])


def _bytes(data: bytes) -> list[str]:
    return [f"0x{value:02x}" for value in data]
