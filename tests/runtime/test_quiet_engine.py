"""The engine's maker hears nothing: telemetry is off before onnxruntime is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOADS = "import {}; from physioedge_runtime.engine import ort; import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"


@pytest.mark.parametrize("first", ["physioedge_runtime", "physioedge_export.runners", "physioedge.cli.main"])
def test_onnxruntime_leaves_no_session_file(first, tmp_path):
    """Its telemetry announces itself by a file with a session id in the folder for temporary files."""
    if first == "physioedge_export.runners":
        pytest.importorskip("torch", reason="the exporter is not installed")
    env = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    ran = subprocess.run(
        [sys.executable, "-c", LOADS.format(first)], env={**env, "TMPDIR": str(tmp_path)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "1"
    assert list(tmp_path.iterdir()) == []


def test_whoever_wants_it_can_have_it():
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    told = "import physioedge_runtime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    ran = subprocess.run([sys.executable, "-c", told], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "0"


def test_an_engine_is_imported_by_those_who_load_one():
    """A stream on ExecuTorch pays neither onnxruntime's time nor its memory."""
    told = "import physioedge_runtime.stream, sys; print('onnxruntime' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
