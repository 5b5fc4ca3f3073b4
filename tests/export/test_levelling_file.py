"""What an export says for levelling: checked against the graph, and read back by the runtime."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from export_small import CONFIG, ecg_feeds, several_contract, small_contract, small_model

from physioedge_export.centring import Head, head_of
from physioedge_export.levelling import LevelSpec, levelling_file
from physioedge_export.personal import Personal, personal_files
from physioedge_export.request import Fed
from physioedge_export.runners import Outputs, run_windows, torch_runner
from physioedge_runtime.adaptation import centring
from physioedge_runtime.adaptation.levelling import FILE, Levels, relative
from physioedge_runtime.errors import ExportError

F32 = np.float32
SPEC = LevelSpec(
    level=np.array([0.0, -3.0, -5.0], F32), margin=np.array([0.0, 0.0, 4.0], F32),
    both_sides=np.array([False, True, False]),
)  # fmt: skip


@pytest.fixture(scope="module")
def head_and_outputs() -> tuple[Head, Outputs]:
    model, _ = small_model()
    model.head.log_prior.copy_(model.head.log_prior.new_tensor([0.9, 0.05, 0.05]).log())
    outputs = run_windows(torch_runner(model, ["signal"]), ecg_feeds(12))
    return head_of(model.head, CONFIG.d_model, 0.5), outputs


def test_the_runtime_finds_the_logits_of_the_graph_again(head_and_outputs: tuple[Head, Outputs]) -> None:
    head, outputs = head_and_outputs
    files = levelling_file(head, SPEC, small_contract(), outputs)
    found = Levels.parsed(files[FILE], small_contract())
    np.testing.assert_allclose(found.relative(outputs.embedding), relative(outputs.first), atol=1e-4)
    np.testing.assert_array_equal(found.both_sides, np.array([0.0, 1.0, 0.0], F32))
    for name in ("level", "margin"):
        np.testing.assert_array_equal(getattr(found, name), getattr(SPEC, name))
    assert files == levelling_file(head, SPEC, small_contract(), outputs)  # the same bytes each time


@pytest.mark.parametrize(
    "changes",
    [
        {"level": np.zeros(2, F32)},
        {"level": np.array([0.0, np.nan, 0.0], F32)},
        {"margin": np.zeros((3, 1), F32)},
        {"both_sides": np.array([0.0, 2.0, 0.0], F32)},
    ],
)
def test_levels_that_are_not_of_the_labels_are_refused(
    head_and_outputs: tuple[Head, Outputs], changes: dict[str, Any]
) -> None:
    head, outputs = head_and_outputs
    with pytest.raises(ExportError):
        levelling_file(head, replace(SPEC, **changes), small_contract(), outputs)


def test_heads_that_say_something_else_and_values_are_refused(head_and_outputs: tuple[Head, Outputs]) -> None:
    head, outputs = head_and_outputs
    for wrong in (replace(head, constant=head.constant + F32(0.1)), replace(head, weight=head.weight + F32(0.1))):
        with pytest.raises(ExportError, match="stray"):
            levelling_file(wrong, SPEC, small_contract(), outputs)
    with pytest.raises(ExportError, match="gives 2 values"):
        levelling_file(head, SPEC, several_contract(), outputs)


def test_what_is_asked_for_is_in_the_bundle(head_and_outputs: tuple[Head, Outputs]) -> None:
    head, outputs = head_and_outputs
    fed = Fed(calibration=ecg_feeds(2), golden=ecg_feeds(2), checked=ecg_feeds(2))

    def made(**asked: Any) -> set[str]:
        return set(personal_files(Personal(**asked), small_contract(), outputs, fed)) & {FILE, centring.FILE}

    assert made() == set() and made(head=head) == {centring.FILE}
    assert made(head=head, levels=SPEC) == {centring.FILE, FILE}
    with pytest.raises(ExportError, match="without a head"):
        made(levels=SPEC)
