"""Sources, datasets, tasks and engines of another package, found by its entry points as if it were installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from physioedge.cli.main import build_parser, main
from physioedge.datasets import registry
from physioedge.sources.opening import is_live, open_live
from physioedge.sources.protocol import Told
from physioedge.tasks.windowed import task_module
from physioedge_runtime import Bundle
from physioedge_runtime.bundle.signing import make_keys
from physioedge_runtime.engine import load_engine
from physioedge_runtime.errors import DatasetError, EngineError, GoldenMismatch
from tiny_bundle import tiny_contract, tiny_outputs, tiny_sensor, write_tiny_bundle

ENTRY_POINTS = """\
[physioedge.sources]
metronome = sample_plugin:Metronome

[physioedge.datasets]
ticks = sample_plugin:ticks

[physioedge.tasks]
ticks = sample_plugin

[physioedge.engines]
reference = sample_plugin:ReferenceEngine
wrong = sample_plugin:WrongEngine
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The plug-in's module and metadata on the path, as an install leaves them."""
    folder = tmp_path / "site"
    metadata = folder / "sample_plugin-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "sample_plugin.py").write_bytes((Path(__file__).parent / "sample_plugin.py").read_bytes())
    monkeypatch.syspath_prepend(str(folder))
    yield
    sys.modules.pop("sample_plugin", None)


def test_a_source(installed):
    assert is_live("metronome:3")
    with open_live("metronome:3", [tiny_sensor()], Told()) as source:
        chunks = list(source.chunks())
    assert [chunk.t_s for chunk in chunks] == [0.0, 1.0, 2.0] and chunks[0].samples.shape == (1, 125)


def test_a_dataset(installed, capsys):
    assert registry.names()[-1] == "ticks" and registry.info("ticks").licence == "CC0-1.0"
    assert main(["datasets", "ticks", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["title"] == "Two ticks of nobody" and entry["split"]["rule"] == "no stored split"
    assert main(["datasets", "ticks"]) == 0 and "Two ticks of nobody" in capsys.readouterr().out


def test_a_task(installed):
    assert task_module("ticks").TASK.labels == ("tick", "tock")
    for command in (["evaluate", "ticks"], ["train", "global", "--task", "ticks", "--out", "x"]):
        build_parser(command[0]).parse_args(command)


def test_a_task_is_judged_beside_its_opponents(installed, tmp_path, capsys):
    paths = ["--out", str(tmp_path), "--work", str(tmp_path / "work")]
    assert main(["evaluate", "ticks", "--arms", "majority,probe", "--seeds", "1", "--json", *paths]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = {row["arm"]: row["value"] for row in rows if row["metric"] == "macro_f1" and ":" not in row["group"]}
    assert set(found) == {"majority", "probe"} and found["probe"] > found["majority"]
    assert (
        json.loads((tmp_path / "ticks.json").read_text())["protocol"] == "Six people made of noise, three folds of two."
    )
    assert main(["evaluate", "ticks", "--arms", "centring", *paths]) == 1
    assert "arm 'centring' for ticks" in capsys.readouterr().err


def test_a_task_becomes_a_bundle(installed, tmp_path, capsys):
    """Fitted, exported and streamed, without a word of the task in this package."""
    pytest.importorskip("onnxscript", reason="needs the extra export")
    make_keys(tmp_path / "keys")
    adapter, bundle = tmp_path / "adapter", tmp_path / "ticks.physio"
    assert main(["train", "global", "--task", "ticks", "--steps", "2", "--threads", "1", "--out", str(adapter)]) == 0
    forms = ["--precision", "fp32", "--adapters", "merged", "--fallback", "", "--shapelets", "none"]
    key = ["--key", str(tmp_path / "keys" / "private.pem"), "--out", str(bundle)]
    assert main(["export", "--task", "ticks", "--adapter", str(adapter), *forms, *key]) == 0
    capsys.readouterr()
    made = Bundle.open(bundle, trust=tmp_path / "keys" / "public.pem")
    assert made.contract.task == "ticks" and made.contract.labels == ("tick", "tock")
    assert made.contract.sensor.channels == ("I",) and made.manifest.task_info == {
        "tick": "upwards",
        "tock": "downwards",
    }
    run = ["run", "metronome:6", "--bundle", str(bundle), "--trust", str(tmp_path / "keys" / "public.pem")]
    assert main([*run, "--precision", "fp32", "--engine", "reference", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) >= 3 and {row["label"] for row in rows} <= {"tick", "tock", None}


def test_an_engine_is_proven_like_any_other(installed, tmp_path):
    bundle = write_tiny_bundle(tmp_path / "b.physio")
    engine = load_engine(bundle, engine="reference", precision="fp32", adapters="slots")
    signal = bundle.golden()["signal"][:1]
    np.testing.assert_allclose(engine.run(signal)[0], tiny_outputs(tiny_contract(), signal)["logits"], atol=1e-4)
    with pytest.raises(GoldenMismatch):
        load_engine(bundle, engine="wrong")
    with pytest.raises(EngineError, match="onnxruntime, executorch, reference, wrong"):
        load_engine(bundle, engine="other")


def test_commands_know_an_engine(installed, tmp_path, capsys):
    assert main(["engines", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["engines"]}
    assert rows["reference"] == {"name": "reference", "ready": True, "detail": "of sample-plugin"}
    for command in ("run", "view"):
        build_parser(command).parse_args([command, "shipped", "--engine", "reference"])
        assert main([command, "shipped", "--engine", "other"]) == 2
        said = capsys.readouterr().err
        assert "invalid choice: 'other'" in said and "'reference', 'wrong'" in said


def test_without_the_package_nothing_of_it_is_there(tmp_path, capsys):
    assert registry.names() == registry.NAMES and not is_live("metronome:3")
    for command in (["evaluate", "ticks"], ["train", "global", "--task", "ticks", "--out", "x"],
                    ["run", "shipped", "--engine", "reference"]):  # fmt: skip
        assert main(command) == 2
        assert f"invalid choice: '{'reference' if 'run' in command else 'ticks'}'" in capsys.readouterr().err
    assert main(["export", "--task", "ticks", "--key", "k", "--out", str(tmp_path / "t.physio")]) == 1
    assert "task 'ticks'" in capsys.readouterr().err
    for call in (lambda: registry.dataset("ticks"), lambda: task_module("ticks"), lambda: task_module("a.b")):
        with pytest.raises(DatasetError):
            call()
    with pytest.raises(EngineError):
        load_engine(write_tiny_bundle(tmp_path / "b.physio"), engine="reference")
