"""Results as markers: a real outlet, read by a real inlet."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from made_results import results

from physioedge.sinks.opening import open_sink
from physioedge.sources.lsl_inlet import lsl_library
from physioedge_runtime.errors import MissingExtra
from tiny_bundle import tiny_contract

try:
    lsl = lsl_library()
except MissingExtra as error:
    pytest.skip(f"liblsl does not load here: {error}", allow_module_level=True)


@pytest.mark.parametrize("on_lsl_clock", [True, False])
def test_markers_bear_json_and_the_judged_instant(on_lsl_clock):
    name = f"test-{uuid.uuid4().hex[:8]}"
    with open_sink(f"lsl:{name}", tiny_contract(), on_lsl_clock=on_lsl_clock) as sink:
        (found,) = lsl.resolve_byprop("name", name, minimum=1, timeout=5)
        inlet = lsl.StreamInlet(found)
        info = inlet.info(timeout=5)
        assert (info.type(), info.nominal_srate(), info.channel_format()) == ("Markers", 0.0, lsl.cf_string)
        assert info.desc().child_value("answers") == "N,S,V" and info.desc().child_value("task") == "arrhythmia"
        inlet.open_stream(timeout=5)
        sent = lsl.local_clock()
        for result in results():
            sink.write(result)
        taken, until = [], time.monotonic() + 5
        while len(taken) < 3 and time.monotonic() < until:
            sample, at_s = inlet.pull_sample(timeout=1.0)
            if sample:
                taken.append((json.loads(sample[0]), at_s))
        inlet.close_stream()
    assert [row["label"] for row, _ in taken] == ["N", None, "V"]
    times = [at_s for _, at_s in taken]
    assert times == ([1.0, 2.0, 3.0] if on_lsl_clock else pytest.approx([sent] * 3, abs=30.0))
