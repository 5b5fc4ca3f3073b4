"""The cost ledger: of files as they are, without what is missing, between its marks and nowhere else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from physioedge import results
from physioedge.report import costs
from physioedge.results import Row

ROOT = Path(__file__).parents[2]


def row(arm: str, group: str, metric: str, value: float, n: int = 3) -> Row:
    return Row(task="arrhythmia", arm=arm, group=group, metric=metric, unit="1", value=value, low=None, high=None, n=n,
               seeds=1)  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    once, person = "once, cloud", "one person"
    (tmp_path / "docs").mkdir()
    (tmp_path / costs.DOCUMENT).write_text(f"# Costs\n\n{costs.BEGIN}\nold\n{costs.END}\n\nAfter.\n")
    results.write(tmp_path / "results/costs.json", "command", [
        row("adapter set", once, "adapters", 105), row("adapter set", once, "core_s", 450.0),
        row("krr", once, "core_s", 0.25), row("krr", once, "peak_rss_mb", 300.0),
        row("local", person, "core_s", 5.0), row("local", person, "peak_rss_mb", 700.0),
        row("merge", person, "core_s", 0.002, n=10),
    ])  # fmt: skip
    results.write(tmp_path / "results/host.json", "command", [
        row("dit", "generator alone, one by one", "cpu_ms_per_answer", 12.5),
        row("dit", "generator alone, batches of 2", "cpu_ms_per_answer", 7.5),
    ])  # fmt: skip
    sent = {"rounds": 8, "bytes_down": 1000000, "bytes_up": 900000, "people": 17}
    results.write(tmp_path / "results/personalisation-x.json", "command", [], federated=sent)
    personal = {"condition": {"bytes": 864, "kind": "embedding", "host_ms": 20.0, "answer_bytes": 27176},
                "adapter": {"stage_ms": 3.0, "swap_ms": 2.0}}  # fmt: skip
    (tmp_path / "results/demo.json").write_text(json.dumps({"personal": personal}))
    history = tmp_path / costs.HISTORY
    history.parent.mkdir(parents=True)
    history.write_text(json.dumps({"steps": 2000, "cost": {"steps": 500, "core_s": 250.0}}))
    return tmp_path


def test_every_file_has_its_lines(checkout):
    assert costs.main(["--root", str(checkout)]) == 0
    text = (checkout / costs.DOCUMENT).read_text()
    assert text.startswith("# Costs\n") and text.endswith("After.\n") and "old" not in text
    assert "| pre-training, 2000 steps | cloud, once | 0.28 h |" in text  # 250 s for a quarter of the steps
    assert "| adapter set, 105 adapters | cloud, once | 0.12 h |" in text
    assert "| generator `krr`, its fit | cloud, once | 250.0 ms | 300 MB |" in text
    assert "| generation by `dit` | host | 12.5 ms |" in text and "7.5" not in text
    assert "| device | - |  | 864 |" in text and "27,176 |" in text
    assert "| local LoRA, labels of five minutes | device, in its place | 5.0 s | 700 MB |" in text
    assert "federated averaging, 8 rounds with 17 people" in text and "| 1,000,000, 900,000 |" in text
    assert "25.0 ms, 1/200 of local LoRA training" in text
    assert costs.main(["--root", str(checkout), "--check"]) == 0


def test_what_is_missing_is_left_out_and_what_changed_is_noticed(checkout, capsys):
    costs.main(["--root", str(checkout)])
    shutil.rmtree(checkout / "results")
    assert costs.main(["--root", str(checkout), "--check"]) == 1
    assert "is not what the files say" in capsys.readouterr().out
    costs.main(["--root", str(checkout)])
    text = (checkout / costs.DOCUMENT).read_text()
    assert "pre-training" in text and "generation" not in text and "1/200" not in text
    (checkout / costs.HISTORY).unlink()
    costs.main(["--root", str(checkout)])
    assert "Nothing measured yet." in (checkout / costs.DOCUMENT).read_text()


def test_a_document_without_marks_is_refused():
    with pytest.raises(ValueError, match="no <!-- costs"):
        costs.put("# Costs\n", "table")


def test_the_committed_page_is_that_of_the_committed_files():
    assert costs.main(["--root", str(ROOT), "--check"]) == 0
