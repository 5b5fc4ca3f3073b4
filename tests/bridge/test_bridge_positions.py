"""How good the selected positions are among all of them, on made-up fits."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.cli.main import main
from physioedge.evaluation.bridge import plan
from physioedge.evaluation.bridge.positions import GROUP, heat_maps, position_rows

NAME = "lead_to_lead_beats"


def fits(judged, held, *, selected, seeds=(0, 1)):
    """Records of every pair of positions: `judged` is the share of each class that is called right."""
    records = {f"{NAME}/frozen/0": {"probe": [0.0] * len(judged), "positions": list(selected)}}
    for new, old in np.ndindex(*np.shape(judged)):
        for seed in seeds:
            share = judged[new][old] + (0.1 if seed else -0.1)
            counts = [[[1000 * share if a == b else 500 * (1 - share) for b in range(3)] for a in range(3)]]
            key = f"{NAME}/{plan.POSITION}/0/{seed}/{new}-{old}"
            records[key] = {"positions": [new, old], "counts": counts, "held_agreement": held[new][old]}
    return records


def test_a_map_averages_over_seeds_and_marks_the_selected_pair():
    judged, held = [[0.4, 0.5], [0.6, 0.7]], [[0.1, 0.2], [0.3, 0.4]]
    found = heat_maps(fits(judged, held, selected=(1, 0)), (NAME,))[NAME]
    np.testing.assert_allclose(found["grid"], judged)  # a seed's own is a tenth away from it
    np.testing.assert_allclose(found["held"], held)
    assert found["selected"] == [1, 0]


@pytest.mark.parametrize(("held", "best_of_held", "sign"), [
    ([[0.1, 0.2], [0.3, 0.4]], 0.7, 1), ([[0.4, 0.3], [0.2, 0.1]], 0.4, -1),
])  # fmt: skip
def test_rows_say_how_good_the_selected_pair_is_and_what_held_out_people_knew(held, best_of_held, sign):
    rows = position_rows(NAME, heat_maps(fits([[0.4, 0.5], [0.6, 0.7]], held, selected=(1, 0)), (NAME,))[NAME])
    assert {row.group for row in rows} == {GROUP} and {row.n for row in rows} == {4}
    value = {row.metric: row.value for row in rows}
    assert value["rank_of_selected"] == 2
    assert value["selected"] == pytest.approx(0.6) and value["best"] == pytest.approx(0.7)
    assert value["mean"] == pytest.approx(0.55)
    assert value["best_of_held_out"] == pytest.approx(best_of_held)
    assert value["correlation_with_held_out"] == pytest.approx(sign)


def test_a_direction_without_such_fits_has_no_rows():
    maps = heat_maps({f"{NAME}/frozen/0": {"probe": [0.0], "positions": [0, 0]}}, (NAME,))
    assert maps == {} and position_rows(NAME, maps.get(NAME)) == []


def test_without_prepared_pairs_a_part_says_what_to_run(tmp_path, capsys):
    for part in ("lag", "bundle", "table"):
        words = ["evaluate", "bridge", "--parts", part, "--work", str(tmp_path / "none"), "--out", str(tmp_path)]
        assert main(words) != 0
        assert "--parts prepare" in capsys.readouterr().err
    assert not list(tmp_path.glob("bridge*"))  # no table is written over one that is there
