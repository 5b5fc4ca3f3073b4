"""Curves over tables: which ones they are drawn of, and when there is none."""

from __future__ import annotations

from physioedge.report.curves import CURVES, draw_curves, tables_of
from physioedge.report.personal_rows import groups_of
from physioedge.results import Row, read, write

PEOPLE = CURVES[0]


def table(folder, count, value):
    def row(group, metric, low, high):
        return Row(task="arrhythmia", arm="krr_levelling", group=group, metric=metric, unit="1", value=value, low=low,
                   high=high, n=22, seeds=5)  # fmt: skip

    rows = [row("DS2, lead 1", "macro_f1", None, None), row("DS2, lead 1:minus:levelling", "macro_f1", 0.0, 0.2)]
    write(folder / f"personalisation-arrhythmia-taught-people-{count}.json", "a command", rows)


def test_tables_come_by_their_number_of_people(tmp_path):
    for count in (300, 0, 100):
        table(tmp_path, count, 0.1)
    write(tmp_path / "personalisation-arrhythmia-taught-people-more.json", "no number", [])
    assert list(tables_of(PEOPLE, tmp_path)) == [0, 100, 300]
    assert draw_curves(tmp_path) == [PEOPLE.file] and (tmp_path / PEOPLE.file).stat().st_size > 1000


def test_one_table_is_no_curve(tmp_path):
    table(tmp_path, 0, 0.1)
    assert not draw_curves(tmp_path) and not (tmp_path / PEOPLE.file).exists()


def test_the_committed_curve_is_of_the_committed_tables(repository):
    for curve in CURVES:
        found = tables_of(curve, repository / "results")
        assert len(found) >= 3 and (repository / "results" / curve.file).exists()
        for groups in found.values():
            for group in groups:
                assert ("levelling", "krr_levelling", "macro_f1") in group.differences


def test_the_curve_begins_where_the_table_of_rivals_is(repository):
    rivals = repository / "results" / "personalisation-arrhythmia-taught-rivals.json"
    known = {group.name: group for group in groups_of(read(rivals))}
    for group in tables_of(PEOPLE, repository / "results")[0]:
        for arm in ("global", "levelling", "krr_levelling", "mlp_levelling"):
            assert group.values[arm, "macro_f1"].value == known[group.name].values[arm, "macro_f1"].value


def test_the_usual_length_of_a_calibration_is_another_table(tmp_path):
    rows = [Row(task="arrhythmia", arm="krr_levelling", group="DS2, lead 1", metric="macro_f1", unit="1", value=0.1,
                low=0.0, high=0.2, n=22, seeds=5)]  # fmt: skip
    write(tmp_path / "personalisation-arrhythmia-taught-dit.json", "a command", rows)
    assert tables_of(CURVES[2], tmp_path) == {}
    write(tmp_path / "personalisation-arrhythmia-taught-calibration-60.json", "a command", rows)
    assert list(tables_of(CURVES[2], tmp_path)) == [60, 300]
