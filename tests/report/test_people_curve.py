"""The curve over people: which tables it is drawn of, and when there is none."""

from __future__ import annotations

from physioedge.report.people_curve import FILE, curves, draw_people
from physioedge.report.personal_rows import groups_of
from physioedge.results import Row, read, write


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
    assert list(curves(tmp_path)) == [0, 100, 300]
    assert draw_people(tmp_path) and (tmp_path / FILE).stat().st_size > 1000


def test_one_table_is_no_curve(tmp_path):
    table(tmp_path, 0, 0.1)
    assert not draw_people(tmp_path) and not (tmp_path / FILE).exists()


def test_the_committed_curve_is_of_the_committed_tables(repository):
    found = curves(repository / "results")
    assert len(found) >= 4 and 0 in found
    for groups in found.values():
        for group in groups:
            assert ("levelling", "krr_levelling", "macro_f1") in group.differences


def test_the_curve_begins_where_the_table_of_rivals_is(repository):
    rivals = repository / "results" / "personalisation-arrhythmia-taught-rivals.json"
    known = {group.name: group for group in groups_of(read(rivals))}
    for group in curves(repository / "results")[0]:
        for arm in ("global", "levelling", "krr_levelling", "mlp_levelling"):
            assert group.values[arm, "macro_f1"].value == known[group.name].values[arm, "macro_f1"].value
