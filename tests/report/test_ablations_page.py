"""The page of ablations: made from the results, and the committed one is up to date."""

from __future__ import annotations

from pathlib import Path

from physioedge import results
from physioedge.report import ablations
from physioedge.results import Row

ROOT = Path(__file__).parents[2]


def row(arm: str, value: float, seeds: int = 5) -> Row:
    return Row(task="fog", arm=arm, group="test", metric="balanced_accuracy", unit="1", value=value, low=value - 0.1,
               high=value + 0.1, n=4, seeds=seeds)  # fmt: skip


def test_variants_and_backbones_stand_beside_what_is_shipped(tmp_path):
    results.write(tmp_path / "fog.json", "c", [row("global", 0.7), row("probe", 0.65), row("cnn", 0.6)])
    results.write(tmp_path / "ablations" / "fog.json", "c", [row("global_rank1", 0.68), row("probe_free", 0.66)])
    results.write(tmp_path / "backbones" / "random" / "fog.json", "c", [row("probe", 0.5, seeds=1)])
    assert ablations.main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "ablations.md").read_text()
    assert "| global_rank1 | 0.680 [0.58, 0.78] (-0.020) |" in text
    assert "| probe_free | 0.660 [0.56, 0.76] (+0.010) |" in text
    assert "| probe, random | 0.500 [0.4, 0.6] (-0.150), 1 seed |" in text
    assert "cnn" not in text
    assert (tmp_path / "ablations.png").stat().st_size > 5000
    assert ablations.main(["--results", str(tmp_path), "--check"]) == 0
    results.write(tmp_path / "ablations" / "fog.json", "c", [row("global_rank1", 0.6)])
    assert ablations.main(["--results", str(tmp_path), "--check"]) == 1


def test_the_committed_page_is_up_to_date():
    assert ablations.main(["--results", str(ROOT / "results"), "--check"]) == 0
