"""The sample that streams a recording, run as its reader would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from physioedge.datasets import mitbih
from physioedge.signals.read import read_recording

SAMPLE = Path(__file__).parents[1] / "samples" / "stream_record.py"


def test_it_is_short():
    assert len(SAMPLE.read_text().splitlines()) < 60


@pytest.mark.parametrize("arguments", [[], ["samples/data/100.hea"]])
def test_it_prints_a_line_a_beat(arguments, repository):
    done = subprocess.run(
        [sys.executable, str(SAMPLE), *arguments],
        cwd=repository, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = repository / (arguments[0] if arguments else "device_runtime/physioedge_runtime/assets/excerpt.npz")
    beats = len(mitbih.beats(read_recording(record))[0])
    printed = done.stdout.splitlines()[1:]
    assert abs(len(printed) - beats) <= 0.03 * beats
