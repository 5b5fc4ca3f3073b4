"""Results into files and streams, and names of sinks."""

from __future__ import annotations

import csv
import io
import json

import pytest
from made_results import results

from physioedge.sinks.opening import GROUP, open_sink
from physioedge.sinks.text import TextSink
from physioedge_runtime.errors import SinkError
from tiny_bundle import tiny_contract


@pytest.mark.parametrize("name", ["jsonl:{}/r.txt", "{}/r.jsonl", "{}/r.NDJSON"])
def test_json_lines(tmp_path, name):
    with open_sink(name.format(tmp_path), tiny_contract()) as sink:
        for result in results():
            sink.write(result)
    (path,) = tmp_path.iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["label"] for row in rows] == ["N", None, "V"]
    assert rows[0]["probabilities"] == {"N": 0.75, "S": 0.125, "V": 0.125} and rows[1]["flags"] == ["noisy"]


def test_csv(tmp_path):
    with open_sink(f"{tmp_path}/r.csv", tiny_contract()) as sink:
        for result in results():
            sink.write(result)
        assert (tmp_path / "r.csv").read_text().count("\n") == 4  # written at once, not in the end
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [row["label"] for row in rows] == ["N", "", "V"] and rows[2]["p_V"] == "0.9"


def test_a_stream_stays_open(capsys):
    with open_sink("table:-", tiny_contract()) as sink:
        sink.write(results()[0])
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["1.000", "N"]
    out = io.StringIO()
    with TextSink("jsonl", tiny_contract(), out) as sink:
        sink.write(results()[0])
    assert not out.closed and json.loads(out.getvalue())["label"] == "N"


@pytest.mark.parametrize("name", ["r.parquet", "jsonl:", "kafka://host/topic", "lsl:", "plain"])
def test_names_of_no_sink(name):
    with pytest.raises(SinkError, match=r"expected one of jsonl:FILE.*See docs/sources\.md"):
        open_sink(name, tiny_contract())


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(SinkError, match="expected a file to write"), open_sink(f"{tmp_path}/no/r.csv", tiny_contract()):
        pass


def test_sinks_of_other_packages(monkeypatch):
    class Point:
        name = "tin"

        @staticmethod
        def load():
            return lambda address, contract: (address, contract.task)

    monkeypatch.setattr("physioedge.sinks.opening.entry_points", lambda group: [Point] if group == GROUP else [])
    assert open_sink("tin:can", tiny_contract()) == ("can", "arrhythmia")
