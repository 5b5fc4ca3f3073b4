"""R15: archives that differ are told apart by file, pickles are found wherever they hide, the bill is whole."""

from __future__ import annotations

import importlib.util
import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra export")

from physioedge.bill import SELF, bill, installed, third_party
from physioedge.cli.main import main
from physioedge.faults import reproducible
from physioedge.faults.fuzz_seeds import adapter, bundle, resealed
from physioedge.faults.no_pickle import in_bytes, in_folder, in_source
from physioedge.faults.reproducible import differences, loaded_and_unlisted, loaded_by_a_device, pickles, unlisted
from physioedge.faults.row import Setting


def zipped(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def test_pickles_are_found_in_bytes_whatever_they_hide_in() -> None:
    odd = io.BytesIO()
    np.save(odd, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    record = io.BytesIO()
    np.save(record, np.array([(None,)], dtype=[("a", "O")]), allow_pickle=True)
    plain = io.BytesIO()
    np.savez_compressed(plain, a=np.arange(4))
    for protocol in range(2, 6):
        assert in_bytes(pickle.dumps([1, 2], protocol)) == ["a pickle"]
    assert in_bytes(odd.getvalue()) == in_bytes(record.getvalue()) == ["an array of objects"]
    hidden = zipped(a=zipped(b=pickle.dumps({}, 4)), c=odd.getvalue())
    assert in_bytes(hidden) == ["a: b: a pickle", "c: an array of objects"]
    assert in_bytes(zipped(**{"x/data.pkl": b""})) == ["x/data.pkl, by its name a pickle"]
    assert in_bytes(plain.getvalue()) == in_bytes(b"") == in_bytes(bundle()) == in_bytes(adapter()) == []
    assert in_bytes(resealed(bundle(), {"MODEL_CARD.md": pickle.dumps({}, 4)})) == ["MODEL_CARD.md: a pickle"]


def test_source_that_would_load_objects_is_found() -> None:
    bad = (
        "import pickle", "import joblib", "from joblib import load", "from dill import loads", "import a, marshal as b",
        "torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)",
        "numpy.load(f, allow_pickle=x)", "eval(x)", "def f():\n  from pickle import loads",
    )  # fmt: skip
    good = (
        "import picklebot", "from joblib import Parallel, delayed", "torch.load(f, weights_only=True)",
        "np.load(f, allow_pickle=False)", "np.load(f)", "x = 'import pickle'", "model.eval()",
    )  # fmt: skip
    assert all(len(in_source(text)) == 1 for text in bad), [text for text in bad if not in_source(text)]
    assert not any(in_source(text) for text in good)


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "m.py").write_text("import pickle\n")
    (tmp_path / "a" / "w.bin").write_bytes(pickle.dumps({}, 4))
    (tmp_path / "w.pt").write_bytes(b"x")
    (tmp_path / "w.txt").write_text("x")
    wanted = ["a/m.py: line 1: import pickle", "a/w.bin: a pickle", "w.pt, by its name a pickle"]
    assert in_folder(tmp_path) == (wanted, 4)


def test_what_was_loaded_must_be_in_the_bill() -> None:
    listed = installed()
    loaded = loaded_by_a_device()
    assert {"numpy", "onnxruntime", "nacl", "physioedge_runtime"} <= set(loaded) and "torch" not in loaded
    assert loaded_and_unlisted([*loaded, "json", "no_such_module"], listed) == []
    without = {name: package for name, package in listed.items() if name != "pynacl"}
    assert loaded_and_unlisted(loaded, without) == [
        f"{one} of pynacl was loaded and is not in the bill" for one in ("_sodium", "nacl")
    ]
    assert loaded_and_unlisted(["pytest"], listed) == ["pytest of pytest was loaded and is not in the bill"]


def test_nothing_that_is_shipped_runs_code_when_it_is_read() -> None:
    found, count = pickles([])
    assert found == [] and count > 300


def test_archives_that_differ_are_told_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "a.physio", tmp_path / "b.physio"
    one.write_bytes(bundle())
    other.write_bytes(one.read_bytes())
    assert differences(one, other) == []
    other.write_bytes(resealed(bundle(), {"MODEL_CARD.md": b"another"}))
    names = ["MODEL_CARD.md", "manifest.json", "manifest.sig"]
    assert differences(one, other) == [f"a.physio differs in {name}" for name in names]


def test_exports_that_differ_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(folder: Path, targets: str, seed: int) -> Path:
        folder.mkdir(parents=True)
        card = b"# Card\n" if same else f"# Card {seed}\n".encode()
        (folder / reproducible.BUNDLE).write_bytes(resealed(bundle(), {"MODEL_CARD.md": card}))
        (folder / reproducible.ADAPTER).write_bytes(adapter())
        return folder

    listed = installed()
    monkeypatch.setattr(reproducible, "exported", made)
    monkeypatch.setattr(reproducible, "installed", lambda: listed)
    monkeypatch.setattr(reproducible, "pickles", lambda more: ([], 9))
    for same, lost in ((True, 0), (False, 3)):
        found = reproducible.trial(Setting(work=tmp_path / str(same)))
        assert (found.holds, found.lost) == (same, lost), found.notes


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("onnxscript") is None, reason="needs the extra export")
def test_two_exports_in_processes_of_their_own_are_equal(tmp_path: Path) -> None:
    found = reproducible.trial(Setting(work=tmp_path))
    assert found.holds, found.notes


def test_the_bill_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "bill.json"
    assert main(["doctor", "--sbom", str(path)]) == 0
    packages, values = installed(), json.loads(path.read_text())
    assert path.read_text() == bill(packages) and unlisted(packages) == []
    assert (values["bomFormat"], values["specVersion"], values["version"]) == ("CycloneDX", "1.5", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", values["serialNumber"])
    by_name = {row["name"]: row for row in values["components"]}
    assert set(by_name) == packages.keys() - {SELF}
    assert by_name["numpy"]["purl"] == f"pkg:pypi/numpy@{np.__version__}" and by_name["numpy"]["type"] == "library"
    needs = {row["ref"]: row["dependsOn"] for row in values["dependencies"]}
    assert any("numpy@" in ref for ref in needs[values["metadata"]["component"]["bom-ref"]])
    assert packages["numpy"].needed_by[0] == "base" and "base" not in packages["torch"].needed_by
    assert "pytest" not in by_name
    lacking = {name: one for name, one in packages.items() if name != "numpy"}
    with pytest.raises(KeyError):
        bill(lacking)  # what is needed must be there


def test_the_page_of_third_parties_is_up_to_date(repository: Path) -> None:
    """For all that is installed in the tested version; the other rows at least name that version."""
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (repository / "constraints.txt").read_text(), re.MULTILINE))
    rows = [row for row in (repository / "THIRD_PARTY.md").read_text().splitlines() if row.startswith("| ")][1:]
    page = {row.split(" | ")[0].strip("| "): [cell.strip(" |") for cell in row.split(" | ")] for row in rows}
    assert list(page) == sorted(page) and len(page) > 80
    assert {name: cells[1] for name, cells in page.items()} == {name: pins.get(name) for name in page}
    made = third_party(installed()).splitlines()
    tested = 0
    for row in (row for row in made if row.startswith("| ") and not row.startswith("| package")):
        name, version, licence, _ = (cell.strip(" |") for cell in row.split(" | "))
        if version == pins.get(name):
            assert page[name][:3] == [name, version, licence]
            tested += 1
    assert tested > 10
