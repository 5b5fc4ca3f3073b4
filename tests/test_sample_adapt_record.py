"""The sample that adapts and levels while a recording streams, run as its reader would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[1] / "samples" / "adapt_record.py"


def test_it_is_short() -> None:
    assert len(SAMPLE.read_text().splitlines()) <= 60


def test_an_adapter_is_tried_and_the_person_levelled(repository: Path) -> None:
    pytest.importorskip("physioedge_weights", reason="the generator comes with the weights")
    pytest.importorskip("safetensors", reason="needs the extra host")
    done = subprocess.run(
        [sys.executable, str(SAMPLE)], cwd=repository, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    tried, ended, levelled = done.stdout.splitlines()
    assert "trying" in tried and "confirmed: label shares" in ended and ended.endswith("serves")
    assert "levelled, 100 windows: N +0.000" in levelled
