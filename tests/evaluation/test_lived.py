"""The bundle as lived: streamed results matched with annotated beats, and what of it goes into the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physioedge.datasets import mitbih
from physioedge.evaluation import lived
from physioedge.evaluation.lived import Lived
from physioedge_runtime.engine import load_engine
from tiny_bundle import write_tiny_bundle
from tiny_training import write_mitbih


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    root = tmp_path_factory.mktemp("lived")
    write_mitbih(root, ("100",), duration_s=40.0)
    bundle = write_tiny_bundle(root / "tiny.physio")
    return root, bundle, load_engine(bundle)


def value(rows, metric):
    (found,) = (r for r in rows if r.metric == metric)
    return found.value


def test_a_synthetic_record_is_found_and_judged(streamed):
    root, bundle, engine = streamed
    found = lived.live(bundle, "100", engine, root)
    _, label = mitbih.beats(mitbih.load("100", root))
    assert found.scored == int(np.isin(label, ["N", "S", "V"]).sum()) > 30
    assert 0.9 * found.scored <= found.found <= found.scored
    assert 0.8 * found.scored <= found.judged <= found.found and found.counts.sum() == found.judged
    assert found.false <= 1 and (found.delay_s >= 10 / 125).all()
    # pushed in ten seconds at once, a result waits for the end of its chunk
    assert found.delay_s.max() < lived.CHUNK_SAMPLES / 360 + 5


def test_annotated_beats_one_by_one_are_what_the_engine_says(streamed):
    root, bundle, engine = streamed

    def in_torch(windows: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.from_numpy(np.concatenate([engine.run(w[None].numpy())[0] for w in windows])), None

    label, logits = lived.annotated_logits(bundle, engine, in_torch, "100", root)
    assert logits["fp32"].shape == (len(label), 3) and np.array_equal(logits["fp32"], logits["int8"])
    rows = lived.shipped_rows([(label, logits)])
    assert value(rows, "same_label_as_fp32") == 1.0 and value(rows, "macro_f1_drop_points") == 0.0
    used = label < 3
    expected = (logits["fp32"][used].argmax(1) == label[used]).mean()
    accuracy = [r.value for r in rows if r.metric == "accuracy"]
    assert accuracy == [pytest.approx(expected)] * 2
    assert {r.arm for r in rows} == {"global_fp32", "global_int8"}


def test_a_precision_that_disagrees_shows():
    label = np.array([0, 0, 1, 2])
    logits = np.eye(3, dtype=np.float32)[label]
    other = np.eye(3, dtype=np.float32)[[0, 0, 0, 2]]
    rows = lived.shipped_rows([(label, {"fp32": logits, "int8": other})])
    assert value(rows, "same_label_as_fp32") == 0.75
    f1 = (0.8 + 0.0 + 1.0) / 3
    assert value(rows, "macro_f1_drop_points") == pytest.approx(100 * (1 - f1))


def test_what_was_missed_and_what_was_made_up_are_said():
    parts = [
        Lived(record="100", counts=np.diag([6.0, 0, 2]), scored=12, found=10, judged=8, false=2,
              delay_s=np.array([0.7, 0.8])),
        Lived(record="103", counts=np.diag([8.0, 0, 0]), scored=8, found=8, judged=8, false=0,
              delay_s=np.array([0.9, 4.0])),
    ]  # fmt: skip
    rows = lived.lived_rows(parts, "global_int8")
    assert value(rows, "detected") == pytest.approx(18 / 20) and value(rows, "coverage") == pytest.approx(16 / 20)
    assert value(rows, "false_share") == pytest.approx(2 / 18) and value(rows, "accuracy") == 1.0
    assert value(rows, "delay_p50_s") == pytest.approx(0.85)
    assert {r.group for r in rows} == {"DS2:lived"} and all(r.n == 2 for r in rows)
