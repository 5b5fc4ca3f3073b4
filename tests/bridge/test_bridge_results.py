"""What is committed of bridges: the docs say what the files hold, and the bundle is as faithful as claimed."""

from __future__ import annotations

import json

import pytest

from physioedge.results import read


@pytest.fixture(scope="module")
def rows(repository):
    return {(r.task, r.arm, r.group, r.metric): r for r in read(repository / "results" / "bridge.json")}


def test_the_docs_say_what_the_table_holds(rows, repository):
    page = (repository / "docs" / "bridge.md").read_text()
    arms = {
        "**bridge**": "bridge", "distillation into LoRA layers": "kd_lora", "contrastive distillation": "kd_contrast",
        "distillation": "kd",
    }  # fmt: skip
    for name, arm in arms.items():
        (line,) = (one for one in page.splitlines() if one.startswith(f"| {name} |"))
        for metric in ("balanced_accuracy", "macro_f1", "weighted_f1"):
            row = rows["lead_to_lead_beats", arm, "test", metric]
            assert f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})" in line
        assert f"{rows['lead_to_lead_beats', arm, 'fits', 'trainable_parameters'].value:,.0f}" in line
    gain = rows["lead_to_lead_beats", "bridge", "test", "balanced_accuracy_over:fixed"]
    assert f"(+{gain.value:.3f}, +{gain.low:.3f} to +{gain.high:.3f})" in page


def test_int8_says_what_float_says_and_streams(repository):
    path = repository / "results" / "bridge-bundle.json"
    found = {(r.arm, r.group, r.metric): r for r in read(path)}
    assert found["int8", "test", "same_label_as_fp32"].value >= 0.98
    assert found["int8", "test", "same_label_as_fp32"].n >= 1000
    assert found["int8", "streamed", "difference_max"].value < 1e-3
    assert found["int8", "streamed", "coverage"].value > 0.9
    assert json.loads(path.read_text())["direction"] == "lead_to_lead_beats"
